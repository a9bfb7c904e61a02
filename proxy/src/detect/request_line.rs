//! Whether bytes begin as HTTP does (RFC 9112, section 3; RFC 9113, section 3.4).

use weft_proxy_core::chain::Spoken;

use super::sniff::PREFACE;

/// The longest known method is `UPDATEREDIRECTREF`.
const METHOD_BYTES_MAX: usize = 32;
/// The longest request line that is waited for. Longer ones are copied as they are. Every read looks at all bytes again, so
/// this also bounds what a client costs that sends its line byte by byte.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// What a first line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    More,
    Http(Spoken),
    NoHttp,
}

/// Reads a first line. The first byte that no request line has there decides.
pub(super) fn read_line(bytes: &[u8]) -> Line {
    let known = bytes.len().min(PREFACE.len());
    if bytes[..known] == PREFACE[..known] {
        return if known == PREFACE.len() {
            Line::Http(Spoken::Http2)
        } else {
            Line::More
        };
    }
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-' || *byte == b'_';
    let method = bytes.iter().take_while(|byte| is_method(byte)).count();
    match bytes.get(method) {
        None if method <= METHOD_BYTES_MAX => return Line::More,
        Some(b' ') if (1..=METHOD_BYTES_MAX).contains(&method) => {}
        _ => return Line::NoHttp,
    }
    let rest = &bytes[method + 1..];
    let is_target = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    let target = rest.iter().take_while(|byte| is_target(byte)).count();
    match rest.get(target) {
        None if bytes.len() <= LINE_BYTES_MAX => return Line::More,
        Some(b' ') if target > 0 => {}
        _ => return Line::NoHttp,
    }
    version(&rest[target + 1..])
}

fn version(rest: &[u8]) -> Line {
    for (text, spoken) in [
        (&b"HTTP/1.1\r\n"[..], Spoken::Http11),
        (b"HTTP/1.0\r\n", Spoken::Http10),
        // The codec behind refuses the bare line feed with 400, which says more than a copied connection would.
        (b"HTTP/1.1\n", Spoken::Http11),
        (b"HTTP/1.0\n", Spoken::Http10),
    ] {
        if rest.starts_with(text) {
            return Line::Http(spoken);
        }
        if text.starts_with(rest) {
            return Line::More;
        }
    }
    Line::NoHttp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_told_from_any_other_text_at_every_byte() {
        for (text, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Line::Http(Spoken::Http11)),
            (b"GET http://a.b:80/c?d HTTP/1.1\r\nhost: a", Line::Http(Spoken::Http11)),
            (b"CONNECT a:443 HTTP/1.1\r\n", Line::Http(Spoken::Http11)),
            (b"M-SEARCH * HTTP/1.0\r\n", Line::Http(Spoken::Http10)),
            (b"GET / HTTP/1.1\n", Line::Http(Spoken::Http11)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest", Line::Http(Spoken::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Line::NoHttp),
            (b"GET /\r\n", Line::NoHttp),
            (b"GET / HTTP/1.2\r\n", Line::NoHttp),
            (b"GET / HTTP/0.9\r\n", Line::NoHttp),
            (b"GET  / HTTP/1.1\r\n", Line::NoHttp),
            (b" GET / HTTP/1.1\r\n", Line::NoHttp),
            (b"get key\r\n", Line::NoHttp),
            (b"PING\r\n", Line::NoHttp),
            (b"*1\r\n$4\r\nPING\r\n", Line::NoHttp),
            (b"\x00\x01", Line::NoHttp),
        ] {
            assert_eq!(read_line(text), expected, "{text:?}");
            let decided = (1..=text.len()).map(|length| read_line(&text[..length]));
            let first = decided.into_iter().find(|line| *line != Line::More);
            assert_eq!(first, Some(expected), "byte by byte: {text:?}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_line_is_none() {
        assert_eq!(read_line(&[b'A'; METHOD_BYTES_MAX + 1]), Line::NoHttp);
        let long = [&b"GET /"[..], &vec![b'a'; LINE_BYTES_MAX]].concat();
        assert_eq!(read_line(&long), Line::NoHttp);
        assert_eq!(read_line(&long[..LINE_BYTES_MAX]), Line::More);
    }
}
