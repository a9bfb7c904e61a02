//! Header fields that decide how long a message is.

use super::Refusal;

/// Lengths and codings seen in one head. Two `Content-Length` fields are refused even when they agree: the next hop might
/// not compare them (RFC 9112, section 6.3 allows refusing).
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lengths {
    content_length: Option<u64>,
    chunked: bool,
    http_1_0: bool,
    upgrade: bool,
}

/// How the body of a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// That many bytes.
    Fixed(u64),
    /// Until the last chunk and its trailers.
    Chunked,
}

impl Lengths {
    /// The request line, without its line end. Its parts are judged by the parser; here matters what is behind the head.
    pub(super) fn start_line(&mut self, line: &[u8]) {
        self.http_1_0 = line.ends_with(b"HTTP/1.0");
        self.upgrade = line.starts_with(b"CONNECT ");
    }

    /// One header line, without its line end.
    pub(super) fn field_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        // A line that starts with a blank continues the one before it (obs-fold): a relay must not forward it.
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Refusal::FoldedHeader);
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(Refusal::HeaderSyntax);
        };
        let name = &line[..colon];
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(&line[colon + 1..]),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(&line[colon + 1..]),
            // "Content-Length : 1" hides the name from parsers that are strict and shows it to those that are not.
            0 => Err(Refusal::HeaderSyntax),
            n if matches!(name[n - 1], b' ' | b'\t') => Err(Refusal::HeaderSyntax),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let digits = trim(value);
        // 19 digits fit into a u64 and are more than anybody sends.
        if self.content_length.is_some() || digits.is_empty() || digits.len() > 19 {
            return Err(Refusal::ContentLength);
        }
        let mut length = 0u64;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(Refusal::ContentLength);
            }
            length = length * 10 + u64::from(digit - b'0');
        }
        self.content_length = Some(length);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // Only one coding, once: a second one, or an unknown one, changes where the body ends for whoever knows it.
        if self.chunked || !trim(value).eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Whether another protocol is asked for.
    pub(super) fn asks_for_upgrade(self) -> bool {
        self.upgrade
    }

    /// The end of the head: what follows.
    pub(super) fn body(self) -> Result<BodyLength, Refusal> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(Refusal::LengthAndEncoding),
            (true, None) if self.http_1_0 => Err(Refusal::TransferEncoding),
            (true, None) => Ok(BodyLength::Chunked),
            (false, length) => Ok(BodyLength::Fixed(length.unwrap_or(0))),
        }
    }
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
