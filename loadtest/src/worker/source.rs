//! Where the intended instants of a thread come from.

use std::time::Duration;

use crate::schedule::Schedule;

/// Intended instants, in nanoseconds of the clock.
pub(super) enum Source {
    /// Open loop: a schedule that asks nobody.
    Open {
        schedule: Schedule,
        start_ns: u64,
        /// The instant that comes next; `None` at the end.
        next_ns: Option<u64>,
    },
    /// Closed loop: a send is intended whenever a lane is free.
    Closed,
}

impl Source {
    pub(super) fn open(mut schedule: Schedule, start_ns: u64) -> Self {
        Self::Open {
            next_ns: following(&mut schedule, start_ns),
            schedule,
            start_ns,
        }
    }

    /// The next instant, if it is not after `now_ns`.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<u64> {
        match self {
            Self::Open {
                schedule,
                start_ns,
                next_ns,
            } => {
                let due = next_ns.filter(|at| *at <= now_ns)?;
                *next_ns = following(schedule, *start_ns);
                Some(due)
            }
            Self::Closed => Some(now_ns),
        }
    }

    /// The next instant; `None` when there is none, or where lanes send by themselves.
    pub(super) fn peek(&self) -> Option<u64> {
        match self {
            Self::Open { next_ns, .. } => *next_ns,
            Self::Closed => None,
        }
    }

    /// Tells of all instants before `end_ns` that nobody has taken, with the number of sends at each; see [`Schedule::rest`].
    pub(super) fn rest(self, end_ns: u64, mut each: impl FnMut(u64, u64)) {
        let Self::Open {
            schedule,
            start_ns,
            next_ns: Some(next_ns),
        } = self
        else {
            return;
        };
        if next_ns < end_ns {
            each(next_ns, 1);
            let end = Duration::from_nanos(end_ns.saturating_sub(start_ns));
            schedule.rest(end, |at, count| each(start_ns + at.as_nanos() as u64, count));
        }
    }
}

fn following(schedule: &mut Schedule, start_ns: u64) -> Option<u64> {
    schedule.next().map(|at| start_ns + at.as_nanos() as u64)
}
