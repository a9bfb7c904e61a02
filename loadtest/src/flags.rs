//! in → out: the command line → checked settings, or one line that says what is wrong with it.
//! owns: names and defaults of flags, and which of them contradict each other.
//! may not touch: sockets.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use crate::rate;
use crate::schedule::Profile;
use crate::worker;

/// Requests in flight where nothing else is asked for.
const CONNECTIONS: usize = 64;
/// Requests in flight on a connection, at most.
const STREAMS_MAX: usize = 10_000;
/// Requests in flight of a run, at most.
const LANES_MAX: usize = 1_000_000;
/// More lanes than a machine has ports for.
const CONNECTIONS_MAX: usize = 60_000;
/// Requests per second where nothing else is asked for.
const RATE_DEFAULT: &str = "100";
/// Length of a run where nothing else is asked for.
const DURATION: Duration = Duration::from_secs(10);
/// Longest run, and longest of any time that a flag says.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest latency that histograms hold: a request may not take longer than can be told.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Threads, more than any machine has processors.
const THREADS_MAX: usize = 1024;

/// The flags of a run, as typed.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Where to send: `http://host[:port]/path`, `https://…`, `grpc://host:port/package.Service/Method`, `grpcs://…`, `tcp://host:port`.
    /// Several share the requests; `3:URL` gets three times as many.
    #[arg(value_name = "[WEIGHT:]URL", required = true)]
    pub(crate) urls: Vec<String>,
    /// Requests per second, sent at their instants whether or not answers come: 500, a ramp 100..500, steps 100,200,400; `max`
    /// sends as answers come [default: 100].
    #[arg(long, value_name = "N|max", allow_hyphen_values = true)]
    pub(crate) rate: Option<String>,
    /// How long to send, for example 1m30s [default: 10s].
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<String>,
    /// Stages of rates, in YAML: `stages: [{rate: 100, duration: 10s}, {from: 100, to: 500, duration: 1m}]`.
    #[arg(long, value_name = "FILE")]
    pub(crate) stages: Option<PathBuf>,
    /// Connections at most, to each host; a send that waits for one still counts from its intended instant.
    #[arg(long, short = 'c', value_name = "N", allow_negative_numbers = true)]
    pub(crate) connections: Option<usize>,
    /// Threads [default: one for each processor, and not more than connections].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) threads: Option<usize>,
    /// How sends are spread over a second.
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Constant)]
    pub(crate) arrivals: ArrivalsArg,
    /// Start of the random numbers.
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A request that takes longer has failed.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) timeout: String,
    /// Method of the requests [default: GET, or POST with a body].
    #[arg(long, short = 'X', value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// A header of the requests; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Host (HTTP/2: authority) of the requests, in place of the URL's.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Body of the requests; `@FILE` reads it from a file.
    #[arg(long, short = 'd', value_name = "TEXT|@FILE")]
    pub(crate) data: Option<String>,
    /// Speak HTTP/2: with prior knowledge over http://, by agreement over https://.
    #[arg(long)]
    pub http2: bool,
    /// HTTP/2 and gRPC: requests in flight on each connection.
    #[arg(long, short = 'm', value_name = "N", allow_negative_numbers = true)]
    pub(crate) streams: Option<usize>,
    /// gRPC: the descriptor set of the method (`protoc --descriptor_set_out --include_imports`); --data is then JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) descriptor: Option<PathBuf>,
    /// Certificates to trust, in PEM, in place of the machine's.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Certificate to present, in PEM, with those that lead to it.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Key of --cert, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Believe every certificate.
    #[arg(long, short = 'k')]
    pub(crate) insecure: bool,
    /// Address of a host, in place of a lookup; may be given several times.
    #[arg(long, value_name = "HOST:PORT:ADDRESS")]
    pub(crate) resolve: Vec<String>,
    /// What has to hold, for example `p99<5ms`, `error_rate<0.1%`, `code[503]>0`; exit code 3 if it does not.
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) expect: Vec<String>,
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Also write a page with charts, that opens from disk.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// The flags of a comparison.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    /// A result of `--output json`: what is compared with.
    #[arg(value_name = "A.json")]
    pub(crate) a: PathBuf,
    /// Another one: what is called better, the same or worse.
    #[arg(value_name = "B.json")]
    pub(crate) b: PathBuf,
    /// Figures that differ by no more are the same.
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    pub(crate) tolerance: String,
    /// Form of the comparison.
    #[arg(long, value_enum, default_value_t = CompareOutput::Text)]
    pub(crate) output: CompareOutput,
    /// End with 3 if any figure of B is worse, and with 8 if either run is invalid.
    #[arg(long)]
    pub(crate) fail_on_worse: bool,
}

impl CompareArgs {
    /// The tolerance as a fraction.
    pub(crate) fn tolerance(&self) -> Result<f64, FlagError> {
        let number = self
            .tolerance
            .strip_suffix('%')
            .and_then(|number| number.parse::<f64>().ok());
        let percent = number.filter(|percent| (0.0..100.0).contains(percent)).ok_or_else(|| {
            FlagError::value(
                "--tolerance",
                &self.tolerance,
                "must be a percentage below 100, for example 5%",
            )
        })?;
        Ok(percent / 100.0)
    }
}

/// `compare --output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareOutput {
    /// A table, for people.
    Text,
    /// One object.
    Json,
}

/// `--arrivals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsArg {
    /// At equal distances.
    Constant,
    /// As independent users do.
    Poisson,
}

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables, for people.
    Text,
    /// One object; its fields stay.
    Json,
    /// The result JSON of fortio, for its viewers.
    Fortio,
    /// A row for each second.
    Csv,
    /// An HdrHistogram log.
    Hdr,
    /// The page of --html.
    Html,
}

/// Flags that make no sense, alone or together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    /// A value is not of its kind.
    #[error("{flag} {value:?}: {wanted}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        wanted: String,
    },
    /// Flags that do not go together.
    #[error("{flag}: {wanted}")]
    Contradiction {
        /// The flag, or flags.
        flag: &'static str,
        /// What would be right.
        wanted: &'static str,
    },
    /// A file that a flag names cannot be read.
    #[error("{flag} {path:?}: {problem}")]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: String,
        /// The system's words.
        problem: String,
    },
}

impl FlagError {
    pub(crate) fn value(flag: &'static str, value: &str, wanted: impl Into<String>) -> Self {
        Self::Value {
            flag,
            value: value.to_owned(),
            wanted: wanted.into(),
        }
    }
}

/// How a run sends, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `None` for a closed loop.
    pub(crate) profile: Option<Profile>,
    pub(crate) duration: Duration,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
}

impl RunArgs {
    /// Checks what says when to send.
    pub(crate) fn settings(&self, processors: usize) -> Result<Settings, FlagError> {
        let asked = self
            .duration
            .as_deref()
            .map(|text| time("--duration", text))
            .transpose()?;
        let profile = self.profile(asked)?;
        let duration = profile.as_ref().map_or(asked.unwrap_or(DURATION), Profile::duration);
        if duration > DURATION_MAX {
            let text = humantime::format_duration(duration).to_string();
            return Err(FlagError::value("--duration", &text, "must be at most a week"));
        }
        let connections = self.connections.unwrap_or(CONNECTIONS);
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            let wanted = format!("must be from 1 to {CONNECTIONS_MAX}");
            return Err(FlagError::value("--connections", &connections.to_string(), wanted));
        }
        let streams = self.streams.unwrap_or(1);
        if !(1..=STREAMS_MAX).contains(&streams) || streams * connections > LANES_MAX {
            let wanted = format!("must be from 1 to {STREAMS_MAX}, and at most {LANES_MAX} over all connections");
            return Err(FlagError::value("--streams", &streams.to_string(), wanted));
        }
        let default = || worker::threads(processors.min(THREADS_MAX), connections, streams, profile.is_some());
        let threads = self.threads.unwrap_or_else(default);
        if !(1..=THREADS_MAX).contains(&threads) {
            let wanted = format!("must be from 1 to {THREADS_MAX}");
            return Err(FlagError::value("--threads", &threads.to_string(), wanted));
        }
        let timeout = time_up_to("--timeout", &self.timeout, TIMEOUT_MAX, "an hour")?;
        Ok(Settings {
            profile,
            duration,
            connections,
            threads: threads.min(connections),
            timeout,
            seed: self.seed,
        })
    }

    fn profile(&self, duration: Option<Duration>) -> Result<Option<Profile>, FlagError> {
        let Some(stages) = &self.stages else {
            return rate::from_flag(
                self.rate.as_deref().unwrap_or(RATE_DEFAULT),
                duration.unwrap_or(DURATION),
                self.arrivals,
                self.seed,
            );
        };
        if self.rate.is_some() || duration.is_some() {
            return Err(FlagError::Contradiction {
                flag: "--stages",
                wanted: "says both rates and times: leave out --rate and --duration",
            });
        }
        rate::from_file(stages, self.arrivals, self.seed).map(Some)
    }
}

/// A length of time above zero, and of at most a week: sums of them cannot overflow.
pub(crate) fn time(flag: &'static str, text: &str) -> Result<Duration, FlagError> {
    time_up_to(flag, text, DURATION_MAX, "a week")
}

fn time_up_to(flag: &'static str, text: &str, max: Duration, name: &str) -> Result<Duration, FlagError> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() && time <= max => Ok(time),
        Ok(time) if time > max => Err(FlagError::value(flag, text, format!("must be at most {name}"))),
        _ => {
            let wanted =
                format!("must be a time above 0 and up to {name} with its unit, for example 250ms, 10s or 1m30s");
            Err(FlagError::value(flag, text, wanted))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn what_no_machine_has_is_refused_in_one_line() {
        let stages = tempfile::NamedTempFile::new().unwrap();
        let long = "stages: [{rate: 1, duration: 500000000000y}, {rate: 1, duration: 500000000000y}]";
        std::fs::write(stages.path(), long).unwrap();
        let week = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            week.path(),
            "stages: [{rate: 1, duration: 1w}, {rate: 1, duration: 1s}]",
        )
        .unwrap();
        for (flag, value, words) in [
            ("--timeout", "0s", "above 0"),
            ("--timeout", "61m", "at most an hour"),
            ("--timeout", "584y", "at most an hour"),
            ("--timeout", "1000000000000y", "up to an hour"),
            ("--duration", "1000000000000y", "up to a week"),
            ("--duration", "8d", "at most a week"),
            ("--threads", "0", "from 1 to 1024"),
            ("--threads", "1025", "from 1 to 1024"),
            ("--connections", "0", "from 1 to 60000"),
            ("--connections", "18446744073709551615", "from 1 to 60000"),
            ("--streams", "18446744073709551615", "from 1 to 10000"),
            ("--rate", "1e9", "up to 100000000"),
            ("--stages", stages.path().to_str().unwrap(), "at most a week"),
            ("--stages", week.path().to_str().unwrap(), "at most a week"),
        ] {
            let line = Line::try_parse_from(["weft-load", "http://x/", flag, value]).unwrap();
            let error = line.run.settings(2).unwrap_err().to_string();
            assert!(error.contains(words), "{flag} {value}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        for flag in ["--timeout=1h", "--duration=1w", "--threads=1024", "--connections=60000"] {
            let line = Line::try_parse_from(["weft-load", "http://x/", flag]).unwrap();
            assert!(line.run.settings(2).is_ok(), "{flag}");
        }
    }
}
