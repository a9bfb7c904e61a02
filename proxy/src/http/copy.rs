//! in → out: a request's bytes as they pass → the body of a copy of it.
//! owns: what waits for a copy, and its limit: whoever reads a copy slowly loses it and holds back nobody.
//! may not touch: where copies go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::body::{BodyError, Upload};
use super::replay::{Piece, ReplayBudget, push};
use crate::upstream::counters::MirrorCounters;

/// What may wait for one copy. It has to carry what arrives while the copy's connection is made; who is further behind than this
/// will not catch up.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The ends of all copies of a request into which its bytes go as they pass.
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<Arc<Mutex<Queue>>>);

impl Copies {
    /// One more copy of a body like this: its bytes from here on, and how far they have come.
    pub(super) fn begin(
        &mut self,
        like: &impl Body,
        budget: &Arc<ReplayBudget>,
        counters: &Arc<MirrorCounters>,
    ) -> (CopyBody, Arc<Upload>) {
        let queue = Arc::new(Mutex::new(Queue {
            pieces: VecDeque::new(),
            bytes: 0,
            stage: Stage::Open,
            waker: None,
            budget: budget.clone(),
            counters: counters.clone(),
        }));
        self.0.push(queue.clone());
        let upload = Arc::new(Upload::default());
        let body = CopyBody {
            queue,
            upload: upload.clone(),
            size: like.size_hint(),
        };
        (body, upload)
    }

    pub(super) fn data(&self, data: &Bytes) {
        self.each(|queue| queue.take(Piece::Data(data.clone())));
    }

    pub(super) fn trailers(&self, trailers: &HeaderMap) {
        self.each(|queue| queue.take(Piece::Trailers(trailers.clone())));
    }

    pub(super) fn finish(&self) {
        self.each(|queue| queue.end(Stage::Finished));
    }

    pub(super) fn break_off(&self) {
        self.each(|queue| queue.end(Stage::Broken));
    }

    fn each(&self, act: impl Fn(&mut Queue)) {
        self.0.iter().for_each(|queue| act(&mut lock(queue)));
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // What did not come to its end is no whole request.
        self.break_off();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is more to come.
    Open,
    /// What waits is the rest.
    Finished,
    /// There is no more, and what was there is not the request.
    Broken,
}

#[derive(Debug)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Size of `pieces`, taken from the budget.
    bytes: usize,
    stage: Stage,
    waker: Option<Waker>,
    budget: Arc<ReplayBudget>,
    counters: Arc<MirrorCounters>,
}

impl Queue {
    fn take(&mut self, piece: Piece) {
        if self.stage != Stage::Open {
            return;
        }
        let size = piece.size();
        if self.bytes.saturating_add(size) <= WAITING_BYTES_MAX && self.budget.take(size) {
            self.bytes += size;
            push(&mut self.pieces, piece);
            self.wake();
        } else {
            self.counters.abandoned.increment();
            self.end(Stage::Broken);
        }
    }

    fn end(&mut self, stage: Stage) {
        if self.stage == Stage::Open {
            self.stage = stage;
            if stage == Stage::Broken {
                self.clear();
            }
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.budget.give_back(std::mem::take(&mut self.bytes));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes -= piece.size();
            self.budget.give_back(piece.size());
            return Poll::Ready(Some(Ok(piece.into_frame())));
        }
        match self.stage {
            Stage::Open => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Stage::Finished => Poll::Ready(None),
            Stage::Broken => Poll::Ready(Some(Err(BodyError::Abandoned))),
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The body of a copy on its way.
pub(crate) struct CopyBody {
    queue: Arc<Mutex<Queue>>,
    upload: Arc<Upload>,
    /// The original's when it began.
    size: SizeHint,
}

impl CopyBody {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.upload.ask();
        let frame = std::task::ready!(lock(&self.queue).poll(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.upload.data(data);
                }
                if self.is_end_stream() {
                    self.upload.end();
                }
            }
            Some(Err(_)) => self.upload.fail(),
            None => self.upload.end(),
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let queue = lock(&self.queue);
        queue.stage == Stage::Finished && queue.pieces.is_empty()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl Drop for CopyBody {
    fn drop(&mut self) {
        // Nobody reads it any more: nothing more is kept for it.
        let mut queue = lock(&self.queue);
        queue.end(Stage::Broken);
        queue.clear();
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::http::body::RequestBody;

    struct Stage {
        budget: Arc<ReplayBudget>,
        counters: Arc<MirrorCounters>,
        copies: Copies,
    }

    fn stage(copies: usize) -> (Stage, Vec<RequestBody>) {
        let mut stage = Stage {
            budget: Arc::default(),
            counters: Arc::default(),
            copies: Copies::default(),
        };
        let like = Full::new(Bytes::from_static(b"12345"));
        let bodies = (0..copies)
            .map(|_| RequestBody::Copy(stage.copies.begin(&like, &stage.budget, &stage.counters).0))
            .collect();
        (stage, bodies)
    }

    impl Stage {
        fn is_all_given_back(&self) -> bool {
            let all = self.budget.take(super::super::replay::WORKER_BYTES_MAX);
            self.budget
                .give_back(if all { super::super::replay::WORKER_BYTES_MAX } else { 0 });
            all
        }
    }

    #[tokio::test]
    async fn each_copy_has_all_bytes_and_trailers() {
        let (stage, bodies) = stage(2);
        stage.copies.data(&Bytes::from_static(b"123"));
        stage.copies.data(&Bytes::from_static(b"45"));
        let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("t"))]);
        stage.copies.trailers(&trailers);
        stage.copies.finish();
        for body in bodies {
            assert_eq!(body.size_hint().exact(), Some(5));
            let read = body.collect().await.expect("whole");
            assert_eq!(read.trailers(), Some(&trailers));
            assert_eq!(read.to_bytes(), "12345");
        }
        assert!(stage.is_all_given_back());
    }

    #[tokio::test]
    async fn who_is_too_far_behind_loses_the_copy_and_the_others_do_not() {
        let (stage, mut bodies) = stage(2);
        let piece = Bytes::from(vec![1; WAITING_BYTES_MAX / 4]);
        for _ in 0..4 {
            stage.copies.data(&piece);
        }
        let first = bodies[0].frame().await.expect("a frame");
        assert_eq!(first.expect("in time").data_ref(), Some(&piece));
        stage.copies.data(&piece);
        assert_eq!(stage.counters.abandoned.get(), 1);
        stage.copies.finish();
        let slow = bodies.pop().expect("two").collect().await;
        assert!(matches!(slow, Err(BodyError::Abandoned)));
        let quick = bodies.pop().expect("one").collect().await.expect("whole");
        assert_eq!(quick.to_bytes().len(), WAITING_BYTES_MAX);
        assert!(stage.is_all_given_back());
    }

    #[tokio::test]
    async fn a_request_that_breaks_off_is_no_whole_copy() {
        let (stage, mut bodies) = stage(1);
        stage.copies.data(&Bytes::from_static(b"123"));
        drop(stage.copies);
        let broken = bodies.pop().expect("one").collect().await;
        assert!(matches!(broken, Err(BodyError::Abandoned)));
    }

    #[test]
    fn nothing_is_kept_for_a_copy_that_nobody_reads() {
        let (stage, bodies) = stage(1);
        stage.copies.data(&Bytes::from_static(b"123"));
        drop(bodies);
        stage.copies.data(&Bytes::from_static(b"45"));
        assert!(stage.is_all_given_back());
        assert_eq!(stage.counters.abandoned.get(), 0);
    }
}
