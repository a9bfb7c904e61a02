//! The findings as a page that opens from disk.

use std::collections::BTreeMap;

use super::findings::{Findings, Step};
use super::{json, text};
use crate::report::chart::{Chart, Line};
use crate::report::html;

/// Classes of lines for reasons, and so the number of reasons that have a line of their own.
const REASON_CLASSES: [&str; 4] = ["worst", "middle", "third", "fourth"];

/// The whole page.
pub(super) fn render(findings: &Findings) -> String {
    let invalid: String = findings
        .invalid_because()
        .iter()
        .map(|because| format!("<p class=\"invalid\">Not to be believed: {}</p>", html::escape(because)))
        .chain(
            findings
                .unread
                .iter()
                .map(|unread| format!("<p class=\"invalid\">Not read: {}</p>", html::escape(unread))),
        )
        .collect();
    html::page(
        &format!("Breaker in front of {}", findings.url),
        &(invalid + &html::tiles(tiles(findings))),
        &(shares(findings) + &latencies(findings) + &at_once(findings)),
        &text::render(findings),
        &json::render(findings),
    )
}

fn chart(title: &'static str, y_name: &'static str, lines: Vec<Line<'_>>) -> String {
    let chart = Chart {
        title,
        x_name: "callers at once",
        y_name,
        x_marks: Vec::new(),
        lines,
    };
    chart.render()
}

/// What became of requests; rejections by reason.
fn shares(findings: &Findings) -> String {
    let names: Vec<(String, String)> = reasons(findings)
        .into_iter()
        .map(|reason| (format!("rejected: {}", html::escape(&reason)), reason))
        .collect();
    let of = |step: &Step, reason: &str| -> u64 {
        let counts = step.reasons().filter(|(known, _)| *known == reason);
        counts.map(|(_, count)| count).sum()
    };
    let percent = |step: &Step, count| Some(step.share(count) * 100.0);
    let mut lines = vec![line(findings, "served", "best", |step| percent(step, step.served))];
    for ((name, reason), class) in names.iter().zip(REASON_CLASSES) {
        lines.push(line(findings, name, class, |step| percent(step, of(step, reason))));
    }
    let rest = |step: &Step| {
        let shown: u64 = names.iter().map(|(_, reason)| of(step, reason)).sum();
        step.requests.saturating_sub(step.served + shown)
    };
    if findings.steps.iter().any(|step| rest(step) > 0) {
        lines.push(line(findings, "all other errors", "plan", |step| {
            percent(step, rest(step))
        }));
    }
    chart("What becomes of requests", "%", lines)
}

/// The reasons that have lines of their own: the most frequent ones.
fn reasons(findings: &Findings) -> Vec<String> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in findings.steps.iter().flat_map(Step::reasons) {
        *sums.entry(reason).or_default() += count;
    }
    let mut sums: Vec<(&str, u64)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = sums.into_iter().take(REASON_CLASSES.len());
    most.map(|(reason, _)| reason.to_owned()).collect()
}

fn latencies(findings: &Findings) -> String {
    let lines = vec![
        line(findings, "served", "best", |step| step.served_ms.map(|(_, p99)| p99)),
        line(findings, "refused", "worst", |step| step.refused_ms.map(|(_, p99)| p99)),
    ];
    chart("p99 of each", "ms", lines)
}

fn at_once(findings: &Findings) -> String {
    if findings.highest().is_none() {
        return String::new();
    }
    let name = format!("most {} that the upstream saw at once", findings.limit_of.name());
    let mut lines = vec![line(findings, &name, "best", |step| {
        findings.highest_of(step).map(|count| count as f64)
    })];
    if let Some(limit) = findings.expected_limit {
        lines.push(line(findings, "limit", "plan", |_| Some(limit as f64)));
    }
    chart("At the upstream", "at once", lines)
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

fn tiles(findings: &Findings) -> [(&'static str, String); 6] {
    let known = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    [
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
        ("valid", yes(findings.invalid_because().is_empty())),
        ("held", yes(findings.held())),
    ]
}
