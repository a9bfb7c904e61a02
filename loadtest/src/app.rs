//! in → out: flags → a run, its report and an exit code.
//! owns: the order of things: check, resolve, run, report.
//! may not touch: a request.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::flags::{Output, RunArgs};
use crate::report::{self, Summary};
use crate::scenario::{Origin, Protocol, Scenario, Target};
use crate::tally::Tally;
use crate::worker::{self, Orders, Plan};

/// Time for threads to start before the first send.
const LEAD: u64 = 5_000_000;

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
        Ok(code) => code,
        Err(error) => {
            eprintln!("weft-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn load(args: &RunArgs) -> Result<ExitCode> {
    let processors = available_parallelism().map_or(1, usize::from);
    let settings = args.settings(processors)?;
    // A first walk: one URL, looked up here.
    let url = &args.urls[0];
    let rest = url.strip_prefix("http://").context("URL must begin with http://")?;
    let (authority, path) = rest.split_once('/').map_or((rest, "/".to_owned()), |(a, p)| (a, format!("/{p}")));
    let (host, port) = authority.rsplit_once(':').map_or((authority, 80), |(h, p)| (h, p.parse().unwrap_or(80)));
    let addresses: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))?.collect();
    let scenario = Arc::new(Scenario {
        origins: vec![Origin {
            host: host.to_owned(),
            port,
            addresses,
        }],
        targets: vec![Target {
            origin: 0,
            weight: 1,
            request: format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n").into(),
            head_only: false,
            url: url.clone(),
        }],
        protocol: Protocol::Http1,
        timeout: settings.timeout,
    });
    let start = clock::now() + LEAD;
    let end = start + settings.duration.as_nanos() as u64;
    let (_orders, ordered) = watch::channel(Orders::Run);
    let (beats, _beaten) = mpsc::unbounded_channel();
    let mut handles = Vec::new();
    for index in 0..settings.threads {
        let lanes = settings.connections / settings.threads + usize::from(index < settings.connections % settings.threads);
        let plan = Plan {
            scenario: scenario.clone(),
            schedule: settings.profile.as_ref().map(|profile| profile.share(index, settings.threads)),
            lanes,
            start,
            end,
            seed: settings.seed + index as u64,
        };
        handles.push(worker::spawn(index, plan, ordered.clone(), beats.clone())?);
    }
    let mut tally = Tally::new();
    let mut cpu = 0;
    let mut held_up = 0;
    let mut last = start;
    for handle in handles {
        let done = handle.join().expect("a thread does not panic")?;
        tally.merge(&done.tally);
        cpu += done.cpu;
        held_up = held_up.max(done.held_up);
        last = last.max(done.ended);
    }
    let summary = Summary { settings, tally, cpu, held_up, elapsed: last - start };
    match args.output {
        Output::Json => println!("{}", report::json::render(&summary)),
        Output::Text => print!("{}", report::table::render(&summary)),
    }
    Ok(ExitCode::SUCCESS)
}
