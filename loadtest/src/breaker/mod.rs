//! in → out: a target behind a breaker → where it opens, whom it refuses, what that costs, and whether its limit held.
//! owns: the exercise.
//! may not touch: how a request is sent (the engine's) or served.

mod exercise;
mod fetch;
mod figures;
mod findings;
mod flags;
mod page;

pub(crate) use exercise::run;
pub(crate) use flags::BreakerArgs;
