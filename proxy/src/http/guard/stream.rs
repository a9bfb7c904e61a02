//! A client's stream with the framing check in its read half.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Framing, Position};
use crate::http::conn_state::{ConnState, Phase};

/// A byte that no part of an HTTP/1 message may hold. Put in the place of a refused byte it makes the parser behind stop
/// there and answer 400 in its turn, after the replies to earlier requests of the connection.
const POISON: u8 = 0;

/// The answer to a head that does not end. hyper would close without one.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A downstream connection whose bytes are checked before the HTTP parser sees them, and whose progress is noted in its
/// [`ConnState`] for the limits on slow and silent clients.
pub(crate) struct GuardedStream<S> {
    inner: S,
    framing: Framing,
    state: Arc<ConnState>,
    refused: bool,
}

impl<S> GuardedStream<S> {
    pub(crate) fn new(inner: S, head_bytes_max: usize, state: Arc<ConnState>) -> Self {
        Self {
            inner,
            framing: Framing::new(head_bytes_max),
            state,
            refused: false,
        }
    }

    /// Checks the bytes from `before` on; hides what follows a refusal.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        if self.state.is_tunnel() {
            return;
        }
        if let Err((fine, refusal)) = self.framing.read(&buf.filled()[before..]) {
            self.refused = true;
            self.state.refuse(refusal, self.framing.message());
            buf.filled_mut()[before + fine] = POISON;
            buf.set_filled(before + fine + 1);
        }
        self.state.enter(match self.framing.position() {
            Position::Head => Phase::Head,
            Position::Between | Position::Body => Phase::Busy,
        });
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.refused {
            return Poll::Ready(Ok(()));
        }
        if self.state.is_head_late() {
            self.refused = true;
            // Nothing else is being written: the reply to the request before has gone. If the socket takes nothing now, the
            // client does not read either, and gets the end alone.
            let sent = Pin::new(&mut self.inner).poll_write(cx, REQUEST_TIMEOUT);
            tracing::trace!(sent = sent.is_ready(), "a head was late");
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.inspect(buf, before);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> GuardedStream<S> {
    /// A write that does not go on for long is a client that does not read.
    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.state.write_blocked(),
            Poll::Ready(_) => self.state.write_moved(),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
