//! A stream whose first bytes have been read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use crate::passing::pass_writes;

/// Gives back what was read for detection, then reads on.
#[derive(Debug)]
pub(crate) struct Rewind<S> {
    first: Bytes,
    inner: S,
}

impl<S> Rewind<S> {
    pub(crate) fn new(first: Bytes, inner: S) -> Self {
        Self { first, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..length]);
        self.first.advance(length);
        if self.first.is_empty() {
            // What is empty still holds its memory.
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

pass_writes!(impl[S: tokio::io::AsyncWrite + Unpin] Rewind<S>, inner);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_comes_first_in_pieces_of_any_size() {
        let mut stream = Rewind::new(Bytes::from_static(b"abcde"), unread());
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"ab");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"cdefgh");
    }

    fn unread() -> &'static [u8] {
        b"fgh"
    }
}
