//! The time limit of a route or of a try: all of it, but for the time that the client takes to send its request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::body::{Stage, Upload};

/// Ready when the limit is over. The clock starts when the request is complete (Envoy: "timeout" of a route action), and runs
/// before that while no connection takes the request's body: the client cannot end what nobody reads, and Envoy, which reads
/// ahead, has the end of most bodies by then.
pub(crate) struct Deadline {
    left: Duration,
    upload: Option<Arc<Upload>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// `upload` is the body that has to end first, if there is one.
    pub(crate) fn new(limit: Duration, upload: Option<Arc<Upload>>) -> Self {
        Self {
            left: limit,
            upload,
            sleep: None,
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.upload.as_ref().map(|upload| upload.poll_stage(cx)) {
            Some(Stage::Passing) => {
                if let Some(sleep) = self.sleep.take() {
                    self.left = sleep.deadline().saturating_duration_since(Instant::now());
                }
                return Poll::Pending;
            }
            Some(Stage::Ended) => self.upload = None,
            Some(Stage::Held) | None => {}
        }
        let left = self.left;
        self.sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(left)))
            .as_mut()
            .poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_over(deadline: &mut Deadline) -> bool {
        Pin::new(deadline)
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_client_is_not_counted_and_ours_is() {
        let upload = Arc::new(Upload::default());
        let mut deadline = Deadline::new(Duration::from_secs(10), Some(upload.clone()));
        // Held, passing, held again for another try, passing, ended.
        for (change, passes, over) in [
            (None, 4, false),
            (Some(Upload::ask as fn(&Upload)), 100, false),
            (Some(Upload::hold), 3, false),
            (Some(Upload::ask), 100, false),
            (Some(Upload::end), 2, false),
            (None, 1, true),
        ] {
            if let Some(change) = change {
                change(&upload);
            }
            assert!(!is_over(&mut deadline));
            tokio::time::advance(Duration::from_secs(passes)).await;
            assert_eq!(is_over(&mut deadline), over);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_takes_has_a_limit() {
        let mut deadline = Deadline::new(Duration::from_secs(10), Some(Arc::default()));
        assert!(!is_over(&mut deadline));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(is_over(&mut deadline));
    }
}
