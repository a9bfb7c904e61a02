//! Captured connections behind a control plane that is not ours: hand-over, detection, servers that speak first.

mod detect;
mod figures;
mod forward_proxy;
mod hand_over;
mod server_first;
mod stage;
