//! Outlier detection as Istio's users are told about it, written down as plainly as it goes: every endpoint keeps the diary
//! of what happened to it, and every answer is found by reading the diary. No counter is kept.

use std::time::Duration;

use weft_proxy_core::cluster::OutlierDetection;
use weft_proxy_core::outlier::{Cause, Event};

/// A line of the diary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Event(Event),
    /// A run of this detector was complete.
    Complete(Cause),
    Ejected {
        cause: Cause,
        at_ms: u64,
    },
    Returned,
    /// A sweep that found the endpoint in use.
    Swept,
}

/// What a detection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Ejected { cause: Cause, for_ms: u64 },
    Overflow { cause: Cause },
}

pub(crate) struct Host {
    diary: Vec<Line>,
    out: bool,
}

pub(crate) struct Group {
    config: OutlierDetection,
    /// `None` is an endpoint that has left.
    pub(crate) hosts: Vec<Option<Host>>,
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("histories are short")
}

/// The status that an event stands for when local failures are not counted apart.
fn status(event: Event) -> Option<u16> {
    match event {
        Event::Response(status) => Some(status.as_u16()),
        Event::Unreachable => Some(503),
        Event::Timeout => Some(504),
        Event::ConnectedTcp => Some(200),
        Event::Connected => None,
    }
}

/// Whether an event continues (`Some(true)`) or ends (`Some(false)`) the run of a detector.
fn bears_on(cause: Cause, event: Event, split: bool) -> Option<bool> {
    let is_response = matches!(event, Event::Response(_));
    match cause {
        Cause::LocalOrigin if !split => None,
        Cause::LocalOrigin => Some(matches!(event, Event::Unreachable | Event::Timeout)),
        Cause::Gateway | Cause::ServerError if split && !is_response => None,
        Cause::Gateway => status(event).map(|status| [502, 503, 504].contains(&status)),
        Cause::ServerError => status(event).map(|status| status / 100 == 5),
    }
}

impl Host {
    fn new() -> Self {
        Self {
            diary: Vec::new(),
            out: false,
        }
    }

    /// How many errors in a row, up to the last line.
    fn run(&self, cause: Cause, split: bool) -> usize {
        let mut run = 0;
        for line in self.diary.iter().rev() {
            match *line {
                Line::Event(event) => match bears_on(cause, event, split) {
                    Some(true) => run += 1,
                    Some(false) => break,
                    None => {}
                },
                Line::Complete(completed) if completed == cause => break,
                Line::Returned => break,
                _ => {}
            }
        }
        run
    }

    /// The multiplier after everything in the diary: one more per ejection, one less per sweep in use. It stays where the
    /// time has reached its cap.
    fn multiplier(&self, base_ms: u64, cap_ms: u64) -> u64 {
        let largest = cap_ms.div_ceil(base_ms);
        self.diary.iter().fold(0, |multiplier: u64, line| match line {
            Line::Ejected { .. } => (multiplier + 1).min(largest),
            Line::Swept => multiplier.saturating_sub(1),
            _ => multiplier,
        })
    }

    fn ejected_at(&self) -> u64 {
        let last = self.diary.iter().rev().find_map(|line| match line {
            Line::Ejected { at_ms, .. } => Some(*at_ms),
            _ => None,
        });
        last.expect("it is out")
    }
}

impl Group {
    pub(crate) fn new(config: OutlierDetection, hosts: usize) -> Self {
        Self {
            config,
            hosts: (0..hosts).map(|_| Some(Host::new())).collect(),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.hosts.iter().flatten().count()
    }

    pub(crate) fn out(&self) -> usize {
        self.hosts.iter().flatten().filter(|host| host.out).count()
    }

    pub(crate) fn is_out(&self, host: usize) -> bool {
        self.hosts[host].as_ref().is_some_and(|host| host.out)
    }

    pub(crate) fn join(&mut self) {
        self.hosts.push(Some(Host::new()));
    }

    pub(crate) fn leave(&mut self, host: usize) {
        self.hosts[host] = None;
    }

    fn length(&self, host: &Host) -> u64 {
        let base = ms(self.config.ejection_base);
        let cap = base.max(ms(self.config.ejection_max));
        cap.min(base * host.multiplier(base, cap))
    }

    /// Why it is out and for the how many-th time.
    pub(crate) fn ejection(&self, host: usize) -> Option<(Cause, u64, u64)> {
        let host = self.hosts[host].as_ref().filter(|host| host.out)?;
        let cause = host.diary.iter().rev().find_map(|line| match line {
            Line::Ejected { cause, .. } => Some(*cause),
            _ => None,
        });
        let base = ms(self.config.ejection_base);
        let cap = base.max(ms(self.config.ejection_max));
        Some((cause?, host.ejected_at(), host.multiplier(base, cap)))
    }

    pub(crate) fn event(&mut self, host: usize, event: Event, now_ms: u64) -> Vec<Came> {
        let split = self.config.split_local_origin;
        let detectors = [
            (Cause::Gateway, self.config.consecutive_gateway),
            (Cause::ServerError, self.config.consecutive_5xx),
            (Cause::LocalOrigin, self.config.consecutive_local_origin),
        ];
        let mut came = Vec::new();
        match self.hosts[host].as_mut() {
            Some(one) => one.diary.push(Line::Event(event)),
            None => return came,
        }
        for (cause, threshold) in detectors {
            let (size, out) = (self.size(), self.out());
            let Some(one) = self.hosts[host].as_mut() else { continue };
            // Off is never complete.
            if threshold == 0
                || bears_on(cause, event, split) != Some(true)
                || one.run(cause, split) != threshold as usize
            {
                continue;
            }
            one.diary.push(Line::Complete(cause));
            if one.out {
                continue;
            }
            let share = 100.0 * (out as f64 + 1.0) / size as f64;
            if share > f64::from(self.config.ejection_percent_max) {
                came.push(Came::Overflow { cause });
                continue;
            }
            one.out = true;
            one.diary.push(Line::Ejected { cause, at_ms: now_ms });
            let for_ms = self.hosts[host].as_ref().map_or(0, |one| self.length(one));
            came.push(Came::Ejected { cause, for_ms });
        }
        came
    }

    /// Which endpoints come back.
    pub(crate) fn sweep(&mut self, now_ms: u64) -> Vec<usize> {
        let due = |host: &Host| host.out && host.ejected_at() + self.length(host) <= now_ms;
        let back: Vec<usize> = (0..self.hosts.len())
            .filter(|host| self.hosts[*host].as_ref().is_some_and(due))
            .collect();
        for (place, host) in self.hosts.iter_mut().enumerate() {
            let Some(host) = host else { continue };
            if back.contains(&place) {
                host.out = false;
                host.diary.push(Line::Returned);
            } else if !host.out {
                host.diary.push(Line::Swept);
            }
        }
        back
    }
}
