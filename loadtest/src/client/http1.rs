//! HTTP/1.1 on one connection: a request is one write, a response is read into the thread's one buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::Answer;
use super::body::Malformed;
use super::progress::Progress;
use super::response::ResponseReader;
use super::stream::Stream;
use super::timer::Timer;
use super::{Failure, Kind, Phase};
use crate::scenario::{After, Plain};

/// Bytes that are read at once.
pub(crate) const SCRATCH_BYTES: usize = 32 * 1024;

/// A connection that speaks HTTP/1.1.
pub(crate) struct Http1 {
    stream: Stream,
    end: End,
}

/// How the last request on a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was answered, or cut off in a way that says that the server has taken it.
    Taken,
    /// The server closed the connection in order, with no byte of an answer: it may have done so before the request came.
    Silent,
    /// Not a byte of it could be written.
    Unwritten,
}

/// The writing half of an exchange.
struct Writing<'a> {
    request: &'a [u8],
    written: usize,
    /// TLS keeps what the socket does not take at once.
    flushed: bool,
    broken: Option<Failure>,
}

impl Http1 {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            end: End::Taken,
        }
    }

    /// How the last request has ended.
    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Sends a whole request as bytes, and reads the whole response.
    pub(crate) async fn exchange(
        &mut self,
        request: &Plain,
        scratch: &RefCell<Box<[u8]>>,
        timer: &Timer,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let mut reader = ResponseReader::new(request.body);
        let mut writing = Writing {
            request: &request.bytes,
            written: 0,
            flushed: false,
            broken: None,
        };
        // One future for both: a response that comes before the request is written (a refusal, say) counts.
        let result = poll_fn(|context| {
            self.write(context, &mut writing, progress);
            if let Poll::Ready(read) = self.read(context, &mut reader, scratch) {
                // Who refuses early may have answered before it closed; who has not, was lost in writing.
                return Poll::Ready(match (read, writing.broken) {
                    (Ok(answer), broken) => Ok(Answer {
                        reusable: answer.reusable
                            && request.after == After::Keep
                            && broken.is_none()
                            && writing.flushed,
                        ..answer
                    }),
                    (Err(_), Some(failure)) | (Err(failure), None) => Err(failure),
                });
            }
            if timer.poll_expired(context) {
                let phase = if writing.flushed { phase(&reader) } else { Phase::Send };
                return Poll::Ready(Err(Failure::new(phase, Kind::Timeout)));
            }
            Poll::Pending
        })
        .await;
        self.end = match &result {
            Err(failure) if writing.written == 0 && failure.kind != Kind::Timeout => End::Unwritten,
            Err(failure) if failure.kind == Kind::Closed && !reader.begun() => End::Silent,
            _ => End::Taken,
        };
        result
    }

    /// Resolves when an idle connection cannot carry another request: it was closed, or something came unasked.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_touched(context)
    }

    /// Writes as much as the connection takes.
    fn write(&mut self, context: &mut Context<'_>, writing: &mut Writing<'_>, progress: &Progress) {
        while writing.broken.is_none() && writing.written < writing.request.len() {
            match Pin::new(&mut self.stream).poll_write(context, &writing.request[writing.written..]) {
                Poll::Ready(Ok(0)) => writing.broken = Some(Failure::new(Phase::Send, Kind::Closed)),
                Poll::Ready(Ok(count)) => {
                    writing.written += count;
                    progress.wrote(count);
                }
                Poll::Ready(Err(error)) => writing.broken = Some(Failure::of_io(Phase::Send, &error)),
                Poll::Pending => return,
            }
        }
        if writing.broken.is_none() && !writing.flushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => writing.flushed = true,
                Poll::Ready(Err(error)) => writing.broken = Some(Failure::of_io(Phase::Send, &error)),
                Poll::Pending => {}
            }
        }
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
                Err(malformed) => {
                    let kind = match malformed {
                        Malformed::Syntax => Kind::Protocol,
                        Malformed::HeadTooLarge => Kind::Oversized,
                    };
                    return Poll::Ready(Err(Failure::new(phase(reader), kind)));
                }
            }
        }
    }
}

fn phase(reader: &ResponseReader) -> Phase {
    if reader.begun() { Phase::Body } else { Phase::FirstByte }
}
