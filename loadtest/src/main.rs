//! `weft-load`: the load tester as a program of its own.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    weft_loadtest::app::run(weft_loadtest::app::Args::parse())
}
