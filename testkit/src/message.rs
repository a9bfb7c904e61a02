//! in → out: bytes of HTTP/1.1 as they came → start line, header fields in order, body.
//! owns: a reader of messages that is independent of the one under test.
//! may not touch: meaning. It never corrects, folds or lower-cases what it saw.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest head that a test peer reads.
pub const HEAD_BYTES_MAX: usize = 1 << 20;
/// The longest body that a test peer keeps.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// Start line and header fields, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// All bytes up to and with the empty line.
    pub raw: Vec<u8>,
    /// The start line without its line end.
    pub start: String,
    /// Name and value of each field, in order, in the case in which they came.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads `raw` line by line.
    pub fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
        let fields = fields.collect();
        Head { raw, start, fields }
    }

    /// The first value of a field; the name in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// Every value of a field, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.fields
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// The part of the start line at this place: method, target, version; or version, status, reason.
    pub fn word(&self, place: usize) -> &str {
        self.start.splitn(3, ' ').nth(place).unwrap_or_default()
    }

    /// How the body that follows is framed, by RFC 9112 section 6.3 as far as the head alone can say.
    pub fn framing(&self) -> Framing {
        if self
            .all("transfer-encoding")
            .any(|v| v.to_ascii_lowercase().contains("chunked"))
        {
            return Framing::Chunked;
        }
        match self.field("content-length").and_then(|v| v.parse().ok()) {
            Some(bytes) => Framing::Length(bytes),
            None => Framing::Absent,
        }
    }
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Neither: none for a request, up to the close of the connection for a response.
    Absent,
}

/// A body, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// Its bytes, without framing.
    pub bytes: Vec<u8>,
    /// Whether it came to its end.
    pub complete: bool,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
}

/// Reads messages from a connection and keeps what has come beyond the current one.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
}

impl Reader {
    /// The next head; `None` where the connection ends before one begins.
    pub async fn head(&mut self, io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Head>> {
        loop {
            if let Some(at) = self.held.windows(4).position(|w| w == b"\r\n\r\n") {
                return Ok(Some(Head::parse(self.take(at + 4))));
            }
            if self.held.len() > HEAD_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "head is too long"));
            }
            if self.more(io).await? == 0 {
                return if self.held.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// The body with this framing. An end of the connection or a reset leaves it incomplete.
    pub async fn body(&mut self, io: &mut (impl AsyncRead + Unpin), framing: Framing, until_close: bool) -> Body {
        let mut body = Body::default();
        body.complete = match framing {
            Framing::Length(bytes) => self.fixed(io, bytes, &mut body.bytes).await,
            Framing::Chunked => self.chunked(io, &mut body).await.unwrap_or(false),
            Framing::Absent if until_close => self.rest(io, &mut body.bytes).await,
            Framing::Absent => true,
        };
        body
    }

    /// What has been read beyond the last message.
    pub fn held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    async fn fixed(&mut self, io: &mut (impl AsyncRead + Unpin), bytes: usize, into: &mut Vec<u8>) -> bool {
        while into.len() < bytes {
            if self.held.is_empty() && !matches!(self.more(io).await, Ok(1..)) {
                return false;
            }
            let part = self.take((bytes - into.len()).min(self.held.len()));
            into.extend(part);
        }
        true
    }

    async fn rest(&mut self, io: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> bool {
        loop {
            into.append(&mut self.held);
            match self.more(io).await {
                Ok(0) => return true,
                Ok(_) if into.len() <= BODY_BYTES_MAX => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }

    async fn chunked(&mut self, io: &mut (impl AsyncRead + Unpin), body: &mut Body) -> io::Result<bool> {
        loop {
            let line = self.line(io).await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return Ok(false);
            };
            if size == 0 {
                break;
            }
            let end = body.bytes.len() + size;
            if end > BODY_BYTES_MAX || !self.fixed(io, end, &mut body.bytes).await || !self.line(io).await?.is_empty() {
                return Ok(false);
            }
        }
        loop {
            let line = self.line(io).await?;
            match line.split_once(':') {
                Some((name, value)) => body.trailers.push((name.to_owned(), value.trim().to_owned())),
                None => return Ok(line.is_empty()),
            }
        }
    }

    async fn line(&mut self, io: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
        loop {
            if let Some(at) = self.held.windows(2).position(|w| w == b"\r\n") {
                let line = self.take(at + 2);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.more(io).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let rest = self.held.split_off(bytes);
        std::mem::replace(&mut self.held, rest)
    }

    async fn more(&mut self, io: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let bytes = io.read(&mut buffer).await?;
        self.held.extend_from_slice(&buffer[..bytes]);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> (Head, Body, Vec<u8>) {
        let mut reader = Reader::default();
        let head = reader.head(&mut bytes).await.unwrap().unwrap();
        let body = reader.body(&mut bytes, head.framing(), false).await;
        (head, body, reader.held())
    }

    #[tokio::test]
    async fn a_message_ends_where_its_framing_says() {
        let cases: [(&str, &str, bool, &str); 5] = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nnext", "", true, "next"),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcnext",
                "abc",
                true,
                "next",
            ),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", "abc", false, ""),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nnext",
                "abcde",
                true,
                "next",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
                "abc",
                false,
                "",
            ),
        ];
        for (bytes, body, complete, rest) in cases {
            let (_, found, held) = read(bytes.as_bytes()).await;
            assert_eq!(
                (found.bytes.as_slice(), found.complete),
                (body.as_bytes(), complete),
                "{bytes:?}"
            );
            if complete {
                assert_eq!(held, rest.as_bytes(), "{bytes:?}");
            }
        }
    }

    #[tokio::test]
    async fn fields_keep_their_order_and_their_case() {
        let (head, ..) = read(b"GET /a?b HTTP/1.1\r\nX-One: 1\r\nx-one:  2 \r\n\r\n").await;
        assert_eq!(head.word(1), "/a?b");
        assert_eq!(head.all("X-ONE").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(head.fields[0].0, "X-One");
    }
}
