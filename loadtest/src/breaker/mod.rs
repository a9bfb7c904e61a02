//! in → out: a target behind a breaker → where it opens, whom it refuses, what that costs, and whether its limit held.
//! owns: the exercise.
//! may not touch: how a request is sent (the engine's) or served.

mod exercise;
mod fetch;
mod findings;
mod flags;
mod json;
mod ledger;
mod limit;
mod look;
mod metrics;
mod page;
mod text;

pub(crate) use exercise::run;
pub(crate) use flags::BreakerArgs;
