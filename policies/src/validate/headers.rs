//! Names and values of headers in header operations.

use crate::decode::{Check, Problem};

/// Command operators that weft evaluates in header values. Others are Envoy's business.
pub const KNOWN_OPERATORS: [&str; 10] = [
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "REQ",
    "PROTOCOL",
    "START_TIME",
    "UPSTREAM_HOST",
    "HOSTNAME",
    "ENVIRONMENT",
    "RESPONSE_CODE",
];

/// Which headers are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderSide {
    Request,
    Response,
}

/// A name that may stand in a header condition or in `remove`.
pub(crate) fn header_name(name: &str) -> Check {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() {
        return Err(Problem::new("has an empty header name", "give a name"));
    }
    if !name.bytes().all(token) {
        return Err(Problem::new(
            format!("`{name}` is no header name"),
            "use letters, digits and `-`",
        ));
    }
    Ok(())
}

/// A name that may be set or added. `host` and `:authority` of a request rewrite the authority.
pub(crate) fn settable_name(name: &str, side: HeaderSide) -> Check {
    let authority = name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    match side {
        HeaderSide::Request if authority => Ok(()),
        HeaderSide::Response if authority => Err(Problem::new(format!("`{name}` is no response header"), "remove it")),
        _ if name.starts_with(':') => Err(Problem::new(
            format!("`{name}` is a pseudo header"),
            "only `:authority` of a request can be changed",
        )),
        _ => header_name(name),
    }
}

/// A value: visible text, with `%COMMAND%` operators closed and a literal percent doubled.
pub(crate) fn header_value(value: &str) -> Check {
    if value.bytes().any(|b| b == b'\r' || b == b'\n' || b == 0) {
        return Err(Problem::new(
            "holds a line break or a NUL",
            "write the value on one line",
        ));
    }
    operators(value).map(drop)
}

/// Text that may stand in a request line or a header.
pub(crate) fn line(text: &str) -> Check {
    if text.bytes().any(|b| b.is_ascii_control()) {
        return Err(Problem::new(
            format!("`{text}` holds a control character").escape_debug().to_string(),
            "write visible characters only",
        ));
    }
    Ok(())
}

/// The first operator of a (valid) value that weft does not evaluate.
pub(crate) fn operator_unknown(value: &str) -> Option<&str> {
    operators(value)
        .ok()?
        .into_iter()
        .find(|name| !KNOWN_OPERATORS.contains(name))
}

/// The names of the operators. Syntax: `%NAME%`, `%NAME(argument)%`, `%NAME(argument):length%`.
fn operators(value: &str) -> Check<Vec<&str>> {
    let unbalanced = || {
        Problem::new(
            format!("`{value}` holds a single `%`"),
            "write `%%` for a percent sign, or `%COMMAND%` for an operator",
        )
    };
    let mut names = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.find('%') {
        let body = &rest[start + 1..];
        if let Some(after) = body.strip_prefix('%') {
            rest = after;
            continue;
        }
        let name_end = body
            .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
            .ok_or_else(unbalanced)?;
        let (name, mut tail) = body.split_at(name_end);
        if name.is_empty() {
            return Err(unbalanced());
        }
        if let Some(argument) = tail.strip_prefix('(') {
            // START_TIME takes formats that hold `%` themselves, hence the search for the bracket.
            tail = argument.split_once(')').ok_or_else(unbalanced)?.1;
        }
        if let Some(length) = tail.strip_prefix(':') {
            tail = length.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        rest = tail.strip_prefix('%').ok_or_else(unbalanced)?;
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_closed_operators_or_doubled_percents() {
        for (value, good) in [
            ("plain", true),
            ("100%%", true),
            ("%REQ(x-user)%", true),
            ("%REQ(x-user):5%-%PROTOCOL%", true),
            ("%START_TIME(%Y-%m-%d)%", true),
            ("100%", false),
            ("%REQ(x%", false),
            ("%req%", false),
            ("a\r\nb", false),
            ("% %", false),
        ] {
            assert_eq!(header_value(value).is_ok(), good, "{value:?}");
        }
        assert_eq!(operator_unknown("%PROTOCOL% %TRACE_ID%"), Some("TRACE_ID"));
        assert_eq!(operator_unknown("%PROTOCOL%"), None);
    }

    #[test]
    fn only_the_authority_of_a_request_is_a_pseudo_header_that_can_be_set() {
        for (name, request, response) in [
            ("x-a", true, true),
            ("host", true, false),
            (":authority", true, false),
            (":path", false, false),
            ("", false, false),
            ("a b", false, false),
        ] {
            assert_eq!(settable_name(name, HeaderSide::Request).is_ok(), request, "{name}");
            assert_eq!(settable_name(name, HeaderSide::Response).is_ok(), response, "{name}");
        }
    }
}
