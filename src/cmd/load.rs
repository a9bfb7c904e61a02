//! `weft load`: the load tester as a verb.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    load: weft_loadtest::app::Args,
}

pub(crate) fn run(args: Args) -> ExitCode {
    weft_loadtest::app::run(args.load, "weft load")
}
