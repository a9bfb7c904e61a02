//! A run as a table for people.

use std::fmt::{self, Write};

use super::json::{PERCENTILES, reached};
use crate::run::Outcome;

/// The whole report.
pub(crate) fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    write(&mut text, outcome).expect("writing to a string cannot fail");
    text
}

fn write(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let tally = &outcome.tally;
    let settings = &outcome.settings;
    let urls: Vec<&str> = outcome
        .scenario
        .targets
        .iter()
        .map(|target| target.url.as_str())
        .collect();
    let seconds = outcome.elapsed.as_secs_f64();
    writeln!(out, "{}", urls.join(" "))?;
    match &settings.profile {
        Some(profile) => writeln!(
            out,
            "rate          {:.1}/s reached, {:.1}/s intended, in {seconds:.2} s; {} connections at the most, {} threads",
            reached(outcome),
            profile.mean_rate(),
            settings.connections,
            settings.threads
        )?,
        None => writeln!(
            out,
            "rate          {:.1}/s, as fast as answers came, in {seconds:.2} s; {} connections, {} threads",
            reached(outcome),
            settings.connections,
            settings.threads
        )?,
    }
    writeln!(
        out,
        "requests      {} answered, {} of them refused, {} failed, {} unsent",
        tally.answered(),
        tally.refused,
        tally.failed(),
        tally.unsent
    )?;
    latencies(out, outcome)?;
    let codes: Vec<String> = tally.codes().map(|(code, count)| format!("{code} × {count}")).collect();
    writeln!(out, "codes         {}", codes.join(", "))?;
    let grpc_codes: Vec<String> = tally
        .grpc_codes()
        .map(|(code, count)| format!("{code} × {count}"))
        .collect();
    if !grpc_codes.is_empty() {
        writeln!(out, "grpc codes    {}", grpc_codes.join(", "))?;
    }
    for (phase, kind, count) in tally.errors().filter(|(.., count)| *count > 0) {
        writeln!(out, "error         {} in phase {}: {count}", kind.name(), phase.name())?;
    }
    for (flag, count) in &tally.flags {
        writeln!(out, "mesh flag     {flag}: {count}")?;
    }
    for (reason, count) in &tally.reasons {
        writeln!(out, "mesh reason   {reason}: {count}")?;
    }
    writeln!(
        out,
        "connections   {} opened, {} requests on one that was open; {} bytes in, {} out",
        tally.opened, tally.reused, tally.bytes_in, tally.bytes_out
    )?;
    let requests = (tally.answered() + tally.failed()).max(1);
    writeln!(
        out,
        "generator     {:.1} µs of CPU a request; sends late by p99 {:.3} ms",
        outcome.cpu.as_secs_f64() * 1e6 / requests as f64,
        tally.pacing.value_at_quantile(0.99) as f64 / 1e3
    )?;
    for note in &outcome.verdict.notes {
        writeln!(out, "note          {note}")?;
    }
    if outcome.interrupted {
        writeln!(out, "note          ended early on request")?;
    }
    for because in &outcome.verdict.invalid_because {
        writeln!(out, "INVALID       {because}")?;
    }
    Ok(())
}

fn latencies(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let milliseconds = |microseconds: u64| microseconds as f64 / 1e3;
    let (latency, service) = (&outcome.tally.latency, &outcome.tally.service_time);
    writeln!(out, "milliseconds  {:>12} {:>12}", "latency", "service time")?;
    for (name, quantile) in PERCENTILES {
        writeln!(
            out,
            "  {name:<11} {:>12.3} {:>12.3}",
            milliseconds(latency.value_at_quantile(quantile)),
            milliseconds(service.value_at_quantile(quantile))
        )?;
    }
    writeln!(
        out,
        "  {:<11} {:>12.3} {:>12.3}",
        "max",
        milliseconds(latency.max()),
        milliseconds(service.max())
    )?;
    writeln!(
        out,
        "  {:<11} {:>12.3} {:>12.3}",
        "mean",
        latency.mean() / 1e3,
        service.mean() / 1e3
    )
}
