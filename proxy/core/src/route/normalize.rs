use std::borrow::Cow;

/// What is done to a path before routes and policies see it. The upstream gets the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PathNormalization {
    /// Dot segments, backslashes and needless escapes are resolved (RFC 3986, section 6).
    pub normalize: bool,
    /// `//` becomes `/`.
    pub merge_slashes: bool,
    /// `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
}

/// What is done with escaped slashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// The request is refused.
    Reject,
    /// They are unescaped, and the client is sent there.
    Redirect,
    /// They are unescaped.
    Unescape,
}

/// A path after normalisation, without query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Normalized<'a> {
    /// Go on with this one; borrowed when nothing had to change.
    Forward(Cow<'a, str>),
    /// Answer 307 with this one.
    Redirect(String),
}

/// A path that is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has escaped slashes where they are forbidden.
    #[error("the path has escaped slashes")]
    EscapedSlash,
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
}

impl PathNormalization {
    /// Normalises a path (no query). Costs one look at each byte when nothing is to be done.
    ///
    /// # Errors
    /// For paths that are to be refused.
    pub fn apply<'a>(self, path: &'a str) -> Result<Normalized<'a>, PathError> {
        let asterisk = path == "*" || path.is_empty();
        if asterisk || !self.concerns(path.as_bytes()) {
            return Ok(Normalized::Forward(Cow::Borrowed(path)));
        }
        let mut bytes = Cow::Borrowed(path.as_bytes());
        let mut redirects = false;
        if self.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash(&bytes) {
            if self.escaped_slashes == EscapedSlashes::Reject {
                return Err(PathError::EscapedSlash);
            }
            redirects = self.escaped_slashes == EscapedSlashes::Redirect;
            bytes = Cow::Owned(unescape_slashes(&bytes));
        }
        if self.normalize {
            if bytes.first().is_none_or(|first| *first != b'/' && *first != b'\\') {
                return Err(PathError::NotAbsolute);
            }
            bytes = Cow::Owned(canonical(&bytes));
        }
        if self.merge_slashes {
            bytes = Cow::Owned(merge_slashes(&bytes));
        }
        // Every step copies whole characters or replaces ASCII by ASCII; other bytes come out escaped.
        let text = String::from_utf8(bytes.into_owned()).unwrap_or_else(|_| path.to_owned());
        Ok(if redirects {
            Normalized::Redirect(text)
        } else {
            Normalized::Forward(Cow::Owned(text))
        })
    }

    /// Whether any step could change the path. May say yes in vain, never no in vain.
    fn concerns(self, path: &[u8]) -> bool {
        let mut previous = 0;
        for byte in path {
            let odd = match byte {
                b'%' => self.normalize || self.escaped_slashes != EscapedSlashes::Keep,
                b'.' => self.normalize && previous == b'/',
                b'/' => self.merge_slashes && previous == b'/',
                byte => self.normalize && (*byte == b'\\' || must_escape(*byte)),
            };
            if odd {
                return true;
            }
            previous = *byte;
        }
        self.normalize && path.first() != Some(&b'/')
    }
}

fn has_escaped_slash(path: &[u8]) -> bool {
    path.windows(3).any(|window| escaped_slash(window).is_some())
}

fn escaped_slash(window: &[u8]) -> Option<u8> {
    match window {
        b"%2F" | b"%2f" => Some(b'/'),
        b"%5C" | b"%5c" => Some(b'\\'),
        _ => None,
    }
}

fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match path.get(at..at + 3).and_then(escaped_slash) {
            Some(slash) => {
                out.push(slash);
                at += 3;
            }
            None => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

/// One form for paths that mean the same: `\` is `/`, escapes of unreserved characters are undone (others keep their
/// case), bytes that have no place in a path are escaped, dot segments are resolved.
fn canonical(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let decoded = decode_unreserved(path);
    let mut rest = decoded.as_slice();
    while let Some((_slash, tail)) = rest.split_first() {
        let end = tail.iter().position(|byte| *byte == b'/').unwrap_or(tail.len());
        let (segment, after) = tail.split_at(end);
        let last = after.is_empty();
        match segment {
            b"." => {
                if last {
                    out.push(b'/');
                }
            }
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(parent);
                if last {
                    out.push(b'/');
                }
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
        rest = after;
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let byte = path[at];
        at += 1;
        match byte {
            b'\\' => out.push(b'/'),
            b'%' => match path.get(at..at + 2).and_then(hex_byte).filter(|byte| unreserved(*byte)) {
                Some(decoded) => {
                    out.push(decoded);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            byte if must_escape(byte) => {
                out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            byte => out.push(byte),
        }
    }
    out
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    digits
        .iter()
        .all(u8::is_ascii_hexdigit)
        .then(|| u8::from_str_radix(text, 16).ok())?
}

/// RFC 3986, section 2.3.
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Bytes that cannot stand in a path as they are.
fn must_escape(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}')
}
