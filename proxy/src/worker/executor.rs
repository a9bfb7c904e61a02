//! Where hyper's HTTP/2 runs what it has to run: on the worker's own thread.

use std::future::Future;

use hyper::rt::Executor;

/// Spawns on the [`LocalSet`](tokio::task::LocalSet) of the worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
