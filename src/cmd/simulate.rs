//! `weft simulate`: what a proxy would do with the calls of a scenario.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use weft_loadtest::print::{complain, out};
use weft_sim::{Report, Scenario, simulate};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// How the answers are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Scenario files: objects, proxies, calls
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// For programs: an object for one file, an array for several
    Json,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let printed = answers(args).map_err(|error| format!("{error:#}"));
    match printed.and_then(|text| out(&format!("{text}\n"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            complain("weft simulate", &line);
            ExitCode::FAILURE
        }
    }
}

fn answers(args: &Args) -> Result<String> {
    let reports: Vec<Report> = args.files.iter().map(|path| report(path)).collect::<Result<_>>()?;
    Ok(match args.output {
        Output::Json => weft_sim::json(&reports)?,
        Output::Text => reports.iter().map(Report::to_string).collect::<Vec<_>>().join("\n"),
    })
}

fn report(path: &Path) -> Result<Report> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let scenario = Scenario::read(&name, &text)?;
    Ok(simulate(&name, &scenario)?)
}
