//! in → out: a stage with everything on it → five steps, each held or not, with its figures.
//! owns: what is done in each step and how it is judged.
//! may not touch: how processes are started, where rules come from.

mod breaker;
mod latency;
mod outlier;
mod play;
mod shares;
mod user;

pub(super) use play::play;
