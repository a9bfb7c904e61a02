//! The chunked coding, RFC 9112 section 7.1, read strictly.

use super::Refusal;

/// 16 hexadecimal digits fill a `u64`.
const SIZE_DIGITS_MAX: u8 = 16;
/// Extensions carry nothing that anybody uses; a kilobyte of them over a whole body is generous.
const EXTENSION_BYTES_MAX: u16 = 1024;
/// The same bound that Envoy puts on a whole header block (60 KiB).
const TRAILER_BYTES_MAX: u32 = 60 * 1024;

/// Where in a chunked body the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// Inside the trailer section; `line_bytes` says how much of the present line was read.
    Trailer {
        line_bytes: u32,
        returned: bool,
    },
}

/// The reader of one chunked body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    step: Step,
    digits: u8,
    left: u64,
    extension_bytes: u16,
    trailer_bytes: u32,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            step: Step::Size,
            digits: 0,
            left: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Reads from the front of `bytes`. Returns how many bytes belong to this body and whether it has ended; on a
    /// refusal, how many bytes before the offending one were fine.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, Refusal)> {
        let mut at = 0;
        while at < bytes.len() {
            if self.step == Step::Data {
                let skip = self.left.min((bytes.len() - at) as u64);
                self.left -= skip;
                at += skip as usize;
                if self.left == 0 {
                    self.step = Step::DataReturn;
                }
                continue;
            }
            let ended = self.byte(bytes[at]).map_err(|refusal| (at, refusal))?;
            at += 1;
            if ended {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    fn byte(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.step = match self.step {
            Step::Size => return self.size(byte).map(|()| false),
            Step::Extension => match byte {
                b'\r' => Step::SizeLineFeed,
                b'\n' => return Err(Refusal::BareLineFeed),
                _ if self.extension_bytes == EXTENSION_BYTES_MAX => return Err(Refusal::ChunkSize),
                _ => {
                    self.extension_bytes += 1;
                    Step::Extension
                }
            },
            Step::SizeLineFeed if byte != b'\n' => return Err(Refusal::ChunkSize),
            Step::SizeLineFeed if self.left == 0 => Step::Trailer {
                line_bytes: 0,
                returned: false,
            },
            Step::SizeLineFeed => Step::Data,
            Step::DataReturn if byte == b'\r' => Step::DataLineFeed,
            Step::DataLineFeed if byte == b'\n' => {
                self.digits = 0;
                Step::Size
            }
            Step::DataReturn | Step::DataLineFeed | Step::Data => return Err(Refusal::ChunkSize),
            Step::Trailer { line_bytes, returned } => return self.trailer(byte, line_bytes, returned),
        };
        Ok(false)
    }

    fn size(&mut self, byte: u8) -> Result<(), Refusal> {
        match (byte as char).to_digit(16) {
            Some(digit) if self.digits < SIZE_DIGITS_MAX => {
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit);
            }
            Some(_) => return Err(Refusal::ChunkSize),
            None if self.digits == 0 => return Err(Refusal::ChunkSize),
            None => {
                self.step = match byte {
                    b';' => Step::Extension,
                    b'\r' => Step::SizeLineFeed,
                    b'\n' => return Err(Refusal::BareLineFeed),
                    _ => return Err(Refusal::ChunkSize),
                }
            }
        }
        Ok(())
    }

    fn trailer(&mut self, byte: u8, line_bytes: u32, returned: bool) -> Result<bool, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(Refusal::HeaderSyntax);
        }
        match (returned, byte) {
            (true, b'\n') if line_bytes == 0 => return Ok(true),
            (true, b'\n') => {
                self.step = Step::Trailer {
                    line_bytes: 0,
                    returned: false,
                }
            }
            (true, _) => return Err(Refusal::HeaderSyntax),
            (false, b'\n') => return Err(Refusal::BareLineFeed),
            (false, b'\r') => {
                self.step = Step::Trailer {
                    line_bytes,
                    returned: true,
                }
            }
            (false, _) => {
                self.step = Step::Trailer {
                    line_bytes: line_bytes + 1,
                    returned: false,
                }
            }
        }
        Ok(false)
    }
}
