//! `weft proxy`: the data plane as a verb.

use std::process::ExitCode;

use weft_loadtest::print::complain;
use weft_proxy::bootstrap::{Bootstrap, log_to_stderr};

use super::parent;

/// Exit code of a start that a flag prevents.
const EXIT_SETTING: u8 = 2;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    proxy: weft_proxy::bootstrap::Args,
    #[command(flatten)]
    parent: parent::Args,
}

pub(crate) fn run(args: Args) -> ExitCode {
    if !args.parent.bind() {
        return ExitCode::FAILURE;
    }
    log_to_stderr();
    let settings = match Bootstrap::resolve(args.proxy) {
        Ok(settings) => settings,
        Err(error) => {
            complain("weft proxy", &error);
            return ExitCode::from(EXIT_SETTING);
        }
    };
    match weft_proxy::app::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain("weft proxy", &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
