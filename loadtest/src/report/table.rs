//! A run as a table for people.

use std::fmt::{self, Write};

use hdrhistogram::Histogram;

use super::json::{PERCENTILES, reached};
use crate::run::Outcome;
use crate::tally::Tally;

/// The whole report.
pub(crate) fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    write(&mut text, outcome).expect("writing to a string cannot fail");
    text
}

fn write(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let targets = outcome.scenario.targets.iter();
    let urls: Vec<&str> = targets.map(|target| target.url.as_str()).collect();
    writeln!(out, "{}", urls.join(" "))?;
    rates(out, outcome)?;
    let tally = &outcome.tally;
    writeln!(
        out,
        "requests      {} answered, {} of them refused, {} failed, {} unsent",
        tally.answered(),
        tally.refused,
        tally.failed(),
        tally.unsent
    )?;
    latencies(out, outcome)?;
    answers(out, &outcome.tally)?;
    let settings = &outcome.settings;
    writeln!(
        out,
        "connections   {} opened, at most {} at once; {} requests on one that was open",
        tally.opened, settings.connections, tally.reused
    )?;
    if tally.lost > 0 {
        writeln!(
            out,
            "              {} closed under a request, which was sent again",
            tally.lost
        )?;
    }
    writeln!(out, "bytes         {} in, {} out", tally.bytes_in, tally.bytes_out)?;
    let requests = (tally.answered() + tally.failed()).max(1);
    writeln!(
        out,
        "generator     {} threads, {:.1} µs of CPU a request; sends late by p99 {:.3} ms",
        settings.threads,
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

fn rates(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let (rate, seconds) = (reached(outcome), outcome.elapsed.as_secs_f64());
    match &outcome.settings.profile {
        Some(profile) => writeln!(
            out,
            "rate          {rate:.1}/s reached, {:.1}/s intended, in {seconds:.2} s",
            profile.mean_rate(),
        ),
        None => writeln!(
            out,
            "rate          {rate:.1}/s, as fast as answers came, in {seconds:.2} s"
        ),
    }
}

/// Codes, errors, and what a mesh says about replies of its own.
fn answers(out: &mut String, tally: &Tally) -> fmt::Result {
    let counted = |codes: &mut dyn Iterator<Item = (u16, u64)>| {
        let codes: Vec<String> = codes.map(|(code, count)| format!("{code} × {count}")).collect();
        codes.join(", ")
    };
    let (codes, grpc_codes) = (counted(&mut tally.codes()), counted(&mut tally.grpc_codes()));
    writeln!(out, "codes         {}", if codes.is_empty() { "none" } else { &codes })?;
    if !grpc_codes.is_empty() {
        writeln!(out, "grpc codes    {grpc_codes}")?;
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
    Ok(())
}

fn latencies(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let (latency, service) = (&outcome.tally.latency, &outcome.tally.service_time);
    writeln!(out, "milliseconds  {:>12} {:>12}", "latency", "service time")?;
    let mut row = |name: &str, of: &dyn Fn(&Histogram<u64>) -> f64| {
        // Of nothing there are no percentiles.
        let figure = |histogram: &Histogram<u64>| match histogram.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.3}", of(histogram) / 1e3),
        };
        writeln!(out, "  {name:<11} {:>12} {:>12}", figure(latency), figure(service))
    };
    for (name, quantile) in PERCENTILES {
        row(name, &|histogram| histogram.value_at_quantile(quantile) as f64)?;
    }
    row("max", &|histogram| histogram.max() as f64)?;
    row("mean", &Histogram::mean)
}
