//! in → out: flags → a run, its report and an exit code.
//! owns: the order of things: check, resolve, reach, run, report.
//! may not touch: a request.

use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use clap::Parser;
use tokio::sync::mpsc;

use crate::client::connect::connect;
use crate::client::timer::Timer;
use crate::client::{Failure, Kind, Phase};
use crate::exit::Exit;
use crate::flags::{Output, RunArgs};
use crate::report::{self, live::Live};
use crate::run::{self, Outcome};
use crate::scenario::Scenario;
use crate::schedule::Profile;
use crate::target::{self, TargetError};

/// The command line of the load tester.
#[derive(Clone, Debug, Parser)]
#[command(name = "weft-load", version, about = "Sends load, and says what became of it")]
pub struct Args {
    /// A run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Runs the load tester.
pub fn run(args: Args) -> ExitCode {
    match load(&args.run) {
        Ok(exit) => exit.into(),
        Err((exit, line)) => {
            eprintln!("weft-load: {line}");
            exit.into()
        }
    }
}

/// What ends a run before its report: the exit code and one line.
type Refusal = (Exit, String);

fn load(args: &RunArgs) -> Result<Exit, Refusal> {
    let usage = |error: &dyn std::fmt::Display| (Exit::Usage, error.to_string());
    let processors = available_parallelism().map_or(1, usize::from);
    let settings = args.settings(processors).map_err(|error| usage(&error))?;
    let scenario = target::scenario(args, settings.timeout, &look_up).map_err(|error| match error {
        TargetError::Flag(error) => usage(&error),
        TargetError::Resolve { .. } => (Exit::Resolve, error.to_string()),
    })?;
    let scenario = Arc::new(scenario);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Exit::Failed, format!("no runtime: {error}")))?;
    let mut live = Live::new(settings.profile.as_ref().map(Profile::mean_rate), settings.duration);
    let outcome = runtime.block_on(async {
        reach(&scenario).await?;
        run::run(scenario, settings, &mut live, interrupts())
            .await
            .map_err(|error| (Exit::Failed, format!("the run cannot go on: {error}")))
    })?;
    live.end();
    match args.output {
        Output::Json => println!("{}", report::json::render(&outcome)),
        Output::Text => print!("{}", report::table::render(&outcome)),
    }
    ended(&outcome)
}

fn look_up(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.collect())
}

/// Connects to every origin once, so that a target that is not there costs one line and no run.
async fn reach(scenario: &Scenario) -> Result<(), Refusal> {
    for origin in &scenario.origins {
        let timer = Timer::new();
        let limit = tokio::time::timeout(scenario.timeout, connect(origin, 0, &timer)).await;
        let failure = match limit {
            Ok(Ok(_)) => continue,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(Phase::Connect, Kind::Timeout),
        };
        let place = format!("{}:{} ({})", origin.host, origin.port, origin.addresses[0].ip());
        return Err(match failure.phase {
            Phase::Tls if failure.kind == Kind::Protocol => (
                Exit::Tls,
                format!(
                    "{place}: TLS failed: the target speaks no TLS, or not {}",
                    scenario.protocol.name()
                ),
            ),
            Phase::Tls => (Exit::Tls, format!("{place}: TLS failed: {}", failure.kind.name())),
            _ => (
                Exit::Connect,
                format!("{place}: cannot connect: {}", failure.kind.name()),
            ),
        });
    }
    Ok(())
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
fn ended(outcome: &Outcome) -> Result<Exit, Refusal> {
    let tally = &outcome.tally;
    if tally.answered() == 0 && tally.failed() > 0 {
        let most = tally.errors().max_by_key(|(.., count)| *count);
        let (phase, kind, _) = most.expect("errors were counted");
        let line = format!("nothing was answered: {} in phase {}", kind.name(), phase.name());
        return Err(match (phase, kind) {
            (_, Kind::Protocol) => (
                Exit::Protocol,
                format!("{line}: the target does not speak {}", outcome.scenario.protocol.name()),
            ),
            (Phase::Connect, _) => (Exit::Connect, line),
            (Phase::Tls, _) => (Exit::Tls, line),
            _ => (Exit::Failed, line),
        });
    }
    Ok(if outcome.interrupted {
        Exit::Interrupted
    } else if !outcome.verdict.invalid_because.is_empty() {
        Exit::Invalid
    } else {
        Exit::Fine
    })
}
