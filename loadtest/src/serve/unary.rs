//! What gRPC wants of an echo: one message, the same if that is possible, and a status in the trailers.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};

use crate::grpc::{HEALTH_CHECK, SERVING};

/// Bytes of a message's prefix: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// Key of the field that holds filler: number 2047, length-delimited. Messages that do not know it skip it.
const FILLER_KEY: [u8; 2] = [0xfa, 0x7f];

/// A message's prefix and beginning, and the bytes of filler that belong behind them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: Bytes,
    pub(super) filler: usize,
}

/// The message that was `sent`, with a field of `filler` bytes behind it. A health check is told that all is well; what is no
/// whole plain message, or none that was kept whole, is answered with an empty one.
pub(super) fn answer(path: &str, sent: &Bytes, filler: usize) -> Message {
    let content = match path {
        HEALTH_CHECK => Bytes::from_static(SERVING),
        _ => whole(sent).unwrap_or_default(),
    };
    let mut field = BytesMut::new();
    if filler > 0 {
        field.put_slice(&FILLER_KEY);
        put_varint(&mut field, filler);
    }
    // A message that holds more than its length can say is none; limits of bodies are far below.
    let length = u32::try_from(content.len() + field.len() + filler).unwrap_or(u32::MAX);
    let mut text = BytesMut::with_capacity(PREFIX_BYTES + content.len() + field.len());
    text.put_u8(0);
    text.put_u32(length);
    text.put_slice(&content);
    text.put_slice(&field);
    Message {
        text: text.freeze(),
        filler,
    }
}

/// The content of one plain message that is all that was sent.
fn whole(sent: &Bytes) -> Option<Bytes> {
    let prefix = sent.get(..PREFIX_BYTES)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?) as usize;
    (prefix[0] == 0 && sent.len() - PREFIX_BYTES == length).then(|| sent.slice(PREFIX_BYTES..))
}

fn put_varint(bytes: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        bytes.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

/// gRPC's status for one of HTTP (gRPC, "HTTP to gRPC Status Code Mapping").
pub(super) fn status(http: u16) -> u16 {
    match http {
        200..=299 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The trailers that say it.
pub(super) fn trailers(status: u16) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(status));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_or_empty() {
        let echoed = |sent: &'static [u8]| answer("/shop.Cart/Get", &Bytes::from_static(sent), 0).text;
        for (sent, wanted) in [
            (&b"\0\0\0\0\x02ab"[..], &b"\0\0\0\0\x02ab"[..]),
            (b"\0\0\0\0\0", b"\0\0\0\0\0"),
            (b"", b"\0\0\0\0\0"),
            (b"\0\0\0\0\x09ab", b"\0\0\0\0\0"),
            (b"\x01\0\0\0\x02ab", b"\0\0\0\0\0"),
            (b"\0\0", b"\0\0\0\0\0"),
        ] {
            assert_eq!(echoed(sent), wanted, "{sent:?}");
        }
        let healthy = answer(HEALTH_CHECK, &Bytes::from_static(b"\0\0\0\0\0"), 0);
        assert_eq!(healthy.text, &b"\0\0\0\0\x02\x08\x01"[..]);
    }

    #[test]
    fn filler_is_a_field_that_nobody_knows_and_the_length_counts_it() {
        let message = answer("/shop.Cart/Get", &Bytes::from_static(b"\0\0\0\0\x02ab"), 300);
        assert_eq!(message.text, &b"\0\0\0\x01\x32ab\xfa\x7f\xac\x02"[..]);
        assert_eq!(message.filler, 300);
    }

    #[test]
    fn statuses_of_http_have_theirs_of_grpc() {
        for (http, grpc) in [(200, 0), (400, 13), (401, 16), (403, 7), (404, 12), (503, 14), (500, 2)] {
            assert_eq!(status(http), grpc, "{http}");
        }
    }
}
