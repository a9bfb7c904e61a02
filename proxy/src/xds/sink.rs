//! The one door by which resources enter the proxy, from a stream or from disk.

use weft_xds::Rejection;
use weft_xds::delta::client::Update;

/// Takes updates of resources: translates, checks, and publishes what is good.
pub trait Sink {
    /// Applies an update whole, but for the resources returned, which keep their last good value. Removals of
    /// unknown names are normal: a name that was asked for may not exist.
    fn apply(&mut self, update: &Update) -> Vec<Rejection>;
}
