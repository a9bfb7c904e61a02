//! The load generator, the scripted upstream and the breaker exercise. It shares no code with the rest of weft: the judge
//! is independent.

pub mod app;
mod client;
mod clock;
mod flags;
mod report;
pub mod scenario;
pub mod schedule;
mod tally;
mod worker;
