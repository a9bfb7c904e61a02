//! `weft-load`: the load tester as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    weft_loadtest::app::main()
}
