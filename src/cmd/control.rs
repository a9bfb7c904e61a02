//! `weft control`: the control plane as a verb.

use std::process::ExitCode;

use super::parent;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    control: weft_control::bootstrap::Args,
    #[command(flatten)]
    parent: parent::Args,
}

pub(crate) fn run(args: Args) -> ExitCode {
    match args.parent.bind() {
        true => weft_control::app::run(args.control),
        false => ExitCode::FAILURE,
    }
}
