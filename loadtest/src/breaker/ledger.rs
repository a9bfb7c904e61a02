//! What the upstream saw, out of its ledger.

use http::Method;
use serde_json::Value;

use super::fetch::{FetchError, fetch};

/// Why there is nothing to be seen. Each is one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is something else.
    #[error("{url}: is not a ledger: {problem}")]
    NoLedger { url: String, problem: String },
}

/// The most that the upstream saw at once; `None` where it does not count that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Highest {
    pub(super) connections: Option<u64>,
    pub(super) in_flight: Option<u64>,
}

/// Reads the ledger at `admin`.
pub(super) async fn read(admin: &str) -> Result<Highest, LedgerError> {
    let url = format!("{}/ledger", admin.trim_end_matches('/'));
    let bytes = fetch(Method::GET, &url).await?;
    highest(&bytes).map_err(|problem| LedgerError::NoLedger { url, problem })
}

/// Has it forget what is over.
pub(super) async fn clear(admin: &str) -> Result<(), LedgerError> {
    let url = format!("{}/ledger/clear", admin.trim_end_matches('/'));
    fetch(Method::POST, &url).await?;
    Ok(())
}

fn highest(bytes: &[u8]) -> Result<Highest, String> {
    let ledger: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let highest = Highest {
        connections: ledger["connections"]["open_highest"].as_u64(),
        in_flight: ledger["requests"]["in_flight_highest"].as_u64(),
    };
    if highest == Highest::default() {
        return Err("it has neither connections.open_highest nor requests.in_flight_highest".to_owned());
    }
    Ok(highest)
}
