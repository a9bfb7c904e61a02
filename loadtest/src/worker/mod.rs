//! in → out: a scenario, a thread's schedule → a tally, and a beat each second.
//! owns: the threads, their lanes, who sends next.
//! may not touch: another thread's anything; reports.

mod lane;
mod source;
mod thread;
mod ticket;

pub(crate) use thread::{Beat, Done, Orders, Plan, Report, SoFar, spawn};
