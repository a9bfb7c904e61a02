//! HTTP/1 or HTTP/2, by the first bytes.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

use crate::http::conn_state::{ConnState, Order, Phase};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at once before the codec is chosen. Most requests fit, so that the codec need not ask the kernel again;
/// whatever the bytes are, as many as the preface has decide.
pub(super) const FIRST_BYTES_MAX: usize = 4096;

/// Who reads a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Http1,
    Http2,
}

/// Why a connection ended before it was known what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The client has closed it.
    Closed,
    /// It was told to end.
    Ordered(Order),
}

/// Reads until the codec is certain, beginning with what was read `first` already. Envoy's rule for `AUTO`: the preface is
/// HTTP/2, anything else is HTTP/1, whose parser says what is wrong with it.
///
/// # Errors
/// When the connection ends, or is to end by its idle or head limit.
pub(crate) async fn sniff(stream: &TcpStream, state: &ConnState, first: Bytes) -> Result<(Codec, Bytes), Unknown> {
    if let Some(codec) = codec(&first) {
        return Ok((codec, first));
    }
    let mut first = BytesMut::from(first);
    loop {
        // Cancel safe: readiness is not lost when an order comes first. Biased: a late connection gets no other turn.
        tokio::select! {
            biased;
            order = ordered(state) => return Err(Unknown::Ordered(order)),
            ready = stream.readable() => ready.map_err(|_| Unknown::Closed)?,
        }
        // Not before there is something to read: a connection that says nothing holds no memory.
        first.reserve(FIRST_BYTES_MAX);
        let ended = match stream.try_read_buf(&mut first) {
            Ok(read) => read == 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => return Err(Unknown::Closed),
        };
        match codec(&first) {
            Some(codec) => return Ok((codec, first.freeze())),
            None if ended && first.is_empty() => return Err(Unknown::Closed),
            // A part of the preface, and no more: HTTP/1 answers 400.
            None if ended => return Ok((Codec::Http1, first.freeze())),
            None if first.is_empty() => {}
            None => state.read(Phase::Head, 0),
        }
    }
}

/// Ready when the connection is to end. A drain does not end it: the first request is still answered.
pub(super) async fn ordered(state: &ConnState) -> Order {
    poll_fn(|cx| match state.order(cx.waker()) {
        Some(order @ (Order::IdleTimeout | Order::HeadTimeout | Order::WriteTimeout)) => Poll::Ready(order),
        Some(Order::Drain) | None => Poll::Pending,
    })
    .await
}

/// What the bytes say, if they say it already.
fn codec(first: &[u8]) -> Option<Codec> {
    let known = first.len().min(PREFACE.len());
    if first[..known] != PREFACE[..known] {
        Some(Codec::Http1)
    } else if known == PREFACE.len() {
        Some(Codec::Http2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_decides() {
        for (first, expected) in [
            (&b""[..], None),
            (b"G", Some(Codec::Http1)),
            (b"GET / HTTP/1.1\r\n", Some(Codec::Http1)),
            (b"P", None),
            (b"PO", Some(Codec::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Codec::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Some(Codec::Http2)),
            (b"PRI * HTTP/1.1\r\n", Some(Codec::Http1)),
            (b"\x16\x03\x01", Some(Codec::Http1)),
        ] {
            assert_eq!(codec(first), expected, "{first:?}");
        }
    }
}
