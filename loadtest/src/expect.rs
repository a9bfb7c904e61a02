//! in → out: `--expect` expressions and a result → which of them hold.
//! owns: the grammar of expectations and the figures they may name.
//! may not touch: sockets.

use serde_json::Value;

use crate::flags::FlagError;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Figure {
    /// A path into the JSON result, in milliseconds.
    Milliseconds(&'static str, String),
    /// As [`error_rate`] has it.
    ErrorRate,
    /// Requests without an answer.
    Errors,
    /// Answers with one status, or one class (`5xx`).
    Code(String),
    /// Requests per second.
    Rate,
    /// Intended sends that never happened.
    Unsent,
    /// Local replies of a mesh with a flag.
    Flag(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// One expectation, such as `p99<5ms`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectation {
    text: String,
    figure: Figure,
    relation: Relation,
    bound: f64,
}

/// An expectation that was held against a result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// As the user wrote it.
    pub(crate) text: String,
    /// The figure, in the unit of the bound: milliseconds, percent, requests.
    pub(crate) actual: f64,
    pub(crate) holds: bool,
}

const WANTED: &str = "must be FIGURE RELATION BOUND, for example p99<5ms, error_rate<0.1%, code[503]>0, rate>=1000: \
     figures are p50 p75 p90 p99 p99.9 p99.99 max mean (latency; service.p99 for the service time), error_rate, errors, \
     code[N], code[5xx], flag[UO], rate, unsent; relations < <= == >= >";

/// Reads an expectation.
///
/// # Errors
/// If it is not of the grammar.
pub(crate) fn parse(text: &str) -> Result<Expectation, FlagError> {
    let wrong = || FlagError::value("--expect", text, WANTED);
    let at = text.find(['<', '>', '=']).ok_or_else(wrong)?;
    let (name, rest) = text.split_at(at);
    let (relation, bound) = [
        ("<=", Relation::LessOrEqual),
        (">=", Relation::GreaterOrEqual),
        ("==", Relation::Equal),
        ("<", Relation::Less),
        (">", Relation::Greater),
    ]
    .into_iter()
    .find_map(|(sign, relation)| rest.strip_prefix(sign).map(|bound| (relation, bound.trim())))
    .ok_or_else(wrong)?;
    let figure = figure(name.trim()).ok_or_else(wrong)?;
    let bound = match figure {
        Figure::Milliseconds(..) => {
            let time = humantime::parse_duration(bound).map_err(|_| wrong())?;
            time.as_secs_f64() * 1e3
        }
        Figure::ErrorRate => bound
            .strip_suffix('%')
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(wrong)?,
        _ => bound.parse().map_err(|_| wrong())?,
    };
    if !f64::is_finite(bound) {
        return Err(wrong());
    }
    Ok(Expectation {
        text: text.to_owned(),
        figure,
        relation,
        bound,
    })
}

fn figure(name: &str) -> Option<Figure> {
    const NAMES: [&str; 8] = ["p50", "p75", "p90", "p99", "p99.9", "p99.99", "max", "mean"];
    if NAMES.contains(&name) {
        return Some(Figure::Milliseconds("latency_ms", name.to_owned()));
    }
    if let Some(name) = name.strip_prefix("service.").filter(|name| NAMES.contains(name)) {
        return Some(Figure::Milliseconds("service_time_ms", name.to_owned()));
    }
    let within = |prefix: &str| name.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']');
    if let Some(code) = within("code") {
        let class = code.len() == 3 && code.ends_with("xx") && matches!(code.as_bytes()[0], b'1'..=b'5');
        let number = code.parse::<u16>().is_ok_and(|code| (100..1000).contains(&code));
        return (class || number).then(|| Figure::Code(code.to_owned()));
    }
    if let Some(flag) = within("flag") {
        return Some(Figure::Flag(flag.to_owned()));
    }
    match name {
        "error_rate" => Some(Figure::ErrorRate),
        "errors" => Some(Figure::Errors),
        "rate" => Some(Figure::Rate),
        "unsent" => Some(Figure::Unsent),
        _ => None,
    }
}

impl Expectation {
    /// Holds it against a result, as JSON.
    pub(crate) fn hold(&self, result: &Value) -> Held {
        let actual = self.figure.of(result);
        let holds = match self.relation {
            Relation::Less => actual < self.bound,
            Relation::LessOrEqual => actual <= self.bound,
            Relation::Equal => (actual - self.bound).abs() < f64::EPSILON,
            Relation::GreaterOrEqual => actual >= self.bound,
            Relation::Greater => actual > self.bound,
        };
        Held {
            text: self.text.clone(),
            actual,
            holds,
        }
    }
}

impl Figure {
    fn of(&self, result: &Value) -> f64 {
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        match self {
            Self::Milliseconds(histogram, name) => number(&result[*histogram][name]),
            Self::ErrorRate => error_rate(result),
            Self::Errors => number(&result["errors"]["total"]),
            Self::Code(code) => codes(result, code),
            Self::Rate => number(&result["rate"]["reached"]),
            Self::Unsent => number(&result["requests"]["unsent"]),
            Self::Flag(flag) => number(&result["mesh"]["flags"][flag]),
        }
    }
}

/// Share of the requests that were sent which failed or were answered with an error, in percent: 5xx, or where gRPC
/// is spoken any status but OK.
pub(crate) fn error_rate(result: &Value) -> f64 {
    share(result, failed(result) + server_errors(result))
}

/// Answers that are errors of the server.
fn server_errors(result: &Value) -> f64 {
    // Results of earlier versions do not say.
    let told = result["requests"]["answered_errors"].as_f64();
    told.unwrap_or_else(|| codes(result, "5xx"))
}

/// Answers with a status of gRPC other than 0.
pub(crate) fn grpc_errors(result: &Value) -> f64 {
    let codes = result["grpc_codes"].as_object().into_iter().flatten();
    codes
        .filter(|(code, _)| *code != "0")
        .filter_map(|(_, count)| count.as_f64())
        .fold(0.0, std::ops::Add::add)
}

/// Requests without an answer.
pub(crate) fn failed(result: &Value) -> f64 {
    result["requests"]["failed"].as_f64().unwrap_or_default()
}

/// So many of the requests that were sent, in percent.
pub(crate) fn share(result: &Value, count: f64) -> f64 {
    let sent = failed(result) + result["requests"]["answered"].as_f64().unwrap_or_default();
    if sent > 0.0 { count / sent * 100.0 } else { 0.0 }
}

/// Answers with a status, or of a class.
pub(crate) fn codes(result: &Value, wanted: &str) -> f64 {
    let codes = result["codes"].as_object().into_iter().flatten();
    let class = wanted.strip_suffix("xx");
    codes
        .filter(|(code, _)| class.map_or(*code == wanted, |digit| code.len() == 3 && code.starts_with(digit)))
        .filter_map(|(_, count)| count.as_f64())
        .fold(0.0, std::ops::Add::add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expectation_is_held_against_the_figure_that_it_names() {
        let result = json!({
            "latency_ms": {"p99": 4.9, "p99.9": 7.0, "max": 8.0}, "service_time_ms": {"p99": 1.0},
            "requests": {"answered": 990, "answered_errors": 90, "failed": 10, "unsent": 3}, "errors": {"total": 10},
            "codes": {"200": 900, "503": 80, "500": 10}, "rate": {"reached": 100.0}, "mesh": {"flags": {"UO": 80}},
        });
        for (text, actual, holds) in [
            ("p99<5ms", 4.9, true),
            ("p99 < 4ms", 4.9, false),
            ("p99.9>=7ms", 7.0, true),
            ("service.p99<=1ms", 1.0, true),
            ("max<1s", 8.0, true),
            ("error_rate<0.1%", 10.0, false),
            ("error_rate<=10%", 10.0, true),
            ("errors==10", 10.0, true),
            ("code[503]>0", 80.0, true),
            ("code[5xx]==90", 90.0, true),
            ("code[404]==0", 0.0, true),
            ("flag[UO]>=80", 80.0, true),
            ("rate>100", 100.0, false),
            ("unsent==0", 3.0, false),
        ] {
            let held = parse(text).unwrap().hold(&result);
            assert_eq!((held.actual, held.holds), (actual, holds), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_expectation_is_refused() {
        for text in [
            "p99",
            "p98<5ms",
            "p99<5",
            "p99=5ms",
            "p99<5%",
            "error_rate<0.1",
            "code[x]>0",
            "code[99]>0",
            "rate>",
            "rate>nan",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
