//! `weft standalone`: everything on one machine.

use std::process::ExitCode;

use crate::standalone;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    control: weft_control::bootstrap::Args,
    /// Worker threads of each gateway [default: one per available CPU]
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// First admin port of the gateways, on 127.0.0.1; each takes the next free one
    #[arg(long, value_name = "PORT", default_value_t = 15000)]
    gateway_admin: u16,
}

pub(crate) fn run(args: Args) -> ExitCode {
    standalone::run(standalone::Settings {
        state_dir: args.control.state_dir.clone(),
        control: args.control,
        concurrency: args.concurrency,
        first_admin_port: args.gateway_admin,
    })
}
