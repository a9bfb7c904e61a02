//! in → out: an upstream's response head → whether its length can be read in one way only.
//! owns: the framing check of responses (RFC 9112, section 6).
//! may not touch: bodies, what the failure looks like to the client.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

/// Whether everybody behind us would find the same end of the body. A length beside a coding, a coding other than one
/// plain `chunked` (which would be lost on the way) and a length that is no number are not relayed.
pub(super) fn has_one_length(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => true,
        (Some(coding), None) => codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (None, Some(length)) => {
            let digits = length.as_bytes();
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && lengths.all(|other| other == length)
        }
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_length_that_could_be_read_in_two_ways_is_not_relayed() {
        for (fields, plain) in [
            (&[][..], true),
            (&[("content-length", "3")], true),
            (&[("content-length", "3"), ("content-length", "3")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("content-length", "3"), ("content-length", "4")], false),
            (&[("content-length", "3, 3")], false),
            (&[("content-length", "+3")], false),
            (&[("content-length", "")], false),
            (&[("content-length", "3"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "gzip")], false),
            (
                &[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")],
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(has_one_length(&headers), plain, "{fields:?}");
        }
    }
}
