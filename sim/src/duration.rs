//! in → out: a duration → its text as Istio writes it (`250ms`, `1.5s`, `9s`).
//! owns: that text.
//! may not touch: rounding; nothing is lost.

use std::time::Duration;

use serde::Serializer;

/// The text: whole milliseconds below a second, else seconds with as many digits as are needed.
pub(crate) fn text(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    if duration.as_secs() == 0 && nanos != 0 && nanos.is_multiple_of(1_000_000) {
        return format!("{}ms", nanos / 1_000_000);
    }
    let digits = format!("{nanos:09}");
    match digits.trim_end_matches('0') {
        "" => format!("{}s", duration.as_secs()),
        fraction => format!("{}.{fraction}s", duration.as_secs()),
    }
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*duration))
}

pub(crate) fn serialize_option<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_istio_writes_them() {
        let cases = [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(250), "250ms"),
            (Duration::from_millis(1500), "1.5s"),
            (Duration::from_secs(9), "9s"),
            (Duration::from_micros(1), "0.000001s"),
            (Duration::new(3600, 1), "3600.000000001s"),
        ];
        for (duration, expected) in cases {
            assert_eq!(text(duration), expected);
        }
    }
}
