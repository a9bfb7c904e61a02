//! The load generator, the scripted upstream and the breaker exercise. It shares no code with the rest of weft: the judge
//! is independent.

pub mod app;
mod breaker;
mod client;
mod clock;
mod exit;
mod expect;
pub mod flags;
mod grpc;
mod rate;
mod report;
mod run;
pub mod scenario;
pub mod schedule;
mod series;
mod serve;
mod tally;
mod target;
mod verdict;
mod worker;
