//! Regular expressions: RE2's syntax, for which Envoy compiles them, on an engine that is linear as well.
//!
//! What the two engines read differently is refused here by name, so that an expression never means two things.

use regex::bytes::{Regex, RegexBuilder};

use crate::decode::{Check, Problem};

/// Length of an expression (Istio's limit).
pub const REGEX_CHARS_MAX: usize = 1024;
/// Memory of one compiled expression. A literal of full length needs some 50 KiB; a repetition of repetitions passes this.
pub const REGEX_COMPILED_BYTES_MAX: usize = 1 << 20;
/// Largest repetition count (RE2's limit).
pub const REGEX_REPEAT_MAX: u32 = 1000;

/// Checks an expression.
pub(crate) fn regex(pattern: &str) -> Check {
    compile(pattern)
        .map(drop)
        .map_err(|(problem, fix)| Problem::new(problem, fix))
}

/// Compiles an expression the way the proxy does: bytes, no Unicode classes, size capped. The error says what is
/// wrong and what would be right.
pub fn compile(pattern: &str) -> Result<Regex, (String, String)> {
    let length = pattern.chars().count();
    if length > REGEX_CHARS_MAX {
        return Err((
            format!("has {length} characters"),
            format!("must have at most {REGEX_CHARS_MAX}"),
        ));
    }
    same_in_both_engines(pattern).map_err(|(problem, fix)| (problem, fix.to_owned()))?;
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(REGEX_COMPILED_BYTES_MAX)
        .dfa_size_limit(REGEX_COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                let problem = format!("`{pattern}` needs more than {REGEX_COMPILED_BYTES_MAX} bytes when compiled");
                (problem, "use smaller repetitions".to_owned())
            }
            // The first lines of a syntax error draw the expression; the last one says what is wrong.
            other => {
                let text = other.to_string();
                let reason = text
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                (
                    format!("`{pattern}` is no RE2 expression ({reason})"),
                    "correct the expression".to_owned(),
                )
            }
        })
}

type Difference = (String, &'static str);

/// Walks over the expression once and names what only one of the engines knows, or both read differently.
fn same_in_both_engines(pattern: &str) -> Result<(), Difference> {
    let refuse = |what: &str, fix| Err((format!("`{pattern}` holds {what}"), fix));
    let bytes = pattern.as_bytes();
    let (mut at, mut class_start) = (0, None);
    while at < bytes.len() {
        let rest = &bytes[at..];
        match (rest, class_start) {
            ([b'\\', b'Q', ..], _) => {
                return refuse("`\\Q`, which weft does not take", "escape each character instead");
            }
            ([b'\\', b'C', ..], _) => return refuse("`\\C`, which weft does not take", "match bytes with `.` instead"),
            ([b'\\', b'u' | b'U' | b'<' | b'>', ..], _) => {
                return refuse(
                    "an escape that RE2 does not know",
                    "write `\\x{…}` for a character by number",
                );
            }
            ([b'\\', _, ..], _) => at += 1,
            ([b'[', b':', ..], Some(_)) if pattern[at..].contains(":]") => {
                at += pattern[at..].find(":]").unwrap_or(0) + 1
            }
            ([b'[', ..], Some(_)) => return refuse("`[` within brackets", "write `\\[`"),
            ([b'&', b'&', ..] | [b'-', b'-', ..] | [b'~', b'~', ..], Some(_)) => {
                return refuse(
                    "a doubled `&`, `-` or `~` within brackets",
                    "write it once, or escape it",
                );
            }
            ([b']', ..], Some(start)) if at > start => class_start = None,
            ([b'[', b'^', ..], None) => {
                class_start = Some(at + 2);
                at += 1;
            }
            ([b'[', ..], None) => class_start = Some(at + 1),
            ([b'(', b'?', flags @ ..], None) => {
                let flags: &[u8] = flags
                    .split(|b| matches!(b, b':' | b')' | b'<'))
                    .next()
                    .unwrap_or_default();
                if flags.iter().any(|f| matches!(f, b'x' | b'R' | b'u')) && !flags.starts_with(b"P") {
                    return refuse("a flag that RE2 does not know", "use only i, m, s and U");
                }
            }
            ([b'{', count @ ..], None) => {
                let count: &[u8] = count.split(|b| *b == b'}').next().unwrap_or_default();
                let too_many = |n: &[u8]| {
                    std::str::from_utf8(n)
                        .ok()
                        .and_then(|n| n.parse::<u64>().ok())
                        .is_some_and(|n| n > u64::from(REGEX_REPEAT_MAX))
                };
                if count.split(|b| *b == b',').any(too_many) {
                    return refuse("a repetition beyond 1000", "use smaller repetitions");
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_both_engines_read_alike_are_taken() {
        for pattern in [
            "^(.*?;)?(user=jason)(;.*)?$",
            ".*",
            "/v[0-9]+/.*",
            "a{2,5}",
            "[[:alpha:]]+",
            "[^]x]",
            "[]x]",
            "(?i)abc",
            "(?P<x>a)",
            "\\d+\\.\\d+",
            "\\\\Q",
            "[a\\-z]",
            "é+",
            "",
        ] {
            assert!(compile(pattern).is_ok(), "{pattern}: {:?}", compile(pattern).err());
        }
    }

    #[test]
    fn expressions_that_they_do_not_are_refused_with_the_reason() {
        let long = "a".repeat(REGEX_CHARS_MAX + 1);
        let big = "((a{100}){100}){100}";
        for (pattern, reason) in [
            ("*", "is no RE2 expression"),
            ("(", "is no RE2 expression"),
            ("a(?=b)", "is no RE2 expression"),
            ("(a)\\1", "is no RE2 expression"),
            ("\\Qa.b\\E", "`\\Q`"),
            ("\\C", "`\\C`"),
            ("[a&&b]", "a doubled"),
            ("[a[b]]", "`[` within brackets"),
            ("(?x)a b", "a flag"),
            ("a{1001}", "a repetition"),
            ("\\u0041", "an escape"),
            (&long, "has 1025 characters"),
            (big, "when compiled"),
        ] {
            let problem = compile(pattern).expect_err(pattern).0;
            assert!(problem.contains(reason), "{pattern}: {problem}");
        }
    }

    #[test]
    fn classes_are_those_of_ascii() {
        let digits = compile("^\\d$").unwrap();
        assert!(digits.is_match(b"7") && !digits.is_match("٣".as_bytes()));
    }
}
