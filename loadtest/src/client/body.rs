//! Where a response of HTTP/1.1 ends: by its length, in chunks, or with its connection (RFC 9112 6 and 7).

/// Hexadecimal digits of a chunk's size, at most: 2^60 bytes.
const CHUNK_DIGITS_MAX: u8 = 15;
/// Bytes of a chunk's extensions and of trailers, at most.
const LINE_BYTES_MAX: u32 = 16 * 1024;

/// Bytes that are not read as a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// They are none of HTTP/1.1.
    Syntax,
    /// The head has more fields or bytes than are read.
    HeadTooLarge,
}

/// Where in the response the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In its head.
    Head,
    /// So many bytes are left.
    Length(u64),
    /// Whatever comes until the connection ends.
    Close,
    ChunkSize {
        size: u64,
        digits: u8,
    },
    ChunkExtension {
        size: u64,
        bytes: u32,
    },
    ChunkData(u64),
    /// CR and LF behind a chunk's data.
    ChunkEnd(u8),
    /// Lines of trailers: bytes of the line so far, and of all.
    Trailer {
        line: u32,
        all: u32,
    },
    /// Behind its end.
    Done,
}

impl At {
    /// Where the byte behind those that are taken belongs, and how many of `rest`, which is not empty, were taken.
    pub(super) fn take(self, rest: &[u8]) -> Result<(Self, usize), Malformed> {
        let first = rest[0];
        let some = |left: u64| rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (at, taken) = match self {
            // Nobody has asked for these.
            Self::Head | Self::Done => return Err(Malformed::Syntax),
            Self::Close => (self, rest.len()),
            Self::Length(left) => match left - some(left) as u64 {
                0 => (Self::Done, some(left)),
                after => (Self::Length(after), some(left)),
            },
            Self::ChunkData(left) => match left - some(left) as u64 {
                0 => (Self::ChunkEnd(b'\r'), some(left)),
                after => (Self::ChunkData(after), some(left)),
            },
            Self::ChunkSize { size, digits } => (chunk_size(size, digits, first)?, 1),
            Self::ChunkExtension { size, bytes } => (chunk_extension(size, bytes, first)?, 1),
            Self::ChunkEnd(b'\r') if first == b'\r' => (Self::ChunkEnd(b'\n'), 1),
            Self::ChunkEnd(b'\n') if first == b'\n' => (Self::ChunkSize { size: 0, digits: 0 }, 1),
            Self::ChunkEnd(_) => return Err(Malformed::Syntax),
            Self::Trailer { line, all } => (trailer(line, all, first)?, 1),
        };
        Ok((at, taken))
    }
}

fn chunk_size(size: u64, digits: u8, byte: u8) -> Result<At, Malformed> {
    match (byte, digits) {
        (b'\r' | b';' | b' ' | b'\t', 1..) => Ok(At::ChunkExtension { size, bytes: 0 }),
        (b'\n', 1..) => Ok(chunk(size)),
        (_, CHUNK_DIGITS_MAX..) => Err(Malformed::Syntax),
        _ => {
            let digit = char::from(byte).to_digit(16).ok_or(Malformed::Syntax)?;
            Ok(At::ChunkSize {
                size: size * 16 + u64::from(digit),
                digits: digits + 1,
            })
        }
    }
}

fn chunk_extension(size: u64, bytes: u32, byte: u8) -> Result<At, Malformed> {
    match byte {
        b'\n' => Ok(chunk(size)),
        _ if bytes >= LINE_BYTES_MAX => Err(Malformed::Syntax),
        _ => Ok(At::ChunkExtension { size, bytes: bytes + 1 }),
    }
}

fn chunk(size: u64) -> At {
    match size {
        0 => At::Trailer { line: 0, all: 0 },
        size => At::ChunkData(size),
    }
}

fn trailer(line: u32, all: u32, byte: u8) -> Result<At, Malformed> {
    match byte {
        b'\n' if line == 0 => Ok(At::Done),
        b'\n' => Ok(At::Trailer { line: 0, all }),
        b'\r' => Ok(At::Trailer { line, all }),
        _ if all >= LINE_BYTES_MAX => Err(Malformed::Syntax),
        _ => Ok(At::Trailer {
            line: line + 1,
            all: all + 1,
        }),
    }
}
