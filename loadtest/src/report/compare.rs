//! in → out: two results as JSON → both side by side, with a verdict for each figure.
//! owns: what counts as a difference.
//! may not touch: files.

use std::fmt::Write;

use serde_json::{Value, json};

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
}

/// Compares B with A. A figure that differs by less than `tolerance` (0.05 for 5%) is the same.
///
/// # Errors
/// If either is no result of this program.
pub(crate) fn compare(a: &Value, b: &Value, tolerance: f64) -> Result<Comparison, String> {
    for (name, result) in [("A", a), ("B", b)] {
        if result["schema"] != 1 || !result["latency_ms"].is_object() {
            return Err(format!("{name} is no result of `weft load --output json`"));
        }
    }
    let mut rows = Vec::new();
    for (group, label) in [("latency_ms", "latency"), ("service_time_ms", "service time")] {
        for name in ["p50", "p75", "p90", "p99", "p99.9", "p99.99", "max", "mean"] {
            rows.push(row(
                format!("{label} {name} ms"),
                &a[group][name],
                &b[group][name],
                tolerance,
                false,
            ));
        }
    }
    let rate = |result: &Value| result["rate"]["reached"].clone();
    rows.push(row("rate per second".to_owned(), &rate(a), &rate(b), tolerance, true));
    let errors = |result: &Value| {
        let failed = result["requests"]["failed"].as_f64().unwrap_or_default();
        let answered = result["requests"]["answered"].as_f64().unwrap_or_default();
        json!(failed / (failed + answered).max(1.0) * 100.0)
    };
    rows.push(row("failed %".to_owned(), &errors(a), &errors(b), tolerance, false));
    Ok(Comparison {
        rows,
        doubts: doubts(a, b),
    })
}

fn doubts(a: &Value, b: &Value) -> Vec<String> {
    let mut doubts = Vec::new();
    for (name, result) in [("A", a), ("B", b)] {
        if result["valid"] != true {
            doubts.push(format!("{name} is invalid: {}", result["invalid_because"]));
        }
    }
    for input in ["loop", "protocol", "connections", "duration_s", "urls"] {
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
    doubts
}

fn row(name: String, a: &Value, b: &Value, tolerance: f64, more_is_better: bool) -> Row {
    let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
    let larger = a.abs().max(b.abs());
    let verdict = if larger == 0.0 || (a - b).abs() <= tolerance * larger {
        Verdict::Same
    } else if (b > a) == more_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    };
    Row { name, a, b, verdict }
}

impl Comparison {
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
    fn runs_that_are_not_alike_are_doubted() {
        let mut other = result(10.0, 100.0);
        other["valid"] = false.into();
        other["inputs"]["connections"] = 2.into();
        assert_eq!(compare(&result(10.0, 100.0), &other, 0.05).unwrap().doubts.len(), 2);
        assert!(compare(&json!({}), &other, 0.05).is_err());
    }
}
