//! When a connection has to end, and when its bytes are due to be counted.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes of a connection that lives on are counted this often (Istio: `tcp_reporting_duration`).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Limits of time on a connection; `None` is no limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Both directions silent.
    pub(super) idle: Option<Duration>,
    /// Age.
    pub(super) age: Option<Duration>,
    /// From the order to drain.
    pub(super) drain: Duration,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Report,
    End(Expired),
}

/// The limit that ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Idle,
    Age,
    Drain,
}

/// The times of one connection. Takes `now` and asks no clock.
#[derive(Debug)]
pub(super) struct Clock {
    times: Times,
    moved: Instant,
    age_at: Option<Instant>,
    drain_at: Option<Instant>,
    report_at: Option<Instant>,
}

impl Clock {
    /// Begins with both sides connected.
    pub(super) fn new(times: Times, now: Instant) -> Self {
        Self {
            times,
            moved: now,
            age_at: times.age.and_then(|age| now.checked_add(age)),
            drain_at: None,
            report_at: None,
        }
    }

    /// Bytes have moved.
    pub(super) fn touch(&mut self, now: Instant) {
        self.moved = now;
        self.report_at.get_or_insert(now + REPORT_INTERVAL);
    }

    /// The connection may live on for the time of the drain.
    pub(super) fn drain(&mut self, now: Instant) {
        self.drain_at.get_or_insert(now + self.times.drain);
    }

    /// What is due, the end before a report; a report is due once.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let late = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if late(self.drain_at) {
            Some(Due::End(Expired::Drain))
        } else if late(self.age_at) {
            Some(Due::End(Expired::Age))
        } else if late(self.idle_at()) {
            Some(Due::End(Expired::Idle))
        } else if late(self.report_at) {
            self.report_at = None;
            Some(Due::Report)
        } else {
            None
        }
    }

    /// When to look again, if nothing moves.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.drain_at, self.age_at, self.idle_at(), self.report_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn idle_at(&self) -> Option<Instant> {
        self.moved.checked_add(self.times.idle?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_age_and_drain_end_a_connection_each_at_its_time() {
        let start = Instant::now();
        let times = Times {
            idle: Some(10 * SECOND),
            age: Some(60 * SECOND),
            drain: 3 * SECOND,
        };
        let mut clock = Clock::new(times, start);
        assert_eq!(clock.next(), Some(start + 10 * SECOND));
        assert_eq!(clock.due(start + 10 * SECOND - SECOND / 1000), None);
        clock.touch(start + 9 * SECOND);
        assert_eq!(
            clock.next(),
            Some(start + 14 * SECOND),
            "the report comes before the end"
        );
        assert_eq!(clock.due(start + 14 * SECOND), Some(Due::Report));
        assert_eq!(clock.due(start + 14 * SECOND), None, "once");
        assert_eq!(clock.due(start + 19 * SECOND), Some(Due::End(Expired::Idle)));
        clock.touch(start + 55 * SECOND);
        assert_eq!(clock.due(start + 60 * SECOND), Some(Due::End(Expired::Age)));
        clock.drain(start + 56 * SECOND);
        clock.drain(start + 58 * SECOND);
        assert_eq!(clock.next(), Some(start + 59 * SECOND), "the first order counts");
        assert_eq!(clock.due(start + 59 * SECOND), Some(Due::End(Expired::Drain)));
    }

    #[test]
    fn without_limits_nothing_is_due_but_reports() {
        let start = Instant::now();
        let times = Times {
            idle: None,
            age: None,
            drain: SECOND,
        };
        let mut clock = Clock::new(times, start);
        assert_eq!(clock.next(), None);
        clock.touch(start);
        assert_eq!(clock.due(start + 1000 * SECOND), Some(Due::Report));
        assert_eq!(clock.next(), None);
    }
}
