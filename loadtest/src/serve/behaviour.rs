//! What the scripted upstream does with a request: every kind of trouble that a client may meet.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Statuses, at most.
const STATUSES_MAX: usize = 100;
/// Largest weight of a status.
const WEIGHT_MAX: u32 = 1_000_000;
/// Bytes of a response's body, at most.
const BODY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Longest latency and stall.
const TIME_MAX: Duration = Duration::from_secs(3600);

/// A field that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {value:?}: {wanted}", field.name())]
pub(crate) struct BehaviourError {
    pub(crate) field: Field,
    pub(crate) value: String,
    pub(crate) wanted: String,
}

/// Fields that can make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Latency,
    Statuses,
    BodyBytes,
    Resets,
    EarlyCloses,
    Stall,
}

impl Field {
    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Statuses => "statuses",
            Self::BodyBytes => "body_bytes",
            Self::Resets => "resets",
            Self::EarlyCloses => "early_closes",
            Self::Stall => "stall",
        }
    }

    fn wrong(self, value: impl ToString, wanted: impl ToString) -> BehaviourError {
        BehaviourError {
            field: self,
            value: value.to_string(),
            wanted: wanted.to_string(),
        }
    }
}

/// A behaviour as it is written: in flags, and as JSON over the admin port. What is left out is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawBehaviour {
    /// `10ms`, `uniform 1ms..20ms` or `exponential 10ms`.
    pub(crate) latency: Option<String>,
    /// Weights of statuses.
    pub(crate) statuses: BTreeMap<u16, u32>,
    /// Bytes of filler behind the echo.
    pub(crate) body_bytes: usize,
    /// Bytes of the body a second; 0 at once.
    pub(crate) body_rate: u64,
    /// Percent of requests whose connection (HTTP/2: stream) is reset.
    pub(crate) resets: f64,
    /// Percent of responses that end in the middle.
    pub(crate) early_closes: f64,
    /// Requests after which a connection is closed (HTTP/2: GOAWAY); 0 never.
    pub(crate) requests_per_connection: u64,
    /// New connections are refused.
    pub(crate) refuse: bool,
    /// `100ms every 1s`: nothing is answered for the last 100 ms of each second.
    pub(crate) stall: Option<String>,
}

/// Time until a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Latency {
    Fixed(Duration),
    Uniform(Duration, Duration),
    Exponential(Duration),
}

/// A behaviour, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Behaviour {
    pub(crate) raw: RawBehaviour,
    latency: Latency,
    /// For how long, and how often.
    stall: Option<(Duration, Duration)>,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fate {
    pub(crate) wait: Duration,
    pub(crate) status: u16,
    pub(crate) reset: bool,
    pub(crate) early_close: bool,
}

impl RawBehaviour {
    /// Whether it says nothing of requests.
    pub(crate) fn is_of_connections_alone(&self) -> bool {
        let refuse = self.refuse;
        *self
            == Self {
                refuse,
                ..Self::default()
            }
    }

    /// The behaviour, if every field makes sense.
    ///
    /// # Errors
    /// The field and what would be right.
    pub(crate) fn resolve(self) -> Result<Behaviour, BehaviourError> {
        for (field, percent) in [(Field::Resets, self.resets), (Field::EarlyCloses, self.early_closes)] {
            if !(0.0..=100.0).contains(&percent) {
                return Err(field.wrong(percent, "must be a percentage from 0 to 100"));
            }
        }
        if self.body_bytes > BODY_BYTES_MAX {
            let wanted = format!("must be at most {BODY_BYTES_MAX}");
            return Err(Field::BodyBytes.wrong(self.body_bytes, wanted));
        }
        if self.statuses.len() > STATUSES_MAX {
            let wanted = format!("must be at most {STATUSES_MAX}");
            return Err(Field::Statuses.wrong(self.statuses.len(), wanted));
        }
        let sound = |(status, weight): (&u16, &u32)| (200..600).contains(status) && *weight <= WEIGHT_MAX;
        if let Some((status, weight)) = self.statuses.iter().find(|pair| !sound(*pair)) {
            let wanted = format!("must be a status from 200 to 599 with a weight of at most {WEIGHT_MAX}");
            return Err(Field::Statuses.wrong(format!("{status}={weight}"), wanted));
        }
        if !self.statuses.is_empty() && self.statuses.values().all(|weight| *weight == 0) {
            return Err(Field::Statuses.wrong("0", "must have a weight above 0"));
        }
        Ok(Behaviour {
            latency: self
                .latency
                .as_deref()
                .map_or(Ok(Latency::Fixed(Duration::ZERO)), |text| {
                    let wanted = "must be 10ms, uniform 1ms..20ms, or exponential 10ms, and at most 1h";
                    latency(text).ok_or_else(|| Field::Latency.wrong(text, wanted))
                })?,
            stall: self
                .stall
                .as_deref()
                .map(|text| {
                    let wanted = "must be LENGTH every PERIOD, such as 100ms every 1s, of a longer period, at most 1h";
                    stall(text).ok_or_else(|| Field::Stall.wrong(text, wanted))
                })
                .transpose()?,
            raw: self,
        })
    }
}

fn time(text: &str) -> Option<Duration> {
    let time = humantime::parse_duration(text.trim()).ok();
    time.filter(|time| *time <= TIME_MAX)
}

fn latency(text: &str) -> Option<Latency> {
    if let Some(range) = text.strip_prefix("uniform ") {
        let (from, to) = range.split_once("..")?;
        let (from, to) = (time(from)?, time(to)?);
        return (from <= to).then_some(Latency::Uniform(from, to));
    }
    if let Some(mean) = text.strip_prefix("exponential ") {
        return time(mean).map(Latency::Exponential);
    }
    time(text).map(Latency::Fixed)
}

fn stall(text: &str) -> Option<(Duration, Duration)> {
    let (length, period) = text.split_once(" every ")?;
    let (length, period) = (time(length)?, time(period)?);
    (length < period).then_some((length, period))
}

impl Behaviour {
    /// Draws what becomes of a request that came `since_start` after the start.
    pub(crate) fn fate(&self, since_start: Duration, random: &mut fastrand::Rng) -> Fate {
        let mut percent = |share: f64| share > 0.0 && random.f64() * 100.0 < share;
        let (reset, early_close) = (percent(self.raw.resets), percent(self.raw.early_closes));
        Fate {
            wait: self.latency.draw(random) + self.stalled(since_start),
            status: self.status(random),
            reset,
            early_close,
        }
    }

    /// What is left of a stall.
    fn stalled(&self, since_start: Duration) -> Duration {
        let Some((length, period)) = self.stall else {
            return Duration::ZERO;
        };
        let into = Duration::from_nanos((since_start.as_nanos() % period.as_nanos()) as u64);
        // Counted from the end of a period, so that a fresh upstream answers at first.
        match period.saturating_sub(into) {
            left if left <= length => left,
            _ => Duration::ZERO,
        }
    }

    fn status(&self, random: &mut fastrand::Rng) -> u16 {
        let total: u64 = self.raw.statuses.values().map(|weight| u64::from(*weight)).sum();
        if total == 0 {
            return 200;
        }
        let mut drawn = random.u64(0..total);
        for (status, weight) in &self.raw.statuses {
            match drawn.checked_sub(u64::from(*weight)) {
                Some(left) => drawn = left,
                None => return *status,
            }
        }
        unreachable!("what is drawn lies below the sum of all weights")
    }
}

impl Latency {
    fn draw(self, random: &mut fastrand::Rng) -> Duration {
        match self {
            Self::Fixed(latency) => latency,
            Self::Uniform(from, to) => from + (to - from).mul_f64(random.f64()),
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - random.f64()).ln()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(json: &str) -> Result<Behaviour, String> {
        let raw: RawBehaviour = serde_json::from_str(json).map_err(|error| error.to_string())?;
        raw.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn shares_come_out_as_they_are_written() {
        let behaviour = resolve(r#"{"statuses": {"200": 90, "503": 10}, "resets": 5, "early_closes": 50}"#).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let fates: Vec<Fate> = (0..10_000)
            .map(|_| behaviour.fate(Duration::ZERO, &mut random))
            .collect();
        let share = |of: fn(&Fate) -> bool| fates.iter().filter(|fate| of(fate)).count() as f64 / 100.0;
        assert!((share(|fate| fate.status == 503) - 10.0).abs() < 1.5);
        assert!((share(|fate| fate.reset) - 5.0).abs() < 1.0);
        assert!((share(|fate| fate.early_close) - 50.0).abs() < 2.0);
    }

    #[test]
    fn a_stall_lasts_until_its_end_and_comes_again() {
        let behaviour = resolve(r#"{"stall": "100ms every 1s"}"#).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        for (at_ms, wait_ms) in [(0, 0), (899, 0), (900, 100), (940, 60), (999, 1), (1000, 0), (2950, 50)] {
            let fate = behaviour.fate(Duration::from_millis(at_ms), &mut random);
            assert_eq!(fate.wait, Duration::from_millis(wait_ms), "{at_ms}");
        }
    }

    #[test]
    fn latencies_have_their_distribution() {
        let mean = |text: &str| {
            let behaviour = resolve(&format!(r#"{{"latency": "{text}"}}"#)).unwrap();
            let mut random = fastrand::Rng::with_seed(1);
            let sum: Duration = (0..10_000)
                .map(|_| behaviour.fate(Duration::ZERO, &mut random).wait)
                .sum();
            sum.as_secs_f64() / 10.0
        };
        for (text, wanted) in [("10ms", 10.0), ("uniform 0ms..20ms", 10.0), ("exponential 10ms", 10.0)] {
            assert!((mean(text) - wanted).abs() < 0.5, "{text}: {}", mean(text));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (json, words) in [
            (r#"{"latency": "10"}"#, "latency"),
            (r#"{"latency": "61m"}"#, "at most 1h"),
            (r#"{"latency": "exponential 500000000000y"}"#, "at most 1h"),
            (r#"{"stall": "1s every 2h"}"#, "at most 1h"),
            (r#"{"body_bytes": 2000000000}"#, "body_bytes"),
            (r#"{"latency": "uniform 5ms..1ms"}"#, "latency"),
            (r#"{"stall": "2s every 1s"}"#, "stall"),
            (r#"{"resets": 101}"#, "resets"),
            (r#"{"statuses": {"200": 0}}"#, "statuses"),
            (r#"{"statuses": {"99": 1}}"#, "statuses"),
            (r#"{"latencies": "1ms"}"#, "latencies"),
        ] {
            let error = resolve(json).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
