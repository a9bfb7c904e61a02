//! The data plane by itself.

use clap::Parser;
use weft_proxy::{app, bootstrap};

fn main() -> std::process::ExitCode {
    let settings = match bootstrap::Bootstrap::resolve(bootstrap::Args::parse()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("weft-proxy: {error}");
            return std::process::ExitCode::from(2);
        }
    };
    bootstrap::log_to_stderr();
    match app::run(settings) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-proxy: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
