//! Where the intended instants of a thread come from.

use std::iter::Peekable;

use crate::schedule::Schedule;

/// Intended instants, in nanoseconds of the clock.
pub(super) enum Source {
    /// Open loop: a schedule that asks nobody.
    Open { schedule: Peekable<Schedule>, start: u64 },
    /// Closed loop: a send is intended whenever a lane is free.
    Closed,
}

impl Source {
    /// Sends that are listed as unsent at the most; a schedule that is ahead of its lanes by more is hopeless anyway.
    pub(super) const UNSENT_MAX: usize = 10_000_000;

    pub(super) fn open(schedule: Schedule, start: u64) -> Self {
        Self::Open {
            schedule: schedule.peekable(),
            start,
        }
    }

    /// The next instant, if it is not after `now`.
    pub(super) fn take(&mut self, now: u64) -> Option<u64> {
        match self {
            Self::Open { schedule, start } => schedule
                .next_if(|at| *start + at.as_nanos() as u64 <= now)
                .map(|at| *start + at.as_nanos() as u64),
            Self::Closed => Some(now),
        }
    }

    /// The next instant; `None` when there is none, or where lanes send by themselves.
    pub(super) fn peek(&mut self) -> Option<u64> {
        match self {
            Self::Open { schedule, start } => schedule.peek().map(|at| *start + at.as_nanos() as u64),
            Self::Closed => None,
        }
    }
}
