//! A strict and bounded reader of the first message of a TLS handshake (RFC 8446, sections 4.1.2 and 5.1).

/// The longest handshake that is waited for, record headers included; real ones have a few hundred bytes, and two thousand
/// with post-quantum keys.
const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Names of protocols that are kept.
const PROTOCOLS_MAX: usize = 32;
const RECORD_HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;

/// What a client says in the clear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The server that it wants, lower-cased.
    pub(crate) server_name: Option<Box<str>>,
    /// The protocols that it offers, the dearest first.
    pub(crate) protocols: Vec<Box<str>>,
}

/// What a look at the bytes so far came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    More,
    TooLong,
    NoTls,
    Hello(Hello),
}

/// Reads a client's first message out of as many records as it takes. What no handshake begins with is no TLS, and so is
/// what does not come out even.
pub(super) fn read_hello(bytes: &[u8]) -> Read {
    let more = match bytes.len() <= HELLO_BYTES_MAX {
        true => Read::More,
        false => Read::TooLong,
    };
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        // Every byte of a record's header is looked at as soon as it is there: other protocols are told apart early.
        let head = &rest[..rest.len().min(RECORD_HEADER_BYTES)];
        if head.first().is_some_and(|kind| *kind != HANDSHAKE) || head.get(1).is_some_and(|major| *major != 3) {
            return Read::NoTls;
        }
        let &[_, _, _, high, low] = head else { return more };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > 1 << 14 {
            return Read::NoTls;
        }
        let body = &rest[RECORD_HEADER_BYTES..];
        message.extend_from_slice(&body[..body.len().min(length)]);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Read::NoTls;
        }
        if let [_, a, b, c, content @ ..] = message.as_slice() {
            let wanted = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if wanted > HELLO_BYTES_MAX {
                return Read::TooLong;
            }
            if let Some(content) = content.get(..wanted) {
                return parse(content).map_or(Read::NoTls, Read::Hello);
            }
        }
        match body.get(length..) {
            Some(next) => rest = next,
            None => return more,
        }
    }
}

fn parse(content: &[u8]) -> Option<Hello> {
    let mut hello = Hello::default();
    let mut cursor = Cursor(content);
    cursor.take(2 + 32)?;
    cursor.short_list()?;
    cursor.list()?;
    cursor.short_list()?;
    if cursor.0.is_empty() {
        // Extensions came with TLS 1.2 and may be left out.
        return Some(hello);
    }
    let mut extensions = Cursor(cursor.list()?);
    if !cursor.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let value = extensions.list()?;
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = server_name(value)?,
            EXTENSION_ALPN => hello.protocols = protocols(value)?,
            _ => {}
        }
    }
    Some(hello)
}

/// The first host name (RFC 6066, section 3). One that no host can have is as good as none.
fn server_name(value: &[u8]) -> Option<Option<Box<str>>> {
    let mut cursor = Cursor(value);
    let mut names = Cursor(cursor.list()?);
    while !names.0.is_empty() {
        let kind = names.take(1)?;
        let name = names.list()?;
        if kind == [0] {
            let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
            let name = Some(name).filter(|name| !name.is_empty() && name.len() <= 255 && name.iter().all(is_legal));
            return Some(name.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase().into()));
        }
    }
    Some(None)
}

/// RFC 7301, section 3.1.
fn protocols(value: &[u8]) -> Option<Vec<Box<str>>> {
    let mut cursor = Cursor(value);
    let mut names = Cursor(cursor.list()?);
    let mut found = Vec::new();
    while !names.0.is_empty() {
        let name = names.short_list()?;
        if found.len() < PROTOCOLS_MAX
            && let Ok(name) = std::str::from_utf8(name)
        {
            found.push(name.into());
        }
    }
    Some(found)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// Bytes behind their length of two bytes.
    fn list(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }

    /// Bytes behind their length of one byte.
    fn short_list(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(content: &[u8]) -> Vec<u8> {
        [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
    }

    /// A client's first message, for this server and these protocols, with so many bytes of padding.
    fn message(name: &str, protocols: &[&str], padding: usize) -> Vec<u8> {
        let name = list(&[&[0][..], &list(name.as_bytes())].concat());
        let offered: Vec<u8> = protocols
            .iter()
            .flat_map(|name| [&[name.len() as u8][..], name.as_bytes()].concat())
            .collect();
        let extension = |kind: u16, value: &[u8]| [&kind.to_be_bytes()[..], &list(value)].concat();
        let extensions = [
            extension(21, &vec![0; padding]),
            extension(EXTENSION_SERVER_NAME, &name),
            extension(EXTENSION_ALPN, &list(&offered)),
        ]
        .concat();
        let content = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &list(&[0x13, 1]),
            &[1, 0],
            &list(&extensions),
        ]
        .concat();
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO][..], &length[1..], &content].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message
            .chunks(size)
            .flat_map(|part| [&[HANDSHAKE, 3, 1][..], &list(part)].concat())
            .collect()
    }

    #[test]
    fn a_hello_is_read_at_its_last_byte_however_it_is_cut() {
        let message = message("A.Example", &["h2", "http/1.1"], 0);
        let expected = Hello {
            server_name: Some("a.example".into()),
            protocols: vec!["h2".into(), "http/1.1".into()],
        };
        for size in [1, 7, 4000] {
            let bytes = records(&message, size);
            for length in 1..bytes.len() {
                assert_eq!(
                    read_hello(&bytes[..length]),
                    Read::More,
                    "{length} of records of {size}"
                );
            }
            assert_eq!(read_hello(&bytes), Read::Hello(expected.clone()), "records of {size}");
            let more = [&bytes[..], b"more"].concat();
            assert_eq!(read_hello(&more), Read::Hello(expected.clone()), "and more");
        }
    }

    #[test]
    fn what_is_no_handshake_is_told_early_and_what_is_too_long_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"\x16\x04",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x00\x01\x02",
        ] {
            assert_eq!(read_hello(bytes), Read::NoTls, "{bytes:?}");
        }
        let long = records(&message("a", &[], HELLO_BYTES_MAX), 1 << 14);
        assert_eq!(read_hello(&long), Read::TooLong);
    }

    #[test]
    fn lengths_that_do_not_fit_are_no_handshake_and_cost_no_panic() {
        let good = message("a.example", &["h2"], 3);
        for place in 4..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[place] = value;
                let read = read_hello(&records(&bad, 1 << 14));
                assert!(matches!(read, Read::NoTls | Read::Hello(_)), "{place}: {read:?}");
            }
        }
    }

    #[test]
    fn a_name_that_no_host_has_is_none() {
        for name in ["", "a b", "a/b", "\u{e4}"] {
            let read = read_hello(&records(&message(name, &[], 0), 1 << 14));
            assert_eq!(read, Read::Hello(Hello::default()), "{name:?}");
        }
    }
}
