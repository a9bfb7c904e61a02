use std::time::{Duration, SystemTime};

/// A piece of a time, as `%START_TIME(…)%` names it (UTC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimePart {
    Literal(Box<str>),
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    EpochSeconds,
    /// That many digits of the second's fraction.
    Fraction(usize),
}

/// ISO 8601 with milliseconds: what an operator without argument means.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

/// Reads a strftime text; `None` when it holds a conversion that is not known here.
pub(super) fn time_format(text: &str) -> Option<Vec<TimePart>> {
    let text = if text.is_empty() { DEFAULT } else { text };
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        if char != '%' {
            literal.push(char);
            continue;
        }
        let part = match rest.next()? {
            '%' => {
                literal.push('%');
                continue;
            }
            'Y' => TimePart::Year,
            'm' => TimePart::Month,
            'd' => TimePart::Day,
            'H' => TimePart::Hour,
            'M' => TimePart::Minute,
            'S' => TimePart::Second,
            's' => TimePart::EpochSeconds,
            'f' => TimePart::Fraction(9),
            digit @ '1'..='9' if rest.next()? == 'f' => TimePart::Fraction(usize::try_from(digit.to_digit(10)?).ok()?),
            'F' => {
                flush(&mut parts, &mut literal);
                parts.extend([TimePart::Year, TimePart::Literal("-".into()), TimePart::Month]);
                parts.extend([TimePart::Literal("-".into()), TimePart::Day]);
                continue;
            }
            'T' => {
                flush(&mut parts, &mut literal);
                parts.extend([TimePart::Hour, TimePart::Literal(":".into()), TimePart::Minute]);
                parts.extend([TimePart::Literal(":".into()), TimePart::Second]);
                continue;
            }
            _ => return None,
        };
        flush(&mut parts, &mut literal);
        parts.push(part);
    }
    flush(&mut parts, &mut literal);
    Some(parts)
}

fn flush(parts: &mut Vec<TimePart>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(TimePart::Literal(std::mem::take(literal).into()));
    }
}

/// Writes a time. A time before 1970 counts as 1970.
pub(super) fn render_time(parts: &[TimePart], time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let mut out = String::new();
    for part in parts {
        let (number, width) = match part {
            TimePart::Literal(text) => {
                out.push_str(text);
                continue;
            }
            TimePart::Fraction(digits) => {
                out.push_str(&format!("{:09}", since.subsec_nanos())[..(*digits).min(9)]);
                continue;
            }
            TimePart::Year => (year, 4),
            TimePart::Month => (month, 2),
            TimePart::Day => (day, 2),
            TimePart::Hour => (seconds / 3600 % 24, 2),
            TimePart::Minute => (seconds / 60 % 60, 2),
            TimePart::Second => (seconds % 60, 2),
            TimePart::EpochSeconds => (seconds, 1),
        };
        out.push_str(&format!("{number:0width$}"));
    }
    out
}

/// Days since 1970-01-01 → year, month, day of the Gregorian calendar, counted in eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
