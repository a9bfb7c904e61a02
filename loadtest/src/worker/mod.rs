//! in → out: a scenario, a thread's schedule → a tally, and a beat each second.
//! owns: the threads, their lanes, who sends next.
//! may not touch: another thread's anything; reports.

mod lane;
mod orders;
mod pulse;
mod source;
mod spread;
mod thread;
mod ticket;

pub(crate) use orders::{Beat, Done, Orders, Plan, Report, SoFar};
pub(crate) use spread::{spread, threads};
pub(crate) use thread::spawn;
