//! `weft`: the operator's command. It parses, hands over and prints; what it does lives in the packages.
//!
//! No runtime is made here: every verb makes the one that suits it.

mod cmd;
mod demo;
mod standalone;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use weft_loadtest::refusal::refuse;

/// weft, a service mesh
#[derive(Debug, Parser)]
#[command(name = "weft", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Play a whole mesh on this machine: canary, user, breaker, ejection, latencies
    Demo(cmd::demo::Args),
    /// Run one application of the demo
    #[command(hide = true)]
    DemoApp(cmd::demo_app::Args),
    /// Run control plane and gateways on this machine, without a cluster
    Standalone(cmd::standalone::Args),
    /// Run the control plane
    Control(cmd::control::Args),
    /// Run a proxy
    Proxy(cmd::proxy::Args),
    /// Send load, be the upstream that it meets, or break a breaker and prove it
    Load(Box<cmd::load::Args>),
    /// Say what given proxies would do with given calls, and why, without opening a socket
    Simulate(cmd::simulate::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&program(), &error),
    };
    match cli.verb {
        Verb::Demo(args) => cmd::demo::run(args),
        Verb::DemoApp(args) => cmd::demo_app::run(&args),
        Verb::Standalone(args) => cmd::standalone::run(args),
        Verb::Control(args) => cmd::control::run(args),
        Verb::Proxy(args) => cmd::proxy::run(args),
        Verb::Load(args) => cmd::load::run(*args),
        Verb::Simulate(args) => cmd::simulate::run(&args),
    }
}

/// What the lines of a refusal begin with: `weft load`, and `weft` where there is no such verb.
fn program() -> String {
    let command = Cli::command();
    let verb = std::env::args_os().nth(1);
    let verb = verb.and_then(|verb| command.find_subcommand(verb));
    verb.map_or("weft".to_owned(), |verb| format!("weft {}", verb.get_name()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        super::Cli::command().debug_assert();
    }
}
