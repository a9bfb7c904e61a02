//! in → out: flags → a run, its report and an exit code.
//! owns: the order of things: check, resolve, reach, run, report.
//! may not touch: a request.

use std::fs::File;
use std::io::Read;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::breaker::{self, BreakerArgs};
use crate::client::response::HEADERS_MAX;
use crate::client::{Kind, Phase};
use crate::exit::Exit;
use crate::expect::{self, Held};
use crate::flags::{CompareArgs, CompareOutput, Output, RunArgs, Settings};
use crate::print::{complain, out};
use crate::reach::{PRESENT, reach};
use crate::refusal::refuse;
use crate::report::page_file::PageFile;
use crate::report::{self, live::Live};
use crate::run::{self, Outcome};
use crate::scenario::Scenario;
use crate::serve::{self, ServeArgs};
use crate::target::{self, TargetError};

/// Bytes of a result that is compared, at most.
const RESULT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The command line of the load tester.
#[derive(Clone, Debug, Parser)]
#[command(name = "weft-load", version, about = "Sends load, and says what became of it")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Show two results side by side, with a verdict for each figure
    Compare(CompareArgs),
    /// Raise the load on a service until its breaker opens, and say whom it refuses and whether its limit holds
    Breaker(Box<BreakerArgs>),
    /// Be the upstream: answer as told, and keep a ledger of who asked for what
    Serve(ServeArgs),
}

/// Reads a command line and runs it, as the program `weft-load`.
pub fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => run(args, "weft-load"),
        Err(error) => refuse("weft-load", &error),
    }
}

/// Runs the load tester; lines on standard error begin with `program`.
pub fn run(args: Args, program: &str) -> ExitCode {
    let done = match &args.verb {
        None => load(&args.run, program),
        Some(Verb::Compare(args)) => compare(args),
        Some(Verb::Breaker(args)) => breaker(args),
        Some(Verb::Serve(args)) => serve(args),
    };
    match done {
        Ok(exit) => exit.into(),
        Err((exit, line)) => {
            complain(program, &line);
            exit.into()
        }
    }
}

/// What ends a run before its report: the exit code and one line.
pub(crate) type Refusal = (Exit, String);

/// What to send, and when, out of the flags of a run.
fn prepare(args: &RunArgs) -> Result<(Arc<Scenario>, Settings), Refusal> {
    let processors = available_parallelism().map_or(1, usize::from);
    let settings = args.settings(processors).map_err(|error| usage(&error))?;
    let scenario = target::scenario(args, settings.timeout, &look_up).map_err(|error| match error {
        TargetError::Flag(error) => usage(&error),
        TargetError::Resolve { .. } => (Exit::Resolve, error.to_string()),
    })?;
    Ok((Arc::new(scenario), settings))
}

fn usage(error: &dyn std::fmt::Display) -> Refusal {
    (Exit::Usage, error.to_string())
}

fn runtime() -> Result<Runtime, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| (Exit::Failed, format!("no runtime: {error}")))
}

fn load(args: &RunArgs, program: &str) -> Result<Exit, Refusal> {
    let expectations = args
        .expect
        .iter()
        .map(|text| expect::parse(text))
        .collect::<Result<Vec<_>, _>>();
    let expectations = expectations.map_err(|error| usage(&error))?;
    let (scenario, settings) = prepare(args)?;
    let runtime = runtime()?;
    let mut live = Live::new(settings.profile.clone(), settings.duration);
    let (page, outcome) = runtime.block_on(async {
        reach(&scenario).await?;
        let page = page_file(args)?;
        let outcome = run::run(scenario, settings, &mut live, interrupts()).await;
        let outcome = outcome.map_err(|error| (Exit::Failed, format!("the run cannot go on: {error}")))?;
        Ok::<_, Refusal>((page, outcome))
    })?;
    live.end();
    let mut result = report::json::render(&outcome);
    let held: Vec<Held> = expectations
        .iter()
        .map(|expectation| expectation.hold(&result))
        .collect();
    result["expectations"] = held
        .iter()
        .map(|held| json!({"text": held.text, "actual": held.actual, "holds": held.holds}))
        .collect();
    // Whatever becomes of the one, the other is worth having.
    let printed = print(args.output, &outcome, &result);
    let kept = page.map_or(Ok(()), |page| page.write(&report::html::render(&outcome, &result)));
    for broken in held.iter().filter(|held| !held.holds) {
        complain(
            program,
            &format!("expected {}, but it is {:.3}", broken.text, broken.actual),
        );
    }
    printed.and(kept).map_err(failed)?;
    ended(&outcome, held.iter().all(|held| held.holds))
}

fn failed(line: String) -> Refusal {
    (Exit::Failed, line)
}

/// The file of `--html`, which has to be there before the run: nobody wants to run again for want of a folder.
fn page_file(args: &RunArgs) -> Result<Option<PageFile>, Refusal> {
    let file = args.html.as_deref().map(PageFile::open).transpose();
    file.map_err(|error| usage(&error))
}

fn print(output: Output, outcome: &Outcome, result: &Value) -> Result<(), String> {
    let text = match output {
        Output::Text => report::table::render(outcome),
        Output::Json => format!("{result}\n"),
        Output::Fortio => format!("{:#}\n", report::fortio::render(outcome)),
        Output::Csv => report::csv::render(outcome),
        Output::Hdr => report::hdr::render(outcome).map_err(|error| format!("the histogram log: {error}"))?,
        Output::Html => report::html::render(outcome, result),
    };
    out(&text)
}

fn compare(args: &CompareArgs) -> Result<Exit, Refusal> {
    let tolerance = args.tolerance().map_err(|error| usage(&error))?;
    let read =
        |path: &Path| read_result(path).map_err(|problem| (Exit::Usage, format!("{}: {problem}", path.display())));
    let compared =
        report::compare::compare(&read(&args.a)?, &read(&args.b)?, tolerance).map_err(|line| (Exit::Usage, line))?;
    let text = match args.output {
        CompareOutput::Text => compared.text(),
        CompareOutput::Json => format!("{}\n", compared.json()),
    };
    out(&text).map_err(failed)?;
    Ok(if !args.fail_on_worse {
        Exit::Fine
    } else if compared.is_invalid() {
        Exit::Invalid
    } else if compared.is_worse() {
        Exit::Expectation
    } else {
        Exit::Fine
    })
}

fn read_result(path: &Path) -> Result<Value, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut limited = file.take(RESULT_BYTES_MAX + 1);
    limited.read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > RESULT_BYTES_MAX {
        return Err(format!("is longer than {RESULT_BYTES_MAX} bytes"));
    }
    serde_json::from_str(&text).map_err(|error| format!("is not JSON: {error}"))
}

fn breaker(args: &BreakerArgs) -> Result<Exit, Refusal> {
    let steps = args.steps().map_err(|error| usage(&error))?;
    let (scenario, settings) = prepare(&args.run)?;
    LocalSet::new().block_on(&runtime()?, async {
        reach(&scenario).await?;
        breaker::run(args, &steps, scenario, settings, interrupts()).await
    })
}

fn serve(args: &ServeArgs) -> Result<Exit, Refusal> {
    let behaviour = args.behaviour().map_err(|error| usage(&error))?;
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let mut interrupts = interrupts();
        // Cancel safe: whoever ends it wants all of it to end.
        tokio::select! {
            served = serve::run(args, behaviour) => served.map(|()| Exit::Fine).map_err(|error| failed(error.to_string())),
            _ = interrupts.recv() => Ok(Exit::Fine),
        }
    })
}

fn look_up(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.collect())
}

/// Ctrl-C and the wish of whoever runs us to end; each asks again.
fn interrupts() -> mpsc::Receiver<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (asked, interrupt) = mpsc::channel(2);
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let Ok(mut signals) = signal(kind) else { continue };
        let asked = asked.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && asked.send(()).await.is_ok() {} });
    }
    interrupt
}

/// The exit code of a run that has been reported.
fn ended(outcome: &Outcome, expected: bool) -> Result<Exit, Refusal> {
    if outcome.interrupted {
        return Ok(Exit::Interrupted);
    }
    if let Some(refusal) = nothing_answered(outcome) {
        return Err(refusal);
    }
    Ok(if outcome.ended_early.is_some() {
        Exit::Failed
    } else if !outcome.verdict.invalid_because.is_empty() {
        Exit::Invalid
    } else if !expected {
        Exit::Expectation
    } else {
        Exit::Fine
    })
}

/// Why nothing was answered, if requests were sent and nothing was.
pub(crate) fn nothing_answered(outcome: &Outcome) -> Option<Refusal> {
    let tally = &outcome.tally;
    if tally.answered() > 0 || tally.failed() == 0 {
        return None;
    }
    let most = tally.errors().max_by_key(|(.., count)| *count);
    let (phase, kind, _) = most.expect("errors were counted");
    let line = format!("nothing was answered: {} in phase {}", kind.name(), phase.name());
    Some(match (phase, kind) {
        (Phase::Tls, Kind::Protocol) => (Exit::Tls, line),
        (_, Kind::Protocol) => (
            Exit::Protocol,
            format!("{line}: the target does not speak {}", outcome.scenario.protocol.name()),
        ),
        (_, Kind::Oversized) => (
            Exit::Failed,
            format!("{line}: more than {HEADERS_MAX} header fields, or a head of more than 64 KiB"),
        ),
        (Phase::Connect, _) => (Exit::Connect, line),
        (Phase::Tls, Kind::Rejected) => (Exit::Tls, line + PRESENT),
        (Phase::Tls, _) => (Exit::Tls, line),
        _ => (Exit::Failed, line),
    })
}
