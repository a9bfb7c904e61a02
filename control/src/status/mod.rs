//! in → out: verdicts of the world, notes of the plan, answers of proxies → one line per change, and a table to ask.
//! owns: what is known about each object: taken or refused, what there is to say, on which proxies it is live.
//! may not touch: serving, the world, files.

mod board;
mod object;
mod report;

#[cfg(test)]
mod tests;

pub use board::Board;
pub use report::{FindingReport, ObjectReport, ProxyReport, Refusal, State, Summary};
