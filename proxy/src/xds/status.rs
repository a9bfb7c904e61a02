//! What the rest of the proxy may know about the stream.

use tokio::time::Instant;

/// State of the connection to the control plane, published on a `watch` channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// A stream is open and has delivered something (`weft_xds_connected`).
    pub connected: bool,
    /// Every wildcard and every name found in an accepted resource was answered at least once since the start.
    pub synced: bool,
    /// Resources of an earlier run were loaded from disk.
    pub restored: bool,
    /// Responses received since the start.
    pub updates: u64,
    /// Resources refused since the start.
    pub rejects: u64,
    /// When something changed last.
    pub last_update: Option<Instant>,
    /// Why the last stream ended; empty before.
    pub last_error: String,
}

impl Status {
    /// Whether there is something to serve: fetched whole, or left from an earlier run.
    pub fn is_ready(&self) -> bool {
        self.synced || self.restored
    }
}
