//! in → out: text → standard output and standard error.
//! owns: what happens where nobody reads it: never a stack trace.
//! may not touch: what is said.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a result. Who reads no further (`| head`) has what they wanted.
///
/// # Errors
/// One line, if it cannot be written for any other reason.
pub fn out(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("standard output: cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}

/// Says a line on standard error, under the name by which the program was called.
pub fn complain(program: &str, line: &dyn Display) {
    // Where standard error is gone too, the exit code has to do.
    let _ = writeln!(io::stderr(), "{program}: {line}");
}
