//! Durations as Go writes them (`500ms`, `1.5s`, `1h30m`), which is what Kubernetes users write.

use std::time::Duration;

use super::{Check, Problem};

/// What a field asks of its duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// At least 1 ms, whole milliseconds (Istio's rule for most fields).
    Positive,
    /// As `Positive`, or zero, which means "off" or "no limit" there.
    ZeroOrPositive,
    /// Whole seconds.
    Seconds,
}

/// Longest duration taken: Envoy's timers count milliseconds in 64 bits, users never mean more than a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

const FIX: &str = "write a duration such as \"500ms\", \"1.5s\" or \"1h30m\"";

/// Reads a duration and checks it.
pub(super) fn read(text: &str, span: Span) -> Check<Duration> {
    let duration = parse(text).ok_or_else(|| Problem::new(format!("`{text}` is no duration"), FIX))?;
    if duration > LONGEST {
        return Err(Problem::new(format!("`{text}` is longer than a year"), "shorten it"));
    }
    let whole_ms = duration.subsec_nanos() % 1_000_000 == 0;
    match span {
        Span::Positive if duration.is_zero() => Err(Problem::new(format!("is `{text}`"), "must be at least 1ms")),
        Span::Seconds if duration.subsec_nanos() != 0 => Err(Problem::new(
            format!("`{text}` has a fraction of a second"),
            "must be whole seconds",
        )),
        Span::Positive | Span::ZeroOrPositive if !whole_ms => Err(Problem::new(
            format!("`{text}` has a fraction of a millisecond"),
            "must be whole milliseconds",
        )),
        Span::Positive | Span::ZeroOrPositive | Span::Seconds => Ok(duration),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() || text.len() > 64 {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        nanos = nanos.checked_add(part(number, unit)?)?;
        rest = tail;
    }
    Some(Duration::new(
        u64::try_from(nanos / 1_000_000_000).ok()?,
        u32::try_from(nanos % 1_000_000_000).ok()?,
    ))
}

/// One number with its unit, in nanoseconds; digits finer than that are cut off, as in Go.
fn part(number: &str, unit: &str) -> Option<u128> {
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(15)];
    let read = |digits: &str| {
        if digits.is_empty() {
            Some(0)
        } else {
            digits.parse::<u128>().ok()
        }
    };
    let tenths = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(read(whole)? * scale + read(fraction)? * scale / tenths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, span, expected_ms) in [
            ("1s", Span::Positive, Some(1000)),
            ("1.5s", Span::Positive, Some(1500)),
            (".5s", Span::Positive, Some(500)),
            ("500ms", Span::Positive, Some(500)),
            ("1h30m", Span::Positive, Some(5_400_000)),
            ("3m", Span::Seconds, Some(180_000)),
            ("1000us", Span::Positive, Some(1)),
            ("0s", Span::ZeroOrPositive, Some(0)),
            ("0", Span::ZeroOrPositive, Some(0)),
            ("0s", Span::Positive, None),
            ("500us", Span::Positive, None),
            ("1.0005s", Span::ZeroOrPositive, None),
            ("1500ms", Span::Seconds, None),
            ("-1s", Span::ZeroOrPositive, None),
            ("5", Span::Positive, None),
            ("5 s", Span::Positive, None),
            ("s", Span::Positive, None),
            ("", Span::Positive, None),
            ("1d", Span::Positive, None),
            ("1..5s", Span::Positive, None),
            ("99999999h", Span::Positive, None),
        ] {
            let got = read(text, span).ok().map(|d| d.as_millis());
            assert_eq!(got, expected_ms, "{text} {span:?}");
        }
    }
}
