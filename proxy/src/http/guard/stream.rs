//! A client's stream with the framing check in its read half.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::framing::{Framing, Position};
use crate::http::conn_state::{ConnState, Phase};

/// A byte that no part of an HTTP/1 message may hold. Put in the place of a refused byte it makes the parser behind stop
/// there and answer 400 in its turn, after the replies to earlier requests of the connection.
const POISON: u8 = 0;

/// Bytes behind a request for an upgrade that are taken in before its answer; the client waits with the rest.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// How long what a client still sends is read and thrown away after the last reply: a socket closed with unread bytes is
/// reset, and with it the reply that the client has not read yet. Envoy's delayed close has the same value.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes thrown away at a time.
const DISCARD_BYTES: usize = 8 * 1024;

/// The answer to a head that does not end. hyper would close without one.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A downstream connection whose bytes are checked before the HTTP parser sees them, and whose progress is noted in its
/// [`ConnState`] for the limits on slow and silent clients.
pub(crate) struct GuardedStream<S> {
    inner: S,
    framing: Framing,
    state: Arc<ConnState>,
    refused: bool,
    /// Bytes behind a request for an upgrade.
    held: Vec<u8>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedStream<S> {
    pub(crate) fn new(inner: S, head_bytes_max: usize, state: Arc<ConnState>) -> Self {
        Self {
            inner,
            framing: Framing::new(head_bytes_max),
            state,
            refused: false,
            held: Vec::new(),
            linger: None,
        }
    }

    /// Checks the bytes from `before` on; hides what follows a refusal.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        if self.state.is_tunnel() {
            return;
        }
        match self.framing.read(&buf.filled()[before..]) {
            Ok(consumed) => {
                if self.framing.is_paused() {
                    // In front of what is held already: these bytes may have come out of there.
                    self.held.splice(..0, buf.filled()[before + consumed..].iter().copied());
                    buf.set_filled(before + consumed);
                    self.state.hold(true);
                }
            }
            Err((fine, refusal)) => {
                self.refused = true;
                self.state.refuse(refusal, self.framing.message());
                buf.filled_mut()[before + fine] = POISON;
                buf.set_filled(before + fine + 1);
            }
        }
        let phase = match self.framing.position() {
            Position::Between => Phase::Idle,
            Position::Head => Phase::Head,
            Position::Body => Phase::Body,
        };
        self.state.read(phase, self.framing.heads());
    }

    /// Whether the answer to an upgrade is still to come. Once it has come, what was held is read as it says.
    fn is_held(&mut self) -> bool {
        if self.framing.is_paused() && (self.state.is_tunnel() || !self.state.is_answering()) {
            self.framing.resume();
            self.state.hold(false);
        }
        self.framing.is_paused()
    }

    /// Gives out what was held.
    fn release(&mut self, buf: &mut ReadBuf<'_>) {
        let before = buf.filled().len();
        let length = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..length]);
        self.held.drain(..length);
        self.inspect(buf, before);
    }
}

impl<S: AsyncRead + Unpin> GuardedStream<S> {
    /// Takes in what a client sends before its upgrade is answered, so that its leaving is noticed. Ready at the end.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 1024];
        while self.held.len() < HELD_BYTES_MAX {
            let mut part = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(part.filled());
        }
        Poll::Pending
    }

    /// Throws away what a client sends that has been told to stop, until it ends or for as long as [`LINGER`].
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut chunk = [0; DISCARD_BYTES];
        loop {
            let mut part = ReadBuf::new(&mut chunk);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part));
            if read.is_err() || part.filled().is_empty() {
                return Poll::Ready(());
            }
        }
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
            if !self.state.is_write_blocked() {
                let sent = Pin::new(&mut self.inner).poll_write(cx, REQUEST_TIMEOUT);
                tracing::trace!(sent = sent.is_ready(), "a head was late");
            }
            return Poll::Ready(Ok(()));
        }
        if self.is_held() {
            return self.poll_hold(cx);
        }
        if !self.held.is_empty() {
            self.release(buf);
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
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
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        let expects_more = self.refused || self.framing.position() == Position::Body;
        if expects_more && !self.state.is_tunnel() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
