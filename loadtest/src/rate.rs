//! in → out: `--rate`, `--duration`, `--arrivals` or `--stages FILE` → the profile of a run.
//! owns: the forms of a rate.
//! may not touch: when a send happens.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::flags::{ArrivalsArg, FlagError, time};
use crate::schedule::{Arrivals, Profile, Stage};

/// A rate beyond any machine's.
const RATE_MAX: f64 = 100_000_000.0;
/// Stages, at most.
const STAGES_MAX: usize = 1000;
/// Bytes of a stage file, at most.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a rate has to be.
const WANTED: &str = "must be requests per second above 0 and up to 100000000 (500), a ramp (100..500), up to 1000 steps of equal \
     length (100,200,400), or max";

/// The profile that `--rate` stands for; `None` for `max`.
pub(crate) fn from_flag(
    text: &str,
    duration: Duration,
    arrivals: ArrivalsArg,
    seed: u64,
) -> Result<Option<Profile>, FlagError> {
    if text == "max" {
        return match arrivals {
            ArrivalsArg::Constant => Ok(None),
            ArrivalsArg::Poisson => Err(FlagError::Contradiction {
                flag: "--arrivals poisson",
                wanted: "needs a --rate: with max, requests are sent as answers come",
            }),
        };
    }
    let wrong = || FlagError::value("--rate", text, WANTED);
    let number = |text: &str| {
        let rate = text.trim().parse::<f64>().ok()?;
        (0.0..=RATE_MAX).contains(&rate).then_some(rate)
    };
    let stages = if let Some((from, to)) = text.split_once("..") {
        vec![Stage {
            duration,
            from: number(from).ok_or_else(wrong)?,
            to: number(to).ok_or_else(wrong)?,
        }]
    } else {
        let steps = text
            .split(',')
            .map(number)
            .collect::<Option<Vec<f64>>>()
            .ok_or_else(wrong)?;
        let duration = duration / u32::try_from(steps.len()).map_err(|_| wrong())?;
        let step = |rate| Stage {
            duration,
            from: rate,
            to: rate,
        };
        steps.into_iter().map(step).collect()
    };
    profile(stages, arrivals, seed).ok_or_else(wrong).map(Some)
}

/// A stage file: stages one after another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStages {
    #[serde(default)]
    arrivals: Option<String>,
    stages: Vec<RawStage>,
}

/// `{rate: 100, duration: 10s}`, or `{from: 100, to: 500, duration: 10s}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStage {
    duration: String,
    rate: Option<f64>,
    from: Option<f64>,
    to: Option<f64>,
}

/// The profile of a stage file.
pub(crate) fn from_file(path: &Path, arrivals: ArrivalsArg, seed: u64) -> Result<Profile, FlagError> {
    let file = |problem: String| FlagError::File {
        flag: "--stages",
        path: path.to_string_lossy().into_owned(),
        problem,
    };
    let length = std::fs::metadata(path).map_err(|error| file(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(file(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
    from_text(&text, arrivals, seed).map_err(file)
}

fn from_text(text: &str, arrivals: ArrivalsArg, seed: u64) -> Result<Profile, String> {
    // One line: the parser draws the place, too.
    let raw: RawStages = serde_saphyr::from_str(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    let arrivals = match raw.arrivals.as_deref() {
        None => arrivals,
        Some("constant") => ArrivalsArg::Constant,
        Some("poisson") => ArrivalsArg::Poisson,
        Some(other) => return Err(format!("arrivals {other:?}: must be constant or poisson")),
    };
    let mut stages = Vec::new();
    for (index, stage) in raw.stages.iter().enumerate() {
        let (from, to) = match (stage.rate, stage.from, stage.to) {
            (Some(rate), None, None) => (rate, rate),
            (None, Some(from), Some(to)) => (from, to),
            _ => return Err(format!("stages[{index}]: must have either rate, or from and to")),
        };
        let duration = time("duration", &stage.duration).map_err(|error| format!("stages[{index}]: {error}"))?;
        stages.push(Stage { duration, from, to });
    }
    profile(stages, arrivals, seed)
        .ok_or_else(|| format!("must have 1 to {STAGES_MAX} stages with rates from 0 to {RATE_MAX}, not all of them 0"))
}

fn profile(stages: Vec<Stage>, arrivals: ArrivalsArg, seed: u64) -> Option<Profile> {
    let profile = Profile {
        stages,
        arrivals: match arrivals {
            ArrivalsArg::Constant => Arrivals::Constant,
            ArrivalsArg::Poisson => Arrivals::Poisson,
        },
        seed,
    };
    let in_bounds = |rate: f64| (0.0..=RATE_MAX).contains(&rate);
    let sound = (1..=STAGES_MAX).contains(&profile.stages.len())
        && profile
            .stages
            .iter()
            .all(|stage| in_bounds(stage.from) && in_bounds(stage.to));
    (sound && profile.requests() > 0.0).then_some(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(profile: &Profile) -> Vec<(u64, f64, f64)> {
        let stages = profile.stages.iter();
        stages
            .map(|stage| (stage.duration.as_secs(), stage.from, stage.to))
            .collect()
    }

    #[test]
    fn a_rate_may_be_constant_a_ramp_or_steps() {
        for (text, wanted) in [
            ("500", vec![(9, 500.0, 500.0)]),
            ("100..500", vec![(9, 100.0, 500.0)]),
            (
                "100,200,400",
                vec![(3, 100.0, 100.0), (3, 200.0, 200.0), (3, 400.0, 400.0)],
            ),
        ] {
            let profile = from_flag(text, Duration::from_secs(9), ArrivalsArg::Constant, 1)
                .unwrap()
                .unwrap();
            assert_eq!(shape(&profile), wanted, "{text}");
        }
        assert_eq!(
            from_flag("max", Duration::from_secs(9), ArrivalsArg::Constant, 1),
            Ok(None)
        );
    }

    #[test]
    fn a_file_lists_stages() {
        let text = "arrivals: poisson\nstages:\n- {rate: 10, duration: 2s}\n- {from: 10, to: 50.5, duration: 1m}\n";
        let profile = from_text(text, ArrivalsArg::Constant, 1).unwrap();
        assert_eq!(shape(&profile), [(2, 10.0, 10.0), (60, 10.0, 50.5)]);
        assert_eq!(profile.arrivals, Arrivals::Poisson);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["0", "-1", "nan", "inf", "many", "1..", "1,,2", "0..0", ""] {
            assert!(
                from_flag(text, Duration::from_secs(9), ArrivalsArg::Constant, 1).is_err(),
                "{text:?}"
            );
        }
        assert!(from_flag("max", Duration::from_secs(9), ArrivalsArg::Poisson, 1).is_err());
        for (text, words) in [
            ("stages: []", "1 to 1000 stages"),
            ("stages: [{rate: 1, duration: 1}]", "stages[0]: duration \"1\""),
            (
                "stages: [{rate: 1, to: 2, duration: 1s}]",
                "stages[0]: must have either rate, or from and to",
            ),
            ("stages: [{rat: 1, duration: 1s}]", "rat"),
            (
                "arrivals: often\nstages: [{rate: 1, duration: 1s}]",
                "must be constant or poisson",
            ),
            ("- a: [", ""),
        ] {
            let error = from_text(text, ArrivalsArg::Constant, 1).unwrap_err();
            assert!(error.contains(words) && error.lines().count() == 1, "{text}: {error}");
        }
    }
}
