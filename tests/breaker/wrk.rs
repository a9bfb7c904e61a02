//! The same breaker, judged by somebody else's count. Needs wrk.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

mod place;

use place::{OVERFLOW, Place, ask};
use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn wrk_counts_as_many_refusals_as_the_proxy() {
    let place = Place::open("20ms", |text| text).await;
    let before = place.counted(OVERFLOW).await;
    let url = format!("http://127.0.0.1:{}/", place.gateway);
    let output = Command::new("wrk")
        .args(["-t1", "-c3", "-d2s", &url])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let refused = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses: "))
        .unwrap_or("0");
    let refused: u64 = refused.parse().unwrap();
    let counted = place.counted(OVERFLOW).await - before;
    // wrk leaves with up to three requests in flight, which it does not count.
    assert!(
        refused > 100 && (refused..=refused + 3).contains(&counted),
        "wrk {refused}, the proxy {counted}"
    );
    let ledger = ask(&place.ledger, "GET", "/ledger", "").await.unwrap();
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    assert_eq!(ledger["connections"]["open_highest"], 1, "{ledger}");
}
