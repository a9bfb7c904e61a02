//! in → out: a question and a deadline → the answer, once there is one.
//! owns: waiting in tests; no test sleeps by itself.
//! may not touch: a paused clock. It is for what happens on the other side of a socket.

use std::time::Duration;

/// How long [`eventually`] waits between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// The deadline that suits nearly all tests: far beyond what a loaded machine needs, so that it is only met by a
/// failure.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Asks `probe` until it gives an answer.
///
/// # Panics
/// Names `what` when [`DEADLINE`] passes without one.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < end, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for `work`, but not for ever.
///
/// # Panics
/// Names `what` when [`DEADLINE`] passes first.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}
