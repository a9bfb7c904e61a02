//! The findings as a table for people.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::findings::{Findings, Reasons, Step};

/// The whole report.
pub(super) fn render(findings: &Findings) -> String {
    let mut text = String::new();
    write(&mut text, findings).expect("writing to a string cannot fail");
    text
}

fn write(out: &mut String, findings: &Findings) -> fmt::Result {
    writeln!(out, "{}; times in milliseconds", findings.url)?;
    writeln!(
        out,
        "{:>7} {:>9} {:>8} {:>9} {:>9} {:>7} {:>7} {:>10} {:>10} {:>11} {:>11} {:>9} {:>8}",
        "callers",
        "requests",
        "served",
        "refused",
        "rejected",
        "errors",
        "failed",
        "served p50",
        "served p99",
        "refused p50",
        "refused p99",
        "overflow",
        "at once"
    )?;
    for step in &findings.steps {
        row(out, findings, step)?;
    }
    reasons(out, findings)?;
    conclusions(out, findings)?;
    for note in &findings.notes {
        writeln!(out, "note          {note}")?;
    }
    for unread in &findings.unread {
        writeln!(out, "NOT READ      {unread}")?;
    }
    for because in findings.invalid_because() {
        writeln!(out, "INVALID       {because}")?;
    }
    for broken in findings.broken() {
        writeln!(out, "FAILED        {broken}")?;
    }
    Ok(())
}

fn row(out: &mut String, findings: &Findings, step: &Step) -> fmt::Result {
    let known = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    let time = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.3}"));
    let percent = |count: u64| step.share(count) * 100.0;
    writeln!(
        out,
        "{:>7} {:>9} {:>7.1}% {:>8.1}% {:>8.1}% {:>7} {:>7} {:>10} {:>10} {:>11} {:>11} {:>9} {:>8}",
        step.callers,
        step.requests,
        percent(step.served),
        percent(step.refusals()),
        percent(step.rejected.values().sum()),
        step.other_errors,
        step.failed,
        time(step.served_ms.map(|(p50, _)| p50)),
        time(step.served_ms.map(|(_, p99)| p99)),
        time(step.refused_ms.map(|(p50, _)| p50)),
        time(step.refused_ms.map(|(_, p99)| p99)),
        known(step.overflow),
        known(findings.highest_of(step)),
    )
}

/// What proxies gave as reasons, a line for each: how often in all, and the share in each step that met it.
fn reasons(out: &mut String, findings: &Findings) -> fmt::Result {
    let refused: fn(&Step) -> &Reasons = |step| &step.refused;
    for (kind, of) in [("refused", refused), ("rejected", |step| &step.rejected)] {
        let mut lines: BTreeMap<&str, (u64, Vec<String>)> = BTreeMap::new();
        for step in &findings.steps {
            for (reason, count) in of(step) {
                let (sum, shares) = lines.entry(reason).or_default();
                *sum += count;
                shares.push(format!("{:.1}% with {}", step.share(*count) * 100.0, step.callers));
            }
        }
        for (reason, (sum, shares)) in lines {
            writeln!(out, "{kind:<13} {reason}: {sum}; {} callers", shares.join(", "))?;
        }
    }
    Ok(())
}

fn conclusions(out: &mut String, findings: &Findings) -> fmt::Result {
    match findings.opens_at() {
        Some(callers) => writeln!(out, "opens         with {callers} callers")?,
        None => writeln!(
            out,
            "opens         not with up to {} callers",
            findings.steps.last().map_or(0, |step| step.callers)
        )?,
    }
    if let (Some(highest), Some(limit)) = (findings.highest(), findings.expected_limit) {
        writeln!(
            out,
            "limit         {limit} {} configured, {highest} seen at once by the upstream",
            findings.limit_of.name()
        )?;
    }
    for ejection in &findings.ejections {
        writeln!(
            out,
            "ejected       {} endpoints of {} out from second {:.1}, {} ejections more (by {})",
            ejection.ejected, ejection.cluster, ejection.at_s, ejection.more, ejection.proxy
        )?;
    }
    if let Some(seconds) = findings.recovery_s {
        writeln!(out, "recovery      {seconds:.2} s after the load")?;
    }
    Ok(())
}
