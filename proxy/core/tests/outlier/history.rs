//! Random histories of a cluster, told to the detector and to the model.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use http::StatusCode;
use weft_proxy_core::cluster::{OutlierDetection, Statuses};
use weft_proxy_core::outlier::{ClusterHealth, Detection, EndpointHealth, Event, Standing, Verdict};

use crate::diary::{Came, Group, ms};

/// Steps of a history: enough for several ejections of one endpoint with thresholds as small as these.
const STEPS: u32 = 60;

fn config(rng: &mut Rng) -> OutlierDetection {
    let split = rng.bool();
    let seconds = |rng: &mut Rng, choices: &[u64]| Duration::from_secs(choices[rng.usize(..choices.len())]);
    OutlierDetection {
        errors: Statuses::SERVER_ERRORS,
        consecutive_5xx: rng.u32(0..4),
        consecutive_gateway: rng.u32(0..4),
        // Without the split the detector is off, as it comes over the wire.
        consecutive_local_origin: if split { rng.u32(0..4) } else { 0 },
        split_local_origin: split,
        interval: seconds(rng, &[1, 10]),
        ejection_base: seconds(rng, &[1, 7, 30, 400]),
        ejection_max: seconds(rng, &[20, 300]),
        ejection_percent_max: [0, 10, 33, 34, 50, 66, 67, 100][rng.usize(..8)],
    }
}

fn event(rng: &mut Rng) -> Event {
    // Errors are frequent, so that runs are.
    let status = match rng.u32(0..20) {
        0 => return Event::Connected,
        1 => return Event::ConnectedTcp,
        2 | 3 => return Event::Timeout,
        4..=6 => return Event::Unreachable,
        7 => 200,
        8 => 404,
        9 => 499,
        10 => 501,
        11..=13 => 500,
        14 => 502,
        15 | 16 => 503,
        17 => 504,
        18 => 505,
        _ => 599,
    };
    Event::Response(StatusCode::from_u16(status).expect("a status"))
}

fn came(detection: Detection) -> Came {
    let cause = detection.cause;
    match detection.verdict {
        Verdict::Ejected(time) => Came::Ejected {
            cause,
            for_ms: ms(time),
        },
        Verdict::Overflow => Came::Overflow { cause },
    }
}

fn number(hosts: usize) -> u32 {
    u32::try_from(hosts).expect("few endpoints")
}

struct Pair {
    config: OutlierDetection,
    cluster: ClusterHealth,
    endpoints: Vec<EndpointHealth>,
    model: Group,
    now_ms: u64,
    next_sweep_ms: u64,
}

impl Pair {
    fn new(rng: &mut Rng) -> Self {
        let config = config(rng);
        let hosts = rng.usize(1..5);
        let cluster = ClusterHealth::default();
        cluster.set_hosts(number(hosts));
        Self {
            config,
            cluster,
            endpoints: (0..hosts).map(|_| EndpointHealth::default()).collect(),
            model: Group::new(config, hosts),
            now_ms: 0,
            next_sweep_ms: ms(config.interval),
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms)
    }

    fn step(&mut self, rng: &mut Rng) {
        match rng.u32(0..100) {
            0..=1 => {
                self.endpoints.push(EndpointHealth::default());
                self.model.join();
                self.resize();
            }
            2..=3 => {
                let host = rng.usize(..self.endpoints.len());
                self.model.leave(host);
                self.resize();
                self.endpoints[host].remove(&self.cluster);
            }
            4..=29 => self.pass_time(rng),
            _ => self.tell(rng),
        }
    }

    fn resize(&self) {
        self.cluster.set_hosts(number(self.model.size()));
    }

    fn tell(&mut self, rng: &mut Rng) {
        // Mostly the same endpoint: one of several has to get long runs.
        let host = if rng.bool() {
            0
        } else {
            rng.usize(..self.endpoints.len())
        };
        let event = event(rng);
        let now = self.now();
        let before = self.cluster.ejected();
        let told = self.endpoints[host].on_event(&self.config, &self.cluster, event, || now);
        let told: Vec<Came> = told.into_iter().flatten().map(came).collect();
        assert_eq!(told, self.model.event(host, event, self.now_ms));
        let (ejected, hosts) = (u64::from(self.cluster.ejected()), u64::from(self.cluster.hosts()));
        if ejected > u64::from(before) {
            let allowed = u64::from(self.config.ejection_percent_max) * hosts / 100;
            assert!(ejected <= allowed, "{ejected} of {hosts} are out, {allowed} may be");
        }
    }

    fn pass_time(&mut self, rng: &mut Rng) {
        // To the very end of an interval often, since that is where the arithmetic is.
        let until_sweep = self.next_sweep_ms - self.now_ms;
        self.now_ms += if rng.bool() {
            until_sweep
        } else {
            rng.u64(..=until_sweep)
        };
        if self.now_ms < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms += ms(self.config.interval);
        let now = self.now();
        let back: Vec<usize> = (0..self.endpoints.len())
            .filter(|host| self.endpoints[*host].sweep(&self.config, &self.cluster, now))
            .collect();
        assert_eq!(back, self.model.sweep(self.now_ms));
        self.compare_standings();
    }

    fn compare(&self) {
        assert_eq!(self.cluster.ejected() as usize, self.model.out());
        for (host, endpoint) in self.endpoints.iter().enumerate() {
            assert_eq!(endpoint.is_ejected(), self.model.is_out(host));
        }
    }

    fn compare_standings(&self) {
        for (host, endpoint) in self.endpoints.iter().enumerate() {
            let standing = match endpoint.standing() {
                Standing::In => None,
                Standing::Out {
                    cause,
                    since,
                    ejections,
                } => Some((cause, ms(since), u64::from(ejections))),
            };
            assert_eq!(standing, self.model.ejection(host));
        }
    }
}

/// Compares detector and model on the histories of these seeds.
pub(crate) fn check(seeds: Range<u64>) {
    let mut ejections = 0_u64;
    let histories = seeds.end - seeds.start;
    for seed in seeds {
        let mut rng = Rng::with_seed(seed);
        let mut pair = Pair::new(&mut rng);
        let history = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                let before = pair.cluster.ejected();
                pair.step(&mut rng);
                pair.compare();
                ejections += u64::from(pair.cluster.ejected() > before);
            }
        }));
        assert!(history.is_ok(), "they differ on the history of seed {seed}");
    }
    // Histories in which nothing happens would prove nothing.
    assert!(ejections > histories, "{ejections} ejections in {histories} histories");
}
