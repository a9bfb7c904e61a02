//! A socket that counts against the connection limit for exactly as long as it is open.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::permit::ConnectionPermit;
use crate::passing::pass_writes;

/// A connection to an upstream with its permit. Fields are dropped in their order: the socket is closed, so that the peer
/// has the end of this connection in its queue, before the permit can open the next one.
#[derive(Debug)]
pub(crate) struct PermittedStream {
    stream: TcpStream,
    _permit: ConnectionPermit,
}

impl PermittedStream {
    pub(crate) fn new(stream: TcpStream, permit: ConnectionPermit) -> Self {
        Self {
            stream,
            _permit: permit,
        }
    }
}

impl AsyncRead for PermittedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

pass_writes!(impl[] PermittedStream, stream);
