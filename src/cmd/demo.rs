//! `weft demo`: a mesh on this machine, played through in five steps.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::demo;
use crate::demo::Output;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Play the steps and end: with 0 only if every one of them held
    #[arg(long)]
    once: bool,
    /// How the figures are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Folder with the rule files; what is missing in it is written there first
    /// [default: examples/bookinfo/rules of the repository, or else a folder that goes away at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> ExitCode {
    demo::run(demo::Settings {
        once: args.once,
        output: args.output,
        rules: args.dir,
    })
}
