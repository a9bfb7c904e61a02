//! The load tester as people run it: real processes over loopback, judged by the upstream's own ledger.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

mod accuracy;
mod breaker;
mod connections;
mod counts;
mod ends;
mod grpc;
mod pages;
mod process;
mod refusals;
mod tls;
