//! The load generator, the scripted upstream and the breaker exercise. It shares no code with the rest of weft: the judge
//! is independent.

pub mod app;
mod breaker;
mod client;
mod clock;
mod exit;
mod expect;
mod flags;
mod grpc;
mod input;
pub mod print;
mod rate;
mod reach;
pub mod refusal;
mod report;
mod run;
mod scenario;
mod schedule;
mod series;
mod serve;
mod tally;
mod target;
mod verdict;
mod worker;
