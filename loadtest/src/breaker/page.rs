//! The findings as a page that opens from disk.

use super::findings::{Findings, Step};
use crate::report::chart::{Chart, Line};
use crate::report::html;

/// The whole page.
pub(super) fn render(findings: &Findings) -> String {
    let share = |count: u64, of: u64| Some(count as f64 / of.max(1) as f64 * 100.0);
    let chart = |title, y_name, lines| Chart {
        title,
        x_name: "callers at once",
        y_name,
        x_marks: Vec::new(),
        lines,
    };
    let shares = vec![
        line(findings, "served", "best", |step| share(step.served, step.requests)),
        line(findings, "refused by the breaker", "worst", |step| {
            share(step.refusals(), step.requests)
        }),
    ];
    let latencies = vec![
        line(findings, "served", "best", |step| step.served_ms.map(|(_, p99)| p99)),
        line(findings, "refused", "worst", |step| step.refused_ms.map(|(_, p99)| p99)),
    ];
    let mut charts =
        chart("What becomes of requests", "%", shares).render() + &chart("p99 of each", "ms", latencies).render();
    if findings.highest().is_some() {
        let at_once = vec![
            line(findings, "most that the upstream saw at once", "best", |step| {
                findings.highest_of(step).map(|count| count as f64)
            }),
            line(findings, "limit", "plan", |_| {
                findings.expected_limit.map(|limit| limit as f64)
            }),
        ];
        charts += &chart("At the upstream", "at once", at_once).render();
    }
    html::page(
        &format!("Breaker in front of {}", findings.url),
        &html::tiles(tiles(findings)),
        &charts,
        &findings.text(),
        &findings.json(),
    )
}

fn line<'a>(findings: &Findings, name: &'a str, class: &'a str, of: impl Fn(&Step) -> Option<f64>) -> Line<'a> {
    let points = findings.steps.iter();
    Line {
        name,
        class,
        points: points
            .filter_map(|step| Some((step.callers as f64, of(step)?)))
            .collect(),
    }
}

fn tiles(findings: &Findings) -> Vec<(&'static str, String)> {
    let known = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
    vec![
        (
            "opens with",
            known(findings.opens_at().map(|callers| format!("{callers} callers"))),
        ),
        ("limit", known(findings.expected_limit.map(|limit| limit.to_string()))),
        (
            "most at once",
            known(findings.highest().map(|highest| highest.to_string())),
        ),
        (
            "recovered after",
            known(findings.recovery_s.map(|seconds| format!("{seconds:.2} s"))),
        ),
        (
            "held",
            if findings.broken().is_empty() {
                "yes".to_owned()
            } else {
                "no".to_owned()
            },
        ),
    ]
}
