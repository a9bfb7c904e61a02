//! `weft-control`: the control plane as a program of its own.

use std::process::ExitCode;

use clap::Parser;

/// The control plane: objects to Envoy resources to streams
#[derive(Debug, Parser)]
#[command(name = "weft-control", version)]
struct Cli {
    #[command(flatten)]
    args: weft_control::bootstrap::Args,
}

fn main() -> ExitCode {
    weft_control::app::run(Cli::parse().args)
}
