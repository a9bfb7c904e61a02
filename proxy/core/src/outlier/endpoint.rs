#[cfg(loom)]
use loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use super::cluster::ClusterHealth;
use super::event::{Cause, Event};
use super::runs::Runs;
use crate::cluster::OutlierDetection;

/// What outlier detection knows of one endpoint. One record per endpoint of a cluster, fed by all workers.
#[derive(Debug)]
pub struct EndpointHealth {
    runs: Runs,
    /// Where it stands and how often it was ejected; see [`Record`].
    record: AtomicU64,
    /// When it was ejected last, in nanoseconds. Written only by the thread that has the record at `Deciding`.
    ejected_at: AtomicU64,
}

/// Whether an endpoint is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It gets traffic.
    In,
    /// It is out.
    Out {
        /// Why.
        cause: Cause,
        /// When it was ejected.
        since: Duration,
        /// Which ejection this is; it falls again while the endpoint is healthy.
        ejections: u32,
    },
}

/// A detector has seen enough of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// Which.
    pub cause: Cause,
    /// What came of it.
    pub verdict: Verdict,
}

/// What comes of a detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint is out, until the first sweep after so long.
    Ejected(Duration),
    /// Too many are out already.
    Overflow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    In,
    /// One worker asks whether the cap allows an ejection. It lasts for a few instructions.
    Deciding,
    Out(Cause),
    /// It has left the cluster, for good.
    Gone,
}

/// The place in the upper half of a word, the number of ejections in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    place: Place,
    ejections: u32,
}

impl Record {
    fn unpack(word: u64) -> Self {
        let place = match word >> 32 {
            0 => Place::In,
            1 => Place::Deciding,
            2 => Place::Out(Cause::Gateway),
            3 => Place::Out(Cause::ServerError),
            4 => Place::Out(Cause::LocalOrigin),
            _ => Place::Gone,
        };
        Self {
            place,
            ejections: word as u32,
        }
    }

    fn pack(self) -> u64 {
        let place: u64 = match self.place {
            Place::In => 0,
            Place::Deciding => 1,
            Place::Out(Cause::Gateway) => 2,
            Place::Out(Cause::ServerError) => 3,
            Place::Out(Cause::LocalOrigin) => 4,
            Place::Gone => 5,
        };
        place << 32 | u64::from(self.ejections)
    }
}

impl Default for EndpointHealth {
    fn default() -> Self {
        let fresh = Record {
            place: Place::In,
            ejections: 0,
        };
        Self {
            runs: Runs::default(),
            record: AtomicU64::new(fresh.pack()),
            ejected_at: AtomicU64::new(0),
        }
    }
}

/// No ejection is longer, whatever was configured; a base above the maximum is its own maximum.
fn ejection_time_max(config: &OutlierDetection) -> Duration {
    config.ejection_max.max(config.ejection_base)
}

/// How long the n-th ejection lasts at least.
pub fn ejection_time(config: &OutlierDetection, ejections: u32) -> Duration {
    config
        .ejection_base
        .saturating_mul(ejections)
        .min(ejection_time_max(config))
}

/// The number of ejections with one more. It stops where the time no longer grows: an endpoint works off by being healthy
/// only what it also had to wait for.
fn more_ejections(config: &OutlierDetection, ejections: u32) -> u32 {
    if config.ejection_base.saturating_mul(ejections) >= ejection_time_max(config) {
        ejections
    } else {
        ejections.saturating_add(1)
    }
}

fn nanos(time: Duration) -> u64 {
    // 584 years.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl EndpointHealth {
    /// Takes note of an outcome. Usually that is one or two loads; nothing is allocated or locked.
    ///
    /// An error may complete the runs of two detectors at once: both are asked, in Envoy's order, and the second is moot
    /// when the first ejects. While an endpoint is out nothing is detected.
    #[inline]
    pub fn on_event(
        &self,
        config: &OutlierDetection,
        cluster: &ClusterHealth,
        event: Event,
        now: impl Fn() -> Duration,
    ) -> [Option<Detection>; 2] {
        let causes = self.runs.count(config, event.tally(config));
        if causes == [None, None] {
            return [None, None];
        }
        causes.map(|cause| cause.and_then(|cause| self.eject(config, cluster, cause, now())))
    }

    fn eject(
        &self,
        config: &OutlierDetection,
        cluster: &ClusterHealth,
        cause: Cause,
        now: Duration,
    ) -> Option<Detection> {
        let (before, deciding) = self.begin_decision()?;
        if !cluster.take(config.ejection_percent_max) {
            // It fails if the endpoint left meanwhile, and then it stays gone.
            self.replace(deciding, before).ok();
            let verdict = Verdict::Overflow;
            return Some(Detection { cause, verdict });
        }
        // Relaxed: published by the release of the record.
        self.ejected_at.store(nanos(now), Relaxed);
        let ejections = more_ejections(config, before.ejections);
        let place = Place::Out(cause);
        if self.replace(deciding, Record { place, ejections }).is_err() {
            cluster.give_back();
            return None;
        }
        let verdict = Verdict::Ejected(ejection_time(config, ejections));
        Some(Detection { cause, verdict })
    }

    /// Reserves the record, so that no two workers eject the same endpoint or count it twice.
    fn begin_decision(&self) -> Option<(Record, Record)> {
        // Relaxed: the swap checks it.
        let mut word = self.record.load(Relaxed);
        loop {
            let before = Record::unpack(word);
            if before.place != Place::In {
                return None;
            }
            let place = Place::Deciding;
            let deciding = Record { place, ..before };
            // Acquire: the time of an earlier ejection, which is about to be overwritten, has been read by then.
            match self
                .record
                .compare_exchange_weak(word, deciding.pack(), Acquire, Relaxed)
            {
                Ok(_) => return Some((before, deciding)),
                Err(newer) => word = newer,
            }
        }
    }

    fn replace(&self, from: Record, to: Record) -> Result<u64, u64> {
        // Release: whoever sees an ejection sees its time; whoever sees a return sees the counters cleared. Acquire: a
        // failure is acted on.
        self.record.compare_exchange(from.pack(), to.pack(), AcqRel, Acquire)
    }

    /// Looks whether the endpoint may come back, or lets it work off an ejection. To be called for every endpoint of the
    /// cluster once per `interval`, from one thread at a time.
    ///
    /// True when it is back just now.
    pub fn sweep(&self, config: &OutlierDetection, cluster: &ClusterHealth, now: Duration) -> bool {
        // Acquire: the time of the ejection is read next.
        let mut word = self.record.load(Acquire);
        loop {
            let record = Record::unpack(word);
            match record.place {
                Place::Gone | Place::Deciding => return false,
                Place::In if record.ejections == 0 => return false,
                Place::In => {
                    let ejections = record.ejections - 1;
                    match self.replace(record, Record { ejections, ..record }) {
                        Ok(_) => return false,
                        // A worker was faster: it is being ejected.
                        Err(newer) => word = newer,
                    }
                }
                Place::Out(_) => {
                    // Relaxed: the record was acquired.
                    let at = self.ejected_at.load(Relaxed);
                    let time = nanos(ejection_time(config, record.ejections));
                    return nanos(now).saturating_sub(at) >= time && self.come_back(record, record.ejections, cluster);
                }
            }
        }
    }

    /// Brings the endpoint back at once and forgets its past: the cluster has no outlier detection any more. To be called
    /// in place of [`EndpointHealth::sweep`], from the same thread.
    ///
    /// True when it was out.
    pub fn restore(&self, cluster: &ClusterHealth) -> bool {
        // Acquire: as in `sweep`.
        let record = Record::unpack(self.record.load(Acquire));
        match record.place {
            Place::Out(_) => self.come_back(record, 0, cluster),
            Place::In => {
                self.runs.clear();
                // It fails if a worker that still has the old configuration is ejecting it: the next sweep sees that.
                self.replace(record, Record { ejections: 0, ..record }).ok();
                false
            }
            Place::Deciding | Place::Gone => false,
        }
    }

    fn come_back(&self, record: Record, ejections: u32, cluster: &ClusterHealth) -> bool {
        // Before it is back, so that nothing it does afterwards is forgotten.
        self.runs.clear();
        let place = Place::In;
        let back = self.replace(record, Record { place, ejections }).is_ok();
        if back {
            // After it is back, so that there are never more out than are counted.
            cluster.give_back();
        }
        back
    }

    /// The endpoint has left its cluster; it no longer counts among those that are out. Later events are ignored.
    pub fn remove(&self, cluster: &ClusterHealth) {
        let gone = Record {
            place: Place::Gone,
            ejections: 0,
        };
        // AcqRel: as every change of the record.
        let before = Record::unpack(self.record.swap(gone.pack(), AcqRel));
        match before.place {
            Place::Out(_) => cluster.give_back(),
            // Whoever is deciding finds it gone and gives back what it took.
            Place::In | Place::Deciding | Place::Gone => {}
        }
    }

    /// Whether it gets no traffic.
    #[inline]
    pub fn is_ejected(&self) -> bool {
        // Relaxed: a picker that sees it late sends one more request, as one that had picked already.
        matches!(Record::unpack(self.record.load(Relaxed)).place, Place::Out(_))
    }

    /// Where it stands, for people.
    pub fn standing(&self) -> Standing {
        // Acquire: the time of the ejection is read next.
        let record = Record::unpack(self.record.load(Acquire));
        match record.place {
            Place::In | Place::Deciding | Place::Gone => Standing::In,
            Place::Out(cause) => Standing::Out {
                cause,
                // Relaxed: the record was acquired.
                since: Duration::from_nanos(self.ejected_at.load(Relaxed)),
                ejections: record.ejections,
            },
        }
    }
}
