//! An HTTP/1.1 response, read as its bytes come: status, length and signs of a mesh are kept, the rest is counted.

use httparse::Status;

use super::answer::{Answer, sign};
use super::body::{At, Malformed};
use crate::scenario::ResponseBody;

/// Header fields of a response, at most.
pub(crate) const HEADERS_MAX: usize = 96;
/// Bytes of a response's head, at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Reads one response.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    at: At,
    asked: ResponseBody,
    partial: Vec<u8>,
    answer: Answer,
}

impl ResponseReader {
    /// For the response to a request.
    pub(crate) fn new(asked: ResponseBody) -> Self {
        Self {
            at: At::Head,
            asked,
            partial: Vec::new(),
            answer: Answer::default(),
        }
    }

    /// Whether anything has come.
    pub(crate) fn begun(&self) -> bool {
        self.at != At::Head || !self.partial.is_empty()
    }

    /// Takes what came; the answer once it is whole.
    ///
    /// # Errors
    /// When it is no response, or bytes follow that nobody asked for.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        self.answer.bytes += bytes.len() as u64;
        let mut rest = bytes;
        let joined;
        if self.at == At::Head {
            if !self.partial.is_empty() {
                self.partial.extend_from_slice(bytes);
                joined = std::mem::take(&mut self.partial);
                rest = &joined;
            }
            match self.head(rest)? {
                Some(length) => rest = &rest[length..],
                None if rest.len() > HEAD_BYTES_MAX => return Err(Malformed::HeadTooLarge),
                None => {
                    self.partial = rest.to_vec();
                    return Ok(None);
                }
            }
        }
        // What follows a change of protocols is of another one (RFC 9110 15.2.2).
        if self.answer.status != 101 {
            self.body(rest)?;
        }
        Ok((self.at == At::Done).then(|| std::mem::take(&mut self.answer)))
    }

    /// The connection has ended; whole only where the end says so (RFC 9112 6.3).
    pub(crate) fn end(&mut self) -> Option<Answer> {
        (self.at == At::Close).then(|| std::mem::take(&mut self.answer))
    }

    /// Length of the head, interim responses before it included.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut passed = 0;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut response = httparse::Response::new(&mut headers);
            let length = match response.parse(&bytes[passed..]).map_err(refusal)? {
                Status::Complete(length) => length,
                Status::Partial => return Ok(None),
            };
            let status = response.code.ok_or(Malformed::Syntax)?;
            passed += length;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            self.answer.status = status;
            self.answer.reusable = response.version == Some(1);
            self.at = self.framing(response.headers)?;
            return Ok(Some(passed));
        }
    }

    fn framing(&mut self, headers: &[httparse::Header<'_>]) -> Result<At, Malformed> {
        let status = self.answer.status;
        let mut length = None;
        let mut chunked = false;
        let (mut closes, mut keeps) = (false, false);
        for header in headers {
            // By length first: a response has a dozen headers and few that matter.
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let said = decimal(header.value)?;
                    // Two lengths are two messages to whoever reads the other one (RFC 9112 6.3).
                    if length.replace(said).is_some_and(|other| other != said) {
                        return Err(Malformed::Syntax);
                    }
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    chunked = words(header.value)
                        .last()
                        .is_some_and(|word| word.eq_ignore_ascii_case(b"chunked"));
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    closes |= words(header.value).any(|word| word.eq_ignore_ascii_case(b"close"));
                    keeps |= words(header.value).any(|word| word.eq_ignore_ascii_case(b"keep-alive"));
                }
                _ => {}
            }
        }
        // Any member closes, and closing goes first (RFC 9112 9.3).
        self.answer.reusable = (self.answer.reusable || keeps) && !closes && status != 101;
        if self.answer.is_refused() {
            self.answer.sign = sign(headers.iter().map(|header| (header.name, header.value)));
        }
        if self.asked == ResponseBody::Never || matches!(status, 101 | 204 | 304) {
            return Ok(At::Done);
        }
        Ok(match (chunked, length) {
            (true, _) => At::ChunkSize { size: 0, digits: 0 },
            (false, Some(0)) => At::Done,
            (false, Some(length)) => At::Length(length),
            (false, None) => {
                self.answer.reusable = false;
                At::Close
            }
        })
    }

    fn body(&mut self, mut rest: &[u8]) -> Result<(), Malformed> {
        while !rest.is_empty() {
            let (at, taken) = self.at.take(rest)?;
            self.at = at;
            rest = &rest[taken..];
        }
        Ok(())
    }
}

fn decimal(value: &[u8]) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(value).map_err(|_| Malformed::Syntax)?.trim();
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::Syntax);
    }
    text.parse().map_err(|_| Malformed::Syntax)
}

/// The words that commas divide.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn refusal(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => Malformed::HeadTooLarge,
        _ => Malformed::Syntax,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ResponseBody::{AsFramed, Never};

    /// Feeds whole, and again byte by byte: where the network cuts must not matter.
    fn read(asked: ResponseBody, text: &str) -> Result<Option<Answer>, Malformed> {
        let whole = ResponseReader::new(asked).feed(text.as_bytes());
        let mut reader = ResponseReader::new(asked);
        let mut last = Ok(None);
        for byte in text.as_bytes() {
            last = reader.feed(&[*byte]);
            if last.is_err() {
                break;
            }
        }
        let mut piecewise = last;
        if let (Ok(Some(answer)), Ok(Some(whole))) = (&mut piecewise, &whole) {
            answer.bytes = whole.bytes;
        }
        assert_eq!(piecewise, whole, "{text:?}");
        whole
    }

    fn answer(status: u16, reusable: bool, text: &str) -> Result<Option<Answer>, Malformed> {
        Ok(Some(Answer {
            status,
            bytes: text.len() as u64,
            reusable,
            ..Answer::default()
        }))
    }

    #[test]
    fn a_response_ends_where_its_framing_says() {
        for (asked, status, reusable, text) in [
            (AsFramed, 200, true, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"),
            (AsFramed, 200, true, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (Never, 200, true, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
            (AsFramed, 204, true, "HTTP/1.1 204 No Content\r\n\r\n"),
            (AsFramed, 304, true, "HTTP/1.1 304 x\r\ncontent-length: 9\r\n\r\n"),
            (AsFramed, 200, false, "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na"),
            (
                AsFramed,
                200,
                true,
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na",
            ),
            (
                AsFramed,
                200,
                false,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na",
            ),
            (
                AsFramed,
                200,
                false,
                "HTTP/1.1 200 OK\r\nConnection: close, foo\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                AsFramed,
                200,
                false,
                "HTTP/1.1 200 OK\r\nconnection: foo\r\nconnection: Close\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                AsFramed,
                200,
                true,
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
            ),
            (
                AsFramed,
                101,
                false,
                "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            ),
            (
                AsFramed,
                200,
                true,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            ),
            (
                AsFramed,
                200,
                true,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nt: v\r\n\r\n",
            ),
        ] {
            assert_eq!(read(asked, text), answer(status, reusable, text), "{text:?}");
        }
    }

    #[test]
    fn a_response_without_a_length_ends_with_its_connection_and_no_other_does() {
        let mut reader = ResponseReader::new(AsFramed);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(None));
        assert_eq!(
            reader.end().map(|answer| (answer.status, answer.reusable)),
            Some((200, false))
        );
        let mut cut = ResponseReader::new(AsFramed);
        assert_eq!(cut.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc"), Ok(None));
        assert_eq!(cut.end(), None);
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 4\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1111111111111111\r\n",
        ] {
            assert_eq!(read(AsFramed, text), Err(Malformed::Syntax), "{text:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(read(AsFramed, &many), Err(Malformed::HeadTooLarge));
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD_BYTES_MAX));
        assert_eq!(
            ResponseReader::new(AsFramed).feed(endless.as_bytes()),
            Err(Malformed::HeadTooLarge)
        );
    }

    #[test]
    fn a_refusal_of_a_mesh_is_told_from_the_services_own() {
        let text = "HTTP/1.1 503 x\r\nx-envoy-overloaded: true\r\nx-weft-reason: upstream.admit.pending\r\ncontent-length: 0\r\n\r\n";
        let answer = read(AsFramed, text).unwrap().unwrap();
        let sign = answer.sign.unwrap();
        assert_eq!(
            (sign.flag, sign.reason.as_deref()),
            (Some("UO"), Some("upstream.admit.pending"))
        );
    }
}
