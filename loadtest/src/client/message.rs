//! The messages of a gRPC response, read as their bytes come: that there is one and that it is whole is checked, and what a
//! health check says is kept.

use prost::Message;

use crate::scenario::Reply;

/// Length of what precedes a message: a flag and the message's length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// Bytes of a health check's answer that are looked at; it has two or so.
const KEPT_BYTES_MAX: usize = 1024;
/// `ServingStatus.SERVING` (gRPC Health Checking Protocol).
const SERVING: i32 = 1;

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// What the messages of a response say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// All that was asked for.
    Enough,
    /// A health check's: the service does not serve.
    NotServing,
    /// Not one whole message that can be read.
    Malformed,
}

/// Reads the messages of one response.
#[derive(Debug)]
pub(super) struct MessageReader {
    wanted: Reply,
    prefix: [u8; PREFIX_BYTES],
    prefix_length: usize,
    /// Bytes of the message that are yet to come.
    left: usize,
    /// Messages that have come whole.
    whole: usize,
    compressed: bool,
    kept: Vec<u8>,
}

impl MessageReader {
    pub(super) fn new(wanted: Reply) -> Self {
        Self {
            wanted,
            prefix: [0; PREFIX_BYTES],
            prefix_length: 0,
            left: 0,
            whole: 0,
            compressed: false,
            kept: Vec::new(),
        }
    }

    /// Takes what came.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        if self.wanted == Reply::Anything {
            return;
        }
        while !bytes.is_empty() {
            if self.prefix_length < PREFIX_BYTES {
                self.prefix[self.prefix_length] = bytes[0];
                self.prefix_length += 1;
                bytes = &bytes[1..];
                if self.prefix_length < PREFIX_BYTES {
                    continue;
                }
                let [flag, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                self.compressed |= flag != 0;
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(self.left));
            self.left -= taken.len();
            bytes = rest;
            if self.wanted == Reply::Health && self.kept.len() + taken.len() <= KEPT_BYTES_MAX {
                self.kept.extend_from_slice(taken);
            }
            if self.left == 0 {
                self.prefix_length = 0;
                self.whole += 1;
            }
        }
    }

    /// What a response with the status OK has said now that it is over: one whole message, of no encoding since none was offered.
    pub(super) fn end(&self) -> Said {
        if self.wanted == Reply::Anything {
            return Said::Enough;
        }
        if self.whole != 1 || self.prefix_length != 0 || self.compressed {
            return Said::Malformed;
        }
        match (self.wanted, HealthCheckResponse::decode(self.kept.as_slice())) {
            (Reply::Anything | Reply::Message, _) => Said::Enough,
            (Reply::Health, Ok(HealthCheckResponse { status: SERVING })) => Said::Enough,
            (Reply::Health, Ok(_)) => Said::NotServing,
            (Reply::Health, Err(_)) => Said::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unary_response_is_one_whole_message_and_a_health_check_says_serving() {
        for (wanted, bytes, said) in [
            (Reply::Anything, &b"hello"[..], Said::Enough),
            (Reply::Message, b"\0\0\0\0\0", Said::Enough),
            (Reply::Message, b"\0\0\0\0\x02ab", Said::Enough),
            (Reply::Message, b"", Said::Malformed),
            (Reply::Message, b"\0\0\0", Said::Malformed),
            (Reply::Message, b"\0\0\0\0\x03ab", Said::Malformed),
            (Reply::Message, b"\0\0\0\0\x01ab", Said::Malformed),
            (Reply::Message, b"\0\0\0\0\0\0\0\0\0\0", Said::Malformed),
            (Reply::Message, b"\x01\0\0\0\x01a", Said::Malformed),
            (Reply::Health, b"\0\0\0\0\x02\x08\x01", Said::Enough),
            (Reply::Health, b"\0\0\0\0\x02\x08\x02", Said::NotServing),
            (Reply::Health, b"\0\0\0\0\0", Said::NotServing),
            (Reply::Health, b"\0\0\0\0\x01\x08", Said::Malformed),
        ] {
            let mut reader = MessageReader::new(wanted);
            reader.feed(bytes);
            assert_eq!(reader.end(), said, "{wanted:?} {bytes:?}");
            let mut piecewise = MessageReader::new(wanted);
            bytes.iter().for_each(|byte| piecewise.feed(&[*byte]));
            assert_eq!(piecewise.end(), said, "{wanted:?} {bytes:?} byte by byte");
        }
    }

    #[test]
    fn a_long_message_costs_no_memory() {
        let mut reader = MessageReader::new(Reply::Health);
        reader.feed(b"\0\x10\0\0\0");
        for _ in 0..0x1000 {
            reader.feed(&[0; 0x1000]);
        }
        reader.feed(&[0; 0x1000]);
        assert!(reader.kept.len() <= KEPT_BYTES_MAX, "{}", reader.kept.len());
    }
}
