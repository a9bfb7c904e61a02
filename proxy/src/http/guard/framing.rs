//! The reader that follows a client's bytes from message to message.

use super::chunk::Chunks;
use super::field::{BodyLength, Lengths};

/// Empty lines that a client may send in front of a request line (RFC 9112, section 2.2 asks to tolerate one at least).
const LEADING_EMPTY_LINES_MAX: u8 = 4;

/// Why bytes were refused. Each is one weft reason and a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Refusal {
    /// A line ended in LF without CR.
    BareLineFeed = 1,
    /// `Content-Length` with a sign, twice, empty, or not a number.
    ContentLength,
    /// `Transfer-Encoding` other than one plain `chunked`, or in an HTTP/1.0 request.
    TransferEncoding,
    /// Both of them.
    LengthAndEncoding,
    /// A continuation line (obs-fold).
    FoldedHeader,
    /// A header line without a name, or with a blank before the colon.
    HeaderSyntax,
    /// A chunk whose size line or end is not as RFC 9112 has it.
    ChunkSize,
}

impl Refusal {
    /// The refusal whose number was stored in an atomic; 0 is none.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        use Refusal::*;
        [
            BareLineFeed,
            ContentLength,
            TransferEncoding,
            LengthAndEncoding,
            FoldedHeader,
            HeaderSyntax,
            ChunkSize,
        ]
        .into_iter()
        .find(|refusal| *refusal as u8 == code)
    }
}

#[derive(Debug)]
enum State {
    /// Between messages.
    Between,
    /// In a head; `line` holds the unfinished line of earlier reads, `empty` counts the empty lines in front.
    Head {
        lengths: Lengths,
        first: bool,
        empty: u8,
        line: Vec<u8>,
    },
    Fixed(u64),
    Chunked(Chunks),
}

/// Follows the framing of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// Messages whose head has ended.
    heads: u32,
    /// The last head asked for another protocol and has no body: what follows depends on the answer.
    paused: bool,
    head_bytes_max: usize,
}

/// Where a piece of input left the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// No byte of a next message was seen.
    Between,
    /// A head has begun and not ended.
    Head,
    /// In a body.
    Body,
}

impl Framing {
    /// `head_bytes_max` bounds what is kept of an unfinished line; the parser behind refuses such heads itself.
    pub(crate) fn new(head_bytes_max: usize) -> Self {
        Self {
            state: State::Between,
            heads: 0,
            paused: false,
            head_bytes_max,
        }
    }

    /// Where the reader stands.
    pub(crate) fn position(&self) -> Position {
        match self.state {
            State::Between => Position::Between,
            State::Head { .. } => Position::Head,
            State::Fixed(_) | State::Chunked(_) => Position::Body,
        }
    }

    /// Which message the reader is in, or would be in next, counted from 1.
    pub(crate) fn message(&self) -> u32 {
        match self.state {
            State::Between | State::Head { .. } => self.heads.saturating_add(1),
            State::Fixed(_) | State::Chunked(_) => self.heads,
        }
    }

    /// How many heads have ended.
    pub(crate) fn heads(&self) -> u32 {
        self.heads
    }

    /// Whether reading stopped behind a request for an upgrade. What follows is read by [`Framing::read`] if the answer is
    /// an ordinary one.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The upgrade was refused: what follows is the next message.
    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// Reads what came off the wire, up to a pause. Returns the bytes consumed; on a refusal, the number of bytes that may
    /// still be passed on: the parser behind has to be stopped at that place.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<usize, (usize, Refusal)> {
        let mut at = 0;
        while at < bytes.len() && !self.paused {
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Fixed(left) => {
                    let skip = (*left).min(rest.len() as u64);
                    *left -= skip;
                    if *left == 0 {
                        self.state = State::Between;
                    }
                    skip as usize
                }
                State::Chunked(chunks) => {
                    let (read, ended) = chunks.read(rest).map_err(|(fine, refusal)| (at + fine, refusal))?;
                    if ended {
                        self.state = State::Between;
                    }
                    read
                }
                State::Between => {
                    self.state = State::Head {
                        lengths: Lengths::default(),
                        first: true,
                        empty: 0,
                        line: Vec::new(),
                    };
                    0
                }
                State::Head { .. } => self.head_line(rest).map_err(|(fine, refusal)| (at + fine, refusal))?,
            };
        }
        Ok(at)
    }

    /// One line of a head, or the unfinished rest of the input. Returns the bytes consumed.
    fn head_line(&mut self, rest: &[u8]) -> Result<usize, (usize, Refusal)> {
        let State::Head {
            lengths,
            first,
            empty,
            line,
        } = &mut self.state
        else {
            return Ok(0);
        };
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if line.len() + rest.len() > self.head_bytes_max {
                // The parser behind refuses the head for its size; what it needs for that it gets.
                line.clear();
            }
            line.extend_from_slice(rest);
            return Ok(rest.len());
        };
        let whole: &[u8] = if line.is_empty() {
            &rest[..end]
        } else {
            line.extend_from_slice(&rest[..end]);
            line
        };
        let [content @ .., b'\r'] = whole else {
            return Err((end, Refusal::BareLineFeed));
        };
        if content.is_empty() && !*first {
            let body = lengths.body().map_err(|refusal| (end, refusal))?;
            self.heads = self.heads.saturating_add(1);
            self.paused = lengths.asks_for_upgrade() && body == BodyLength::Fixed(0);
            self.state = match body {
                BodyLength::Fixed(0) => State::Between,
                BodyLength::Fixed(length) => State::Fixed(length),
                BodyLength::Chunked => State::Chunked(Chunks::new()),
            };
            return Ok(end + 1);
        }
        if *first && content.is_empty() {
            *empty += 1;
            if *empty > LEADING_EMPTY_LINES_MAX {
                return Err((end, Refusal::HeaderSyntax));
            }
        } else if *first {
            lengths.start_line(content);
            *first = false;
        } else {
            lengths.field_line(content).map_err(|refusal| (end, refusal))?;
        }
        line.clear();
        Ok(end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` whole and byte by byte; both ways must agree.
    fn check(input: &[u8], expected: Result<Position, Refusal>) {
        let mut whole = Framing::new(1024);
        let result = whole
            .read(input)
            .map(|_| whole.position())
            .map_err(|(_, refusal)| refusal);
        assert_eq!(result, expected, "whole: {:?}", String::from_utf8_lossy(input));
        let mut bitwise = Framing::new(1024);
        let result = input
            .iter()
            .try_for_each(|byte| bitwise.read(&[*byte]).map(drop).map_err(|(_, refusal)| refusal))
            .map(|()| bitwise.position());
        assert_eq!(result, expected, "byte by byte: {:?}", String::from_utf8_lossy(input));
    }

    #[test]
    fn messages_follow_one_another() {
        check(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", Ok(Position::Between));
        check(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b HT", Ok(Position::Head));
        check(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab", Ok(Position::Body));
        check(
            b"POST / HTTP/1.1\r\nContent-Length:  3 \r\n\r\nabcGET / HTTP/1.1\r\n",
            Ok(Position::Head),
        );
        check(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
            Ok(Position::Between),
        );
        check(
            b"POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n0\r\nx: y\r\n\r\n",
            Ok(Position::Between),
        );
        check(b"\r\nGET / HTTP/1.1\r\n\r\n", Ok(Position::Between));
        check(b"\r\n\r\n\r\n\r\n\r\n", Err(Refusal::HeaderSyntax));
    }

    #[test]
    fn a_length_that_could_be_read_in_two_ways_is_refused() {
        for (fields, refusal) in [
            (
                "content-length: 3\r\ntransfer-encoding: chunked",
                Refusal::LengthAndEncoding,
            ),
            (
                "transfer-encoding: chunked\r\nContent-Length: 3",
                Refusal::LengthAndEncoding,
            ),
            ("content-length: 3\r\ncontent-length: 3", Refusal::ContentLength),
            ("content-length: 3, 3", Refusal::ContentLength),
            ("content-length: +3", Refusal::ContentLength),
            ("content-length: -3", Refusal::ContentLength),
            ("content-length: 0x3", Refusal::ContentLength),
            ("content-length:", Refusal::ContentLength),
            ("content-length: 99999999999999999999", Refusal::ContentLength),
            ("transfer-encoding: gzip, chunked", Refusal::TransferEncoding),
            ("transfer-encoding: identity", Refusal::TransferEncoding),
            ("transfer-encoding: \x0bchunked", Refusal::TransferEncoding),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
                Refusal::TransferEncoding,
            ),
            ("content-length : 3", Refusal::HeaderSyntax),
            ("a: b\r\n c", Refusal::FoldedHeader),
            ("nocolon", Refusal::HeaderSyntax),
            ("a: b\nc: d", Refusal::BareLineFeed),
        ] {
            check(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes(), Err(refusal));
        }
        check(
            b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            Err(Refusal::TransferEncoding),
        );
        check(b"GET / HTTP/1.1\nhost: a\n\n", Err(Refusal::BareLineFeed));
        check(b"GET / HTTP/1.1\r\nhost: a\r\n\n", Err(Refusal::BareLineFeed));
    }

    #[test]
    fn what_follows_a_request_for_an_upgrade_or_a_tunnel_waits_for_its_answer() {
        for head in [
            &b"GET / HTTP/1.1\r\nconnection: upgrade\r\nUpgrade: websocket\r\n\r\n"[..],
            b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
        ] {
            let mut framing = Framing::new(1024);
            let input = [head, b"not\nHTTP"].concat();
            assert_eq!(framing.read(&input), Ok(head.len()));
            assert!(framing.is_paused());
            framing.resume();
            assert_eq!(framing.read(b"not\nHTTP"), Err((3, Refusal::BareLineFeed)));
        }
    }

    #[test]
    fn bad_chunks_are_refused() {
        for (body, refusal) in [
            ("x\r\n", Refusal::ChunkSize),
            ("+3\r\nabc\r\n", Refusal::ChunkSize),
            ("0x3\r\nabc\r\n", Refusal::ChunkSize),
            (" 3\r\nabc\r\n", Refusal::ChunkSize),
            ("3 \r\nabc\r\n", Refusal::ChunkSize),
            ("\r\n", Refusal::ChunkSize),
            ("11111111111111111\r\n", Refusal::ChunkSize),
            ("3\nabc\r\n", Refusal::BareLineFeed),
            ("3\r\nabcd\r\n", Refusal::ChunkSize),
            ("3\r\nabc\n", Refusal::ChunkSize),
            ("3\r\nabc\rx", Refusal::ChunkSize),
            ("3;a\nabc\r\n", Refusal::BareLineFeed),
            ("0\r\nx: y\n\r\n", Refusal::BareLineFeed),
        ] {
            check(
                format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{body}").as_bytes(),
                Err(refusal),
            );
        }
    }

    #[test]
    fn the_bytes_before_a_refusal_are_counted() {
        let mut framing = Framing::new(1024);
        let input = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\nx";
        assert_eq!(framing.read(input), Err((41, Refusal::BareLineFeed)));
        assert_eq!(input[41], b'\n');
    }
}
