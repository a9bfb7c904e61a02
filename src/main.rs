//! `weft`: the operator's command. It parses, hands over and prints; what it does lives in the packages.
//!
//! No runtime is made here: every verb makes the one that suits it.

mod cmd;
mod standalone;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// weft, a service mesh
#[derive(Debug, Parser)]
#[command(name = "weft", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run control plane and gateways on this machine, without a cluster
    Standalone(cmd::standalone::Args),
    /// Run the control plane
    Control(weft_control::bootstrap::Args),
    /// Run a proxy
    Proxy(cmd::proxy::Args),
    /// Say what given proxies would do with given calls, and why, without opening a socket
    Simulate(cmd::simulate::Args),
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Standalone(args) => cmd::standalone::run(args),
        Verb::Control(args) => weft_control::app::run(args),
        Verb::Proxy(args) => cmd::proxy::run(args),
        Verb::Simulate(args) => cmd::simulate::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        super::Cli::command().debug_assert();
    }
}
