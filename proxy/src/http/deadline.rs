//! The time limit of a route: from the end of the request to the end of the response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::body::Upload;

/// Ready when the limit is over. The clock starts when the request is complete (Envoy: "timeout" of a route action).
pub(crate) struct Deadline {
    limit: Duration,
    upload: Option<Arc<Upload>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// `upload` is the body that has to end first, if there is one.
    pub(crate) fn new(limit: Duration, upload: Option<Arc<Upload>>) -> Self {
        Self {
            limit,
            upload,
            sleep: None,
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(upload) = &self.upload {
            std::task::ready!(upload.poll_ended(cx));
            self.upload = None;
        }
        let limit = self.limit;
        self.sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)))
            .as_mut()
            .poll(cx)
    }
}
