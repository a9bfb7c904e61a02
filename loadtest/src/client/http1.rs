//! HTTP/1.1 on one connection: a request is one write, a response is read into the thread's one buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::Answer;
use super::response::ResponseReader;
use super::stream::Stream;
use super::timer::Timer;
use super::{Failure, Kind, Phase};

/// Bytes that are read at once.
pub(crate) const SCRATCH_BYTES: usize = 32 * 1024;

/// A connection that speaks HTTP/1.1.
pub(crate) struct Http1 {
    stream: Stream,
}

impl Http1 {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// Sends `request`, a whole request as bytes, and reads the whole response.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        head_only: bool,
        scratch: &RefCell<Box<[u8]>>,
        timer: &Timer,
    ) -> Result<Answer, Failure> {
        let mut written = 0;
        let mut reader = ResponseReader::new(head_only);
        // One future for both: a response that comes before the request is written (a refusal, say) counts.
        poll_fn(|context| {
            while written < request.len() {
                match Pin::new(&mut self.stream).poll_write(context, &request[written..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(Failure::new(Phase::Send, Kind::Closed))),
                    Poll::Ready(Ok(count)) => written += count,
                    // Who refuses early may have answered before it closed.
                    Poll::Ready(Err(error)) => {
                        let failure = Failure::of_io(Phase::Send, &error);
                        return self
                            .read(context, &mut reader, scratch)
                            .map(|read| read.map_err(|_| failure));
                    }
                    Poll::Pending => break,
                }
            }
            if let Poll::Ready(read) = self.read(context, &mut reader, scratch) {
                return Poll::Ready(read.map(|answer| Answer {
                    reusable: answer.reusable && written == request.len(),
                    ..answer
                }));
            }
            if timer.poll_expired(context) {
                let phase = if written < request.len() {
                    Phase::Send
                } else {
                    phase(&reader)
                };
                return Poll::Ready(Err(Failure::new(phase, Kind::Timeout)));
            }
            Poll::Pending
        })
        .await
    }

    /// Resolves when an idle connection cannot carry another request: it was closed, or something came unasked.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_touched(context)
    }

    fn read(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut ResponseReader,
        scratch: &RefCell<Box<[u8]>>,
    ) -> Poll<Result<Answer, Failure>> {
        let mut scratch = scratch.borrow_mut();
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                return Poll::Ready(Err(Failure::of_io(phase(reader), &error)));
            }
            if buffer.filled().is_empty() {
                let closed = Failure::new(phase(reader), Kind::Closed);
                return Poll::Ready(reader.end().ok_or(closed));
            }
            match reader.feed(buffer.filled()) {
                Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(Failure::new(phase(reader), Kind::Protocol))),
            }
        }
    }
}

fn phase(reader: &ResponseReader) -> Phase {
    if reader.begun() { Phase::Body } else { Phase::FirstByte }
}
