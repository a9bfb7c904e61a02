//! The counters as Prometheus text.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use weft_xds::TypeUrl;

use super::Metrics;
use super::metrics::BOUNDS_MS;
use crate::status::{State, Summary};

/// Prometheus text (version 0.0.4) of the counters and of the present state.
///
/// Names that Istio's dashboards ask for (`pilot_…`) are kept where they mean the same thing here.
pub fn render(metrics: &Metrics, summary: &Summary) -> String {
    let mut text = String::with_capacity(4096);
    head(
        &mut text,
        "weft_control_objects",
        "gauge",
        "Objects known, by kind and by what became of them.",
    );
    for ((kind, state), count) in &summary.objects {
        line(
            &mut text,
            "weft_control_objects",
            &[("kind", kind), ("state", word(*state))],
            *count,
        );
    }
    head(
        &mut text,
        "weft_control_findings",
        "gauge",
        "Present findings, by severity.",
    );
    for (severity, count) in &summary.findings {
        line(&mut text, "weft_control_findings", &[("severity", severity)], *count);
    }
    single(
        &mut text,
        "weft_control_world_generation",
        "gauge",
        "Number of the newest world.",
        summary.world,
    );
    let batches = metrics.batches.load(Relaxed);
    single(
        &mut text,
        "weft_control_batches_total",
        "counter",
        "Batches of changes taken in.",
        batches,
    );
    let refusals = summary.refusals;
    single(
        &mut text,
        "weft_control_refused_types",
        "gauge",
        "Resource types that a connected proxy refuses.",
        refusals,
    );
    single(&mut text, "pilot_xds", "gauge", "Connected proxies.", summary.proxies);
    by_type(&mut text, metrics);
    convergence(&mut text, metrics);
    text
}

fn by_type(text: &mut String, metrics: &Metrics) {
    head(text, "pilot_xds_pushes", "counter", "Responses sent, by resource type.");
    for kind in TypeUrl::ALL {
        let count = metrics.pushes[kind.index()].load(Relaxed);
        line(
            text,
            "pilot_xds_pushes",
            &[("type", &kind.short().to_ascii_lowercase())],
            count,
        );
    }
    head(
        text,
        "pilot_total_xds_rejects",
        "counter",
        "Responses refused by proxies, by resource type.",
    );
    for kind in TypeUrl::ALL {
        let count = metrics.rejects[kind.index()].load(Relaxed);
        line(
            text,
            "pilot_total_xds_rejects",
            &[("type", &kind.short().to_ascii_lowercase())],
            count,
        );
    }
}

fn convergence(text: &mut String, metrics: &Metrics) {
    let name = "pilot_proxy_convergence_time";
    head(
        text,
        name,
        "histogram",
        "Seconds from the start of a push to its last acknowledgement.",
    );
    let (mut total, bucket) = (0, format!("{name}_bucket"));
    for (place, count) in metrics.convergence.counts.iter().enumerate() {
        total += count.load(Relaxed);
        let bound = BOUNDS_MS
            .get(place)
            .map_or("+Inf".to_owned(), |bound| (*bound as f64 / 1e3).to_string());
        line(text, &bucket, &[("le", &bound)], total);
    }
    // Writing to a String cannot fail.
    _ = writeln!(
        text,
        "{name}_sum {}",
        metrics.convergence.sum_us.load(Relaxed) as f64 / 1e6
    );
    _ = writeln!(text, "{name}_count {total}");
}

fn word(state: State) -> &'static str {
    match state {
        State::Accepted => "accepted",
        State::LastGood => "last_good",
        State::Refused => "refused",
        State::File => "file",
    }
}

fn single(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    head(text, name, kind, help);
    line(text, name, &[], value);
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Label values are words of our own, so nothing needs escaping.
fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    _ = match labels.is_empty() {
        true => writeln!(text, "{name} {value}"),
        false => writeln!(text, "{name}{{{}}} {value}", labels.join(",")),
    };
}
