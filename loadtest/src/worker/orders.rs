//! What threads are told, and what they tell.

use std::io;
use std::sync::Arc;

use hdrhistogram::Histogram;

use crate::client::{Kind, Phase};
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::tally::Tally;

/// What a thread is to do.
pub(crate) struct Plan {
    /// Which thread it is.
    pub(crate) index: usize,
    pub(crate) scenario: Arc<Scenario>,
    /// Its part of the schedule; `None` sends as fast as answers come.
    pub(crate) schedule: Option<Schedule>,
    /// Requests in flight, at most, at least one.
    pub(crate) lanes: usize,
    /// The first instant.
    pub(crate) start_ns: u64,
    /// No send after this one.
    pub(crate) end_ns: u64,
    /// Start of the random numbers.
    pub(crate) seed: u64,
}

/// What everybody is told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orders {
    /// Go on.
    Run,
    /// Send no more; what is in flight may end.
    Finish,
    /// Leave what is in flight.
    Abandon,
}

/// What a thread tells.
pub(crate) enum Report {
    /// A second has passed.
    Beat(Beat),
    /// It has ended.
    Done(io::Result<Box<Done>>),
}

/// A second of a thread.
pub(crate) struct Beat {
    /// Which one.
    pub(crate) thread: usize,
    /// Seconds since the start, from 0.
    pub(crate) second: u32,
    pub(crate) latency: Histogram<u32>,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Answers that refuse the request.
    pub(crate) refused: u64,
    /// Everything since the start.
    pub(crate) so_far: SoFar,
}

/// What a thread has counted since its start, for whoever watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct SoFar {
    /// Statuses with their numbers.
    pub(crate) codes: Vec<(u16, u64)>,
    /// Failures that came, with their numbers.
    pub(crate) errors: Vec<(Phase, Kind, u64)>,
    pub(crate) opened: u64,
    /// Requests in flight now.
    pub(crate) in_flight: u64,
}

/// What a thread has done.
pub(crate) struct Done {
    pub(crate) tally: Tally,
    /// When it sent no more.
    pub(crate) stopped_ns: u64,
    /// When its last request ended.
    pub(crate) ended_ns: u64,
    /// Its processor time.
    pub(crate) cpu_ns: u64,
    /// That of the time of sending alone.
    pub(crate) cpu_sending_ns: u64,
    /// How long it could have run, but had no processor, in the time of sending; `None` if the kernel does not say.
    pub(crate) waited_ns: Option<u64>,
    /// Longest time for which it did not run although it had to.
    pub(crate) held_up_ns: u64,
    /// All such times that it was not waiting for a processor: stopped, or its whole machine was.
    pub(crate) stops_ns: u64,
}
