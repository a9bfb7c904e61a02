//! in → out: a script, request → [`Behaviour`] → an HTTP/1.1 server on loopback, port 0, and its [`Ledger`].
//! owns: a thread of its own, so that neither the clock nor the load of a test disturbs it.
//! may not touch: the proxy under test.

mod behaviour;
mod ledger;
mod serve;

pub use behaviour::Behaviour;
pub use ledger::{Counts, Ledger, Seen};
pub use serve::Upstream;
