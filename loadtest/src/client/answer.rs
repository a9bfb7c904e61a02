//! What came back for a request, and what it says about how the request went.

/// Characters of a mesh's reason that are kept; weft's own have fewer.
const REASON_CHARACTERS_MAX: usize = 64;
/// gRPC's status where a response names none that can be read: UNKNOWN (gRPC over HTTP/2, "Responses").
const GRPC_UNKNOWN: u16 = 2;

/// A whole response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of its head and body; of HTTP/2 the body only, whose head comes compressed.
    pub(crate) bytes: u64,
    /// The connection can carry another request.
    pub(crate) reusable: bool,
    /// gRPC's own status, where gRPC is spoken.
    pub(crate) grpc_status: Option<u16>,
    /// A health check that went well, and says that the service does not.
    pub(crate) not_serving: bool,
    /// Rare, so that a plain response carries one pointer.
    pub(crate) sign: Option<Box<Sign>>,
}

impl Answer {
    /// The service failed at the request: 5xx, a gRPC status other than OK, a health check's other than SERVING.
    pub(crate) fn is_error(&self) -> bool {
        self.status >= 500 || self.grpc_status.is_some_and(|status| status != 0) || self.not_serving
    }

    /// The request was not served, whoever is to blame: an error, or 4xx.
    pub(crate) fn is_refused(&self) -> bool {
        self.status >= 400 || self.is_error()
    }
}

/// What a proxy of a mesh says about a response of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sign {
    /// Envoy's response flag, as far as headers tell.
    pub(crate) flag: Option<&'static str>,
    /// `x-weft-reason`, printable and bounded.
    pub(crate) reason: Option<String>,
}

/// What Envoy and weft say in headers about replies of their own.
pub(crate) fn sign<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Box<Sign>> {
    let mut sign = Sign::default();
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("x-envoy-overloaded") {
            sign.flag = Some("UO");
        } else if name.eq_ignore_ascii_case("x-envoy-ratelimited") {
            // Who is overloaded as well has not even looked at the limit.
            sign.flag.get_or_insert("RL");
        } else if name.eq_ignore_ascii_case("x-weft-reason") {
            sign.reason = Some(printable(value)).filter(|reason| !reason.is_empty());
        }
    }
    (sign != Sign::default()).then(|| Box::new(sign))
}

/// What a peer calls a reason ends up on terminals and in pages.
fn printable(value: &[u8]) -> String {
    let characters = value.trim_ascii().iter().take(REASON_CHARACTERS_MAX);
    characters
        .map(|byte| {
            if byte.is_ascii_graphic() {
                char::from(*byte)
            } else {
                '?'
            }
        })
        .collect()
}

/// The gRPC status of a response that names `named`, or none and has only its HTTP status (gRPC, "HTTP to gRPC Status Code
/// Mapping").
pub(crate) fn grpc_status(named: Option<&[u8]>, http: u16) -> u16 {
    if let Some(named) = named {
        let number = std::str::from_utf8(named).ok().and_then(|text| text.parse().ok());
        return number.unwrap_or(GRPC_UNKNOWN);
    }
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => GRPC_UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_error_by_either_protocols_status_and_refused_by_4xx_too() {
        for (status, grpc_status, not_serving, error, refused) in [
            (200, None, false, false, false),
            (404, None, false, false, true),
            (503, None, false, true, true),
            (200, Some(0), false, false, false),
            (200, Some(14), false, true, true),
            (200, Some(0), true, true, true),
        ] {
            let answer = Answer {
                status,
                grpc_status,
                not_serving,
                ..Answer::default()
            };
            assert_eq!((answer.is_error(), answer.is_refused()), (error, refused), "{answer:?}");
        }
    }

    #[test]
    fn a_sign_is_read_the_same_whatever_the_order_and_cleaned() {
        let long = "r".repeat(1000);
        for (headers, flag, reason) in [
            (
                &[("X-Envoy-Overloaded", "true"), ("x-envoy-ratelimited", "true")][..],
                Some("UO"),
                None,
            ),
            (
                &[("x-envoy-ratelimited", "true"), ("x-envoy-overloaded", "true")],
                Some("UO"),
                None,
            ),
            (&[("x-envoy-ratelimited", "true")], Some("RL"), None),
            (&[("x-weft-reason", " a.b\u{1b}[2Jc\t")], None, Some("a.b?[2Jc")),
            (&[("x-weft-reason", &long)], None, Some(&long[..REASON_CHARACTERS_MAX])),
        ] {
            let found = sign(headers.iter().map(|(name, value)| (*name, value.as_bytes()))).unwrap();
            assert_eq!((found.flag, found.reason.as_deref()), (flag, reason), "{headers:?}");
        }
        for headers in [&[("x-weft-reason", " ")][..], &[("server", "envoy")]] {
            assert_eq!(
                sign(headers.iter().map(|(name, value)| (*name, value.as_bytes()))),
                None
            );
        }
    }

    #[test]
    fn a_grpc_status_that_is_not_named_follows_from_that_of_http() {
        for (named, http, wanted) in [
            (Some("0"), 200, 0),
            (Some("14"), 200, 14),
            (Some("-1"), 200, 2),
            (Some("7"), 503, 7),
            (None, 200, 2),
            (None, 400, 13),
            (None, 401, 16),
            (None, 403, 7),
            (None, 404, 12),
            (None, 429, 14),
            (None, 503, 14),
            (None, 500, 2),
        ] {
            assert_eq!(grpc_status(named.map(str::as_bytes), http), wanted, "{named:?} {http}");
        }
    }
}
