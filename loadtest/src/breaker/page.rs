//! The findings as a page that opens from disk.

use super::findings::Findings;
use crate::report::chart::{Chart, Line};
use crate::report::html;

/// The whole page.
pub(super) fn render(findings: &Findings) -> String {
    let line = |name, class, of: &dyn Fn(&super::findings::Step) -> f64| Line {
        name,
        class,
        points: findings
            .steps
            .iter()
            .map(|step| (step.callers as f64, of(step)))
            .collect(),
    };
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64 * 100.0;
    let shares = Chart {
        title: "What becomes of requests",
        x_name: "callers at once",
        y_name: "percent",
        x_marks: Vec::new(),
        lines: vec![
            line("served", "best", &|step| share(step.served, step.requests)),
            line("refused by the breaker", "worst", &|step| {
                share(step.refusals(), step.requests)
            }),
        ],
    };
    let latencies = Chart {
        title: "What it costs the caller: p99",
        x_name: "callers at once",
        y_name: "ms",
        x_marks: Vec::new(),
        lines: vec![
            line("served", "best", &|step| step.served_ms.1),
            line("refused", "worst", &|step| step.refused_ms.1),
        ],
    };
    let charts = shares.render() + &latencies.render();
    html::page(
        &format!("Breaker in front of {}", findings.url),
        "",
        &charts,
        &findings.text(),
        &findings.json(),
    )
}
