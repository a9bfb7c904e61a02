//! in → out: an accepted stream whose chain copies bytes → two connections copied into each other until both have ended.
//! owns: the life of an opaque connection: its endpoint, its limits of time, how its end is passed on.
//! may not touch: requests, pools.

mod clock;
mod copy;
mod open;
mod serve;
mod tally;

pub(crate) use open::{Goal, Opened, Reached, guess, reach};
pub(crate) use serve::{relay, serve};
