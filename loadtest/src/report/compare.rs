//! in → out: two results as JSON → both side by side, with a verdict for each figure.
//! owns: what counts as a difference.
//! may not touch: files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use crate::expect::{codes, error_rate, failed, grpc_errors, share};

/// A figure of both runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    name: String,
    a: f64,
    b: f64,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Better,
    Same,
    Worse,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "same",
            Self::Worse => "worse",
        }
    }
}

/// Two results, compared.
pub(crate) struct Comparison {
    rows: Vec<Row>,
    /// What makes the comparison doubtful.
    doubts: Vec<String>,
    /// One of the runs says itself that its figures are not to be believed.
    invalid: bool,
}

/// Compares B with A. A figure that differs by less than `tolerance` (0.05 for 5%) is the same.
///
/// # Errors
/// If either is not a result of this program.
pub(crate) fn compare(a: &Value, b: &Value, tolerance: f64) -> Result<Comparison, String> {
    for (name, result) in [("A", a), ("B", b)] {
        if result["schema"] != 1 || !result["latency_ms"].is_object() {
            return Err(format!("{name} is not a result of `weft load --output json`"));
        }
    }
    let row = |name: &str, of: &dyn Fn(&Value) -> f64, more_is_better| {
        let (a, b) = (of(a), of(b));
        let verdict = verdict(a, b, tolerance, more_is_better);
        let name = name.to_owned();
        Row { name, a, b, verdict }
    };
    let mut rows = Vec::new();
    for (group, label) in [("latency_ms", "latency"), ("service_time_ms", "service time")] {
        for name in ["p50", "p75", "p90", "p99", "p99.9", "p99.99", "max", "mean"] {
            let of = |result: &Value| number(&result[group][name]);
            rows.push(row(&format!("{label} {name} ms"), &of, false));
        }
    }
    rows.push(row(
        "rate per second",
        &|result| number(&result["rate"]["reached"]),
        true,
    ));
    rows.push(row("error rate %", &error_rate, false));
    for class in ["4xx", "5xx"] {
        rows.push(row(
            &format!("{class} %"),
            &|result| share(result, codes(result, class)),
            false,
        ));
    }
    rows.push(row(
        "gRPC errors %",
        &|result| share(result, grpc_errors(result)),
        false,
    ));
    rows.push(row("failed %", &|result| share(result, failed(result)), false));
    rows.push(row("unsent %", &unsent, false));
    Ok(Comparison {
        rows,
        doubts: doubts(a, b, tolerance),
        invalid: a["valid"] != true || b["valid"] != true,
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

/// Share of the intended requests that were never sent, in percent.
fn unsent(result: &Value) -> f64 {
    let requests = &result["requests"];
    let unsent = number(&requests["unsent"]);
    let sent = number(&requests["answered"]) + number(&requests["failed"]);
    unsent / (unsent + sent).max(1.0) * 100.0
}

/// What makes the comparison doubtful: figures of different things cannot be better or worse than each other.
fn doubts(a: &Value, b: &Value, tolerance: f64) -> Vec<String> {
    let mut doubts = Vec::new();
    for (name, result) in [("A", a), ("B", b)] {
        if result["valid"] != true {
            let because = result["invalid_because"].as_array().into_iter().flatten();
            let because: Vec<&str> = because.filter_map(Value::as_str).collect();
            doubts.push(format!("{name} is invalid: {}", because.join("; ")));
        }
        if result["interrupted"] == true || result["ended_early"].is_string() {
            doubts.push(format!("{name} ended early"));
        }
    }
    for input in [
        "loop",
        "protocol",
        "connections",
        "streams",
        "duration_s",
        "timeout_s",
        "urls",
    ] {
        let (mine, theirs) = (&a["inputs"][input], &b["inputs"][input]);
        if mine != theirs {
            doubts.push(format!("{input} differs: {mine} and {theirs}"));
        }
    }
    if a["rate"]["intended"] != b["rate"]["intended"] {
        doubts.push(format!(
            "rate differs: {} and {}",
            a["rate"]["intended"], b["rate"]["intended"]
        ));
    }
    for kind in ["codes", "grpc_codes"] {
        let (mine, theirs) = (shares(a, kind), shares(b, kind));
        let all: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
        let of = |shares: &BTreeMap<String, f64>, code: &String| shares.get(code).copied().unwrap_or_default();
        if all
            .iter()
            .any(|code| (of(&mine, code) - of(&theirs, code)).abs() > tolerance)
        {
            doubts.push(format!(
                "{kind} differ, so times are of different answers: {} and {}",
                a[kind], b[kind]
            ));
        }
    }
    doubts
}

/// Codes with their shares of the requests that were sent.
fn shares(result: &Value, kind: &str) -> BTreeMap<String, f64> {
    let codes = result[kind].as_object().into_iter().flatten();
    codes
        .map(|(code, count)| (code.clone(), share(result, number(count)) / 100.0))
        .collect()
}

fn verdict(a: f64, b: f64, tolerance: f64, more_is_better: bool) -> Verdict {
    let larger = a.abs().max(b.abs());
    if larger == 0.0 || (a - b).abs() <= tolerance * larger {
        Verdict::Same
    } else if (b > a) == more_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

impl Comparison {
    /// Any figure of B is worse than A's.
    pub(crate) fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Worse)
    }

    /// Either run is invalid.
    pub(crate) fn is_invalid(&self) -> bool {
        self.invalid
    }

    /// A table for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{:<22} {:>12} {:>12} {:>8}  B is\n", "", "A", "B", "B/A");
        for row in &self.rows {
            let ratio = if row.a == 0.0 {
                "-".to_owned()
            } else {
                format!("{:.2}", row.b / row.a)
            };
            writeln!(
                text,
                "{:<22} {:>12.3} {:>12.3} {ratio:>8}  {}",
                row.name,
                row.a,
                row.b,
                row.verdict.name()
            )
            .expect("writing to a string cannot fail");
        }
        for doubt in &self.doubts {
            text += &format!("doubtful: {doubt}\n");
        }
        text
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let rows = self
            .rows
            .iter()
            .map(|row| json!({"figure": row.name, "a": row.a, "b": row.b, "b_is": row.verdict.name()}));
        json!({"rows": rows.collect::<Vec<_>>(), "doubts": self.doubts})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(p99: f64, rate: f64) -> Value {
        json!({
            "schema": 1, "valid": true, "latency_ms": {"p99": p99}, "service_time_ms": {}, "rate": {"reached": rate},
            "requests": {"answered": 10, "failed": 0}, "inputs": {"connections": 1},
        })
    }

    #[test]
    fn each_figure_gets_a_verdict_in_its_own_direction() {
        let compared = compare(&result(10.0, 100.0), &result(5.0, 50.0), 0.05).unwrap();
        let verdict = |name: &str| compared.rows.iter().find(|row| row.name == name).unwrap().verdict;
        assert_eq!(verdict("latency p99 ms"), Verdict::Better);
        assert_eq!(verdict("rate per second"), Verdict::Worse);
        assert_eq!(verdict("latency p50 ms"), Verdict::Same);
        let close = compare(&result(10.0, 100.0), &result(10.4, 97.0), 0.05).unwrap();
        assert!(close.rows.iter().all(|row| row.verdict == Verdict::Same));
    }

    #[test]
    fn a_service_that_refuses_everything_is_not_better_for_being_quick() {
        let with_codes = |p99: f64, codes: Value| {
            let mut result = result(p99, 50.0);
            result["requests"] = json!({"answered": 45, "failed": 5, "unsent": 50});
            result["codes"] = codes;
            result
        };
        let mut good = with_codes(20.0, json!({"200": 45}));
        good["requests"] = json!({"answered": 45, "failed": 0, "unsent": 0});
        let bad = with_codes(0.3, json!({"404": 9, "503": 36}));
        let compared = compare(&good, &bad, 0.05).unwrap();
        for (name, wanted) in [
            ("error rate %", 82.0),
            ("4xx %", 18.0),
            ("5xx %", 72.0),
            ("failed %", 10.0),
            ("unsent %", 50.0),
        ] {
            let row = compared.rows.iter().find(|row| row.name == name).unwrap();
            assert_eq!((row.b, row.verdict), (wanted, Verdict::Worse), "{name}");
        }
        assert!(compared.is_worse() && !compared.is_invalid());
        assert_eq!(compared.doubts.len(), 1, "{:?}", compared.doubts);
        assert!(compared.doubts[0].contains("codes differ"), "{:?}", compared.doubts);
        assert!(!compare(&good, &good, 0.05).unwrap().is_worse());
    }

    #[test]
    fn runs_that_are_not_alike_are_doubted() {
        let mut other = result(10.0, 100.0);
        other["valid"] = false.into();
        other["inputs"]["connections"] = 2.into();
        assert_eq!(compare(&result(10.0, 100.0), &other, 0.05).unwrap().doubts.len(), 2);
        assert!(compare(&result(10.0, 100.0), &other, 0.05).unwrap().is_invalid());
        assert!(compare(&json!({}), &other, 0.05).is_err());
        let alike = compare(&result(10.0, 100.0), &result(10.0, 100.0), 0.05).unwrap();
        assert!(!alike.text().contains("-0.000"), "{}", alike.text());
    }
}
