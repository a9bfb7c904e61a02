//! The exercise: steps of more and more callers, questions between them, and a wait for recovery.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::sync::mpsc;

use super::fetch::fetch;
use super::figures::{self, Figures};
use super::findings::{Ejection, Findings, Step};
use super::flags::{BreakerArgs, Steps};
use super::page;
use crate::clock;
use crate::exit::Exit;
use crate::flags::{Output, Settings};
use crate::run::{self, Outcome, Totals, Watcher};
use crate::scenario::{Protocol, Scenario};
use crate::series::Series;
use crate::tally::Tally;

/// How often proxies are asked for ejections.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Good answers in a row that count as recovered.
const GOOD_IN_A_ROW: u64 = 10;
/// Length of a probe after the load: one caller.
const PROBE: Duration = Duration::from_millis(100);

/// Nobody watches a step.
struct Unwatched;

impl Watcher for Unwatched {
    fn second(&mut self, _: &Series, _: &Totals) {}
}

/// Runs the exercise and prints its findings.
///
/// # Errors
/// An exit code and one line.
pub(crate) async fn run(
    args: &BreakerArgs,
    steps: &Steps,
    scenario: Arc<Scenario>,
    settings: Settings,
    mut interrupt: mpsc::Receiver<()>,
) -> Result<Exit, (Exit, String)> {
    let findings = Rc::new(RefCell::new(Findings {
        url: scenario.targets[0].url.clone(),
        expected_limit: args.expect_limit,
        multiplexed: matches!(scenario.protocol, Protocol::Http2 | Protocol::Grpc),
        ..Findings::default()
    }));
    let asking = |line: String| (Exit::Connect, line);
    let begun = clock::now();
    let started = look(args).await.map_err(asking)?;
    let watching = tokio::task::spawn_local(watch(args.clone(), findings.clone(), begun));
    let mut interrupted = false;
    for callers in &steps.callers {
        let (step, ended) = step(args, &scenario, &settings, *callers, steps.length, &mut interrupt).await?;
        if std::io::stderr().is_terminal() {
            eprintln!(
                "{callers} callers: {} requests, {} refused",
                step.requests,
                step.refusals()
            );
        }
        findings.borrow_mut().steps.push(step);
        interrupted = ended;
        if interrupted {
            break;
        }
    }
    let mut recovery = None;
    if !interrupted {
        (recovery, interrupted) = recover(&scenario, &settings, steps.recovery, &mut interrupt).await?;
    }
    watching.abort();
    let mut findings = findings.borrow().clone();
    findings.recovery_s = recovery;
    if interrupted {
        findings.notes.push("ended early on request".to_owned());
    }
    if let (Some(before), Some(after)) = (started, look(args).await.map_err(asking)?) {
        let ejections = after.ejections.saturating_sub(before.ejections);
        findings.notes.push(format!("{ejections} ejections in all"));
    }
    let failed = |error: std::io::Error| (Exit::Failed, format!("the findings cannot be written: {error}"));
    if let Some(path) = &args.run.html {
        std::fs::write(path, page::render(&findings)).map_err(failed)?;
    }
    match args.run.output {
        Output::Json => println!("{}", findings.json()),
        Output::Html => print!("{}", page::render(&findings)),
        _ => print!("{}", findings.text()),
    }
    Ok(if interrupted {
        Exit::Interrupted
    } else if findings.broken().is_empty() {
        Exit::Fine
    } else {
        Exit::Expectation
    })
}

/// One step: its load, and what proxies and upstream say about it; and whether somebody has asked for an end.
async fn step(
    args: &BreakerArgs,
    scenario: &Arc<Scenario>,
    settings: &Settings,
    callers: usize,
    length: Duration,
    interrupt: &mut mpsc::Receiver<()>,
) -> Result<(Step, bool), (Exit, String)> {
    let asking = |line: String| (Exit::Connect, line);
    if let Some(ledger) = &args.ledger {
        fetch(Method::POST, &format!("{}/ledger/clear", ledger.trim_end_matches('/')))
            .await
            .map_err(asking)?;
    }
    let before = look(args).await.map_err(asking)?;
    let outcome = load(scenario, settings, callers, length, interrupt).await?;
    let after = look(args).await.map_err(asking)?;
    let mut step = of_tally(&outcome.tally, callers);
    step.overflow = before
        .zip(after)
        .map(|(before, after)| after.overflow.saturating_sub(before.overflow));
    if let Some(ledger) = &args.ledger {
        let url = format!("{}/ledger", ledger.trim_end_matches('/'));
        let bytes = fetch(Method::GET, &url).await.map_err(asking)?;
        let ledger: Value = serde_json::from_slice(&bytes).map_err(|error| asking(format!("{url}: {error}")))?;
        step.connections_highest = ledger["connections"]["open_highest"].as_u64();
        step.in_flight_highest = ledger["requests"]["in_flight_highest"].as_u64();
    }
    Ok((step, outcome.interrupted))
}

fn of_tally(tally: &Tally, callers: usize) -> Step {
    let milliseconds = |histogram: &hdrhistogram::Histogram<u64>| {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        (!histogram.is_empty()).then(|| (at(0.5), at(0.99)))
    };
    let refused: Vec<(String, u64)> = tally.reasons.clone().into_iter().collect();
    let refusals: u64 = refused.iter().map(|(_, count)| count).sum();
    Step {
        callers,
        requests: tally.answered() + tally.failed(),
        served: tally.answered() - tally.refused,
        refused,
        other_errors: tally.refused.saturating_sub(refusals),
        failed: tally.failed(),
        served_ms: milliseconds(&tally.served),
        refused_ms: milliseconds(&tally.refusals),
        ..Step::default()
    }
}

/// A closed loop of `callers`, each on a connection of its own.
async fn load(
    scenario: &Arc<Scenario>,
    settings: &Settings,
    callers: usize,
    length: Duration,
    interrupt: &mut mpsc::Receiver<()>,
) -> Result<Outcome, (Exit, String)> {
    let settings = Settings {
        profile: None,
        duration: length,
        connections: callers,
        threads: settings.threads.min(callers),
        ..settings.clone()
    };
    let (ask, asked) = mpsc::channel(1);
    let mut watcher = Unwatched;
    let mut running = std::pin::pin!(run::run(scenario.clone(), settings, &mut watcher, asked));
    // Cancel safe: the run is only polled; wishes to end are handed on until nobody can have any more.
    let done = loop {
        tokio::select! {
            done = running.as_mut() => break done,
            Some(()) = interrupt.recv() => drop(ask.try_send(())),
        }
    };
    done.map_err(|error| (Exit::Failed, format!("the run cannot go on: {error}")))
}

/// Probes with one caller until enough answers in a row are good; the seconds since the load, to when they began, and
/// whether somebody has asked for an end.
async fn recover(
    scenario: &Arc<Scenario>,
    settings: &Settings,
    longest: Duration,
    interrupt: &mut mpsc::Receiver<()>,
) -> Result<(Option<f64>, bool), (Exit, String)> {
    let begun = clock::now();
    let since = || Duration::from_nanos(clock::now() - begun);
    let mut good = 0;
    let mut good_since = Duration::ZERO;
    while since() < longest {
        if good == 0 {
            good_since = since();
        }
        let probe = load(scenario, settings, 1, PROBE, interrupt).await?;
        if probe.interrupted {
            return Ok((None, true));
        }
        let step = of_tally(&probe.tally, 1);
        good = if step.served == step.requests {
            good + step.served
        } else {
            0
        };
        if good >= GOOD_IN_A_ROW {
            return Ok((Some(good_since.as_secs_f64()), false));
        }
    }
    Ok((None, false))
}

/// Asks all proxies; `None` where there are none to ask.
async fn look(args: &BreakerArgs) -> Result<Option<Figures>, String> {
    if args.metrics.is_empty() {
        return Ok(None);
    }
    let mut figures = Figures::default();
    for url in &args.metrics {
        let bytes = fetch(Method::GET, url).await?;
        figures::add(&mut figures, &String::from_utf8_lossy(&bytes), &args.cluster);
    }
    Ok(Some(figures))
}

/// Notes when endpoints are taken out and come back.
async fn watch(args: BreakerArgs, findings: Rc<RefCell<Findings>>, begun: u64) {
    let mut last = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Between two looks a proxy may be too busy to answer; the next one tells.
        let Ok(Some(figures)) = look(&args).await else { continue };
        if figures.ejected != last {
            last = figures.ejected;
            findings.borrow_mut().ejections.push(Ejection {
                at_s: (clock::now() - begun) as f64 / clock::SECOND as f64,
                ejected: last,
            });
        }
    }
}
