//! `weft proxy`: the data plane as a verb.

use std::process::ExitCode;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use weft_proxy::bootstrap::{Bootstrap, log_to_stderr};

/// Exit code of a start that a flag prevents.
const EXIT_SETTING: u8 = 2;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    proxy: weft_proxy::bootstrap::Args,
    /// Process whose end is the end of this one
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
}

pub(crate) fn run(args: Args) -> ExitCode {
    if let Some(parent) = args.parent.and_then(Pid::from_raw) {
        let bound = set_parent_process_death_signal(Some(Signal::TERM));
        // The parent may have died before the kernel was asked: then another process has taken its place.
        if bound.is_err() || getppid() != Some(parent) {
            return ExitCode::FAILURE;
        }
    }
    log_to_stderr();
    let settings = match Bootstrap::resolve(args.proxy) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("weft proxy: {error}");
            return ExitCode::from(EXIT_SETTING);
        }
    };
    match weft_proxy::app::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
