//! `weft simulate`: what a proxy would do with the calls of a scenario.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use weft_sim::{Report, Scenario, simulate};

/// Says what given proxies would do with given calls under a given configuration, and why. Opens no socket.
#[derive(Debug, Args)]
pub struct Simulate {
    /// How the answers are printed.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Scenario files: objects, proxies, calls.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs: an object for one file, an array for several.
    Json,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or is no scenario.
pub fn run(args: &Simulate) -> Result<ExitCode> {
    let reports: Vec<Report> = args.files.iter().map(report).collect::<Result<_>>()?;
    match args.output {
        Output::Json => println!("{}", weft_sim::json(&reports)?),
        Output::Text => reports.iter().for_each(|report| println!("{report}")),
    }
    Ok(ExitCode::SUCCESS)
}

fn report(path: &PathBuf) -> Result<Report> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let scenario = Scenario::read(&name, &text)?;
    Ok(simulate(&name, &scenario)?)
}
