use std::thread;
use std::time::Duration;

use http::StatusCode;

use super::{Cause, ClusterHealth, Detection, EndpointHealth, Event, Standing, Verdict};
use crate::cluster::{OutlierDetection, Statuses};

/// Istio's defaults, as they come over the wire.
const DEFAULTS: OutlierDetection = OutlierDetection {
    errors: Statuses::SERVER_ERRORS,
    consecutive_5xx: 5,
    consecutive_gateway: 0,
    consecutive_local_origin: 0,
    split_local_origin: false,
    interval: Duration::from_secs(10),
    ejection_base: Duration::from_secs(30),
    ejection_max: Duration::from_secs(300),
    ejection_percent_max: 10,
};

/// Lets everything be ejected.
const ALL: OutlierDetection = OutlierDetection {
    ejection_percent_max: 100,
    ..DEFAULTS
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn status(code: u16) -> Event {
    Event::Response(StatusCode::from_u16(code).unwrap())
}

fn ejected(cause: Cause, seconds: u64) -> Option<Detection> {
    let verdict = Verdict::Ejected(secs(seconds));
    Some(Detection { cause, verdict })
}

fn overflow(cause: Cause) -> Option<Detection> {
    let verdict = Verdict::Overflow;
    Some(Detection { cause, verdict })
}

struct Group {
    config: OutlierDetection,
    cluster: ClusterHealth,
    endpoints: Vec<EndpointHealth>,
}

impl Group {
    fn new(config: OutlierDetection, hosts: u32) -> Self {
        let cluster = ClusterHealth::default();
        cluster.set_hosts(hosts);
        let endpoints = (0..hosts).map(|_| EndpointHealth::default()).collect();
        Self {
            config,
            cluster,
            endpoints,
        }
    }

    fn tell(&self, host: usize, event: Event, now: Duration) -> [Option<Detection>; 2] {
        self.endpoints[host].on_event(&self.config, &self.cluster, event, || now)
    }

    fn sweep(&self, now: Duration) -> Vec<usize> {
        let swept = |host: &usize| self.endpoints[*host].sweep(&self.config, &self.cluster, now);
        (0..self.endpoints.len()).filter(swept).collect()
    }

    fn out(&self) -> Vec<usize> {
        let is_out = |host: &usize| self.endpoints[*host].is_ejected();
        (0..self.endpoints.len()).filter(is_out).collect()
    }
}

/// Tells one endpoint of a group, all of which may be ejected, events; after which of them it is ejected, and why.
fn check(config: OutlierDetection, events: &[Event], expected: Option<(usize, Cause)>) {
    let group = Group::new(config, 1);
    let mut found = None;
    for (number, event) in events.iter().enumerate() {
        for detection in group.tell(0, *event, secs(1)).into_iter().flatten() {
            assert_eq!(found, None, "ejected twice: {events:?}");
            found = Some((number + 1, detection.cause));
        }
    }
    assert_eq!(found, expected, "{events:?}");
    assert_eq!(group.out().len(), usize::from(expected.is_some()));
}

#[test]
fn a_list_of_statuses_replaces_5xx_for_both_detectors() {
    let config = |server, gateway| OutlierDetection {
        errors: Statuses::of(|status| [429, 500, 503].contains(&status)),
        ..detectors(server, gateway, 0)
    };
    let limited = Event::Response(StatusCode::TOO_MANY_REQUESTS);
    let bad_gateway = Event::Response(StatusCode::BAD_GATEWAY);
    let unavailable = Event::Response(StatusCode::SERVICE_UNAVAILABLE);
    for (config, events, expected) in [
        (config(2, 0), [limited, limited, limited], Some((1, Cause::ServerError))),
        (config(2, 0), [limited, bad_gateway, limited], None),
        (
            config(3, 0),
            [limited, Event::Unreachable, unavailable],
            Some((2, Cause::ServerError)),
        ),
        (config(0, 2), [unavailable, limited, unavailable], None),
        (
            config(0, 2),
            [limited, unavailable, unavailable],
            Some((2, Cause::Gateway)),
        ),
        (config(0, 2), [bad_gateway, bad_gateway, bad_gateway], None),
    ] {
        let group = Group::new(config, 1);
        let mut found = None;
        for (index, event) in events.into_iter().enumerate() {
            let detections = group.tell(0, event, Duration::ZERO).into_iter().flatten();
            found = found.or(detections.map(|detection| (index, detection.cause)).next());
        }
        assert_eq!(found, expected, "{events:?}");
    }
}

fn detectors(server: u32, gateway: u32, local: u32) -> OutlierDetection {
    OutlierDetection {
        errors: Statuses::SERVER_ERRORS,
        consecutive_5xx: server,
        consecutive_gateway: gateway,
        consecutive_local_origin: local,
        split_local_origin: local > 0,
        ..ALL
    }
}

#[test]
fn consecutive_errors_eject_at_the_threshold_and_not_before() {
    use Cause::ServerError;
    for threshold in 1..5 {
        let errors = vec![status(500); threshold as usize];
        check(detectors(threshold, 0, 0), &errors, Some((errors.len(), ServerError)));
        check(detectors(threshold, 0, 0), &errors[1..], None);
    }
    check(detectors(0, 0, 0), &[status(500); 20], None);
}

#[test]
fn every_status_counts_as_what_it_is() {
    // Status, whether it continues a run of 5xx, whether a run of gateway errors; otherwise it ends them.
    let cases = [
        (100, false, false),
        (200, false, false),
        (302, false, false),
        (404, false, false),
        (429, false, false),
        (499, false, false),
        (500, true, false),
        (501, true, false),
        (502, true, true),
        (503, true, true),
        (504, true, true),
        (505, true, false),
        (599, true, false),
        (600, false, false),
    ];
    for (code, server, gateway) in cases {
        let one = [status(code)];
        check(detectors(1, 0, 0), &one, server.then_some((1, Cause::ServerError)));
        check(detectors(0, 1, 0), &one, gateway.then_some((1, Cause::Gateway)));
        let between = [status(500), status(code), status(500)];
        check(detectors(2, 0, 0), &between, server.then_some((2, Cause::ServerError)));
        let gateway_between = [status(503), status(code), status(503)];
        check(
            detectors(0, 3, 0),
            &gateway_between,
            gateway.then_some((3, Cause::Gateway)),
        );
    }
}

#[test]
fn a_gateway_run_ends_at_any_other_answer() {
    // The rules' own example: with two gateway errors and 5xx off, 503, 500, 503 ejects nobody.
    let config = detectors(0, 2, 0);
    check(config, &[status(503), status(500), status(503)], None);
    check(config, &[status(502), status(504)], Some((2, Cause::Gateway)));
    check(config, &[status(503), status(200), status(503)], None);
}

#[test]
fn failures_without_an_answer_count_as_gateway_errors_unless_they_are_counted_apart() {
    use Event::{Connected, ConnectedTcp, Timeout, Unreachable};
    let together = detectors(2, 0, 0);
    check(together, &[Unreachable, Timeout], Some((2, Cause::ServerError)));
    check(detectors(0, 2, 0), &[Timeout, Unreachable], Some((2, Cause::Gateway)));
    check(
        together,
        &[Unreachable, Connected, Unreachable],
        Some((3, Cause::ServerError)),
    );
    check(together, &[Unreachable, ConnectedTcp, Unreachable], None);

    let apart = detectors(2, 2, 2);
    check(apart, &[Unreachable, Timeout], Some((2, Cause::LocalOrigin)));
    check(apart, &[Unreachable, Connected, Unreachable], None);
    check(apart, &[Unreachable, ConnectedTcp, Unreachable], None);
    check(apart, &[Unreachable, status(404), Unreachable], None);
    check(apart, &[Unreachable, status(500), Unreachable], None);
    check(
        apart,
        &[status(500), Unreachable, status(500)],
        Some((3, Cause::ServerError)),
    );
    check(
        apart,
        &[status(503), Connected, status(503)],
        Some((2 + 1, Cause::Gateway)),
    );
    let only_responses = OutlierDetection {
        consecutive_local_origin: 0,
        ..apart
    };
    check(only_responses, &[Unreachable; 9], None);
}

#[test]
fn an_error_that_completes_two_runs_is_detected_once_if_it_ejects() {
    let config = detectors(2, 2, 0);
    let group = Group::new(config, 1);
    group.tell(0, status(503), secs(1));
    assert_eq!(group.tell(0, status(503), secs(1)), [ejected(Cause::Gateway, 30), None]);
    assert_eq!(group.cluster.ejected(), 1);

    let capped = OutlierDetection {
        ejection_percent_max: 99,
        ..config
    };
    let group = Group::new(capped, 1);
    group.tell(0, status(503), secs(1));
    assert_eq!(
        group.tell(0, status(503), secs(1)),
        [overflow(Cause::Gateway), overflow(Cause::ServerError)]
    );
}

#[test]
fn a_run_starts_anew_when_it_is_complete_also_when_nobody_is_ejected() {
    let group = Group::new(
        OutlierDetection {
            consecutive_5xx: 3,
            ..DEFAULTS
        },
        3,
    );
    for number in 1..=9 {
        let expected = if number % 3 == 0 {
            overflow(Cause::ServerError)
        } else {
            None
        };
        assert_eq!(group.tell(0, status(500), secs(number)), [None, expected]);
    }
    assert!(group.out().is_empty());
}

#[test]
fn a_threshold_lowered_below_a_run_ejects_at_the_next_error() {
    let mut group = Group::new(ALL, 1);
    for _ in 0..4 {
        group.tell(0, status(500), secs(1));
    }
    group.config.consecutive_5xx = 2;
    assert_eq!(
        group.tell(0, status(500), secs(1)),
        [None, ejected(Cause::ServerError, 30)]
    );
}

#[test]
fn the_cap_is_the_formula_and_nothing_else() {
    // Endpoints, percent, how many may be out.
    let cases = [
        (1, 10, 0),
        (1, 99, 0),
        (1, 100, 1),
        (1, 250, 1),
        (2, 49, 0),
        (2, 50, 1),
        (3, 10, 0),
        (3, 33, 0),
        (3, 34, 1),
        (3, 50, 1),
        (3, 66, 1),
        (3, 67, 2),
        (3, 100, 3),
        (9, 10, 0),
        (10, 10, 1),
        (10, 9, 0),
        (19, 10, 1),
        (20, 10, 2),
        (10, 0, 0),
    ];
    for (hosts, percent, allowed) in cases {
        let config = OutlierDetection {
            consecutive_5xx: 1,
            ejection_percent_max: percent,
            ..DEFAULTS
        };
        let group = Group::new(config, hosts);
        for host in 0..hosts as usize {
            group.tell(host, status(500), secs(1));
        }
        assert_eq!(group.out().len(), allowed, "{hosts} endpoints, {percent} %");
        assert_eq!(group.cluster.ejected() as usize, allowed);
    }
}

#[test]
fn an_ejection_lasts_to_the_first_sweep_after_its_time() {
    // The rules' own example: out at 3 s for 30 s, back at the sweep at 40 s; again, for 60 s; two sweeps work that off.
    let config = OutlierDetection {
        consecutive_5xx: 1,
        ..ALL
    };
    let group = Group::new(config, 1);
    assert_eq!(
        group.tell(0, status(500), secs(3)),
        [None, ejected(Cause::ServerError, 30)]
    );
    for sweep in [10, 20, 30] {
        assert!(group.sweep(secs(sweep)).is_empty());
        assert_eq!(group.out(), [0]);
    }
    assert_eq!(group.sweep(secs(40)), [0]);
    assert!(group.out().is_empty());
    assert_eq!(
        group.tell(0, status(500), secs(40)),
        [None, ejected(Cause::ServerError, 60)]
    );
    for sweep in [50, 60, 70, 80, 90] {
        assert!(group.sweep(secs(sweep)).is_empty());
    }
    assert_eq!(group.sweep(secs(100)), [0], "exactly 60 seconds are enough");
    assert!(group.sweep(secs(110)).is_empty());
    assert!(group.sweep(secs(120)).is_empty());
    assert_eq!(
        group.tell(0, status(500), secs(121)),
        [None, ejected(Cause::ServerError, 30)]
    );
}

#[test]
fn a_sweep_that_comes_a_nanosecond_early_returns_nobody() {
    let group = Group::new(
        OutlierDetection {
            consecutive_5xx: 1,
            ..ALL
        },
        1,
    );
    group.tell(0, status(500), secs(3));
    assert!(group.sweep(secs(33) - Duration::from_nanos(1)).is_empty());
    assert_eq!(group.sweep(secs(33)), [0]);
}

#[test]
fn ejections_grow_to_the_cap_and_their_number_with_them() {
    // Base, maximum, the times of ejections in a row, and how many sweeps work them off.
    let cases: [(u64, u64, &[u64], u32); 4] = [
        (30, 300, &[30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300], 10),
        (40, 300, &[40, 80, 120, 160, 200, 240, 280, 300, 300], 8),
        (400, 300, &[400, 400, 400], 1),
        (300, 300, &[300, 300], 1),
    ];
    for (base, max, times, number) in cases {
        let config = OutlierDetection {
            consecutive_5xx: 1,
            ejection_base: secs(base),
            ejection_max: secs(max),
            ..ALL
        };
        let group = Group::new(config, 1);
        let mut now = 0;
        for time in times {
            let told = group.tell(0, status(500), secs(now));
            assert_eq!(told, [None, ejected(Cause::ServerError, *time)], "base {base}");
            now += time;
            assert_eq!(group.sweep(secs(now)), [0]);
        }
        // One more ejection tells the number; it grows no further.
        group.tell(0, status(500), secs(now));
        let standing = group.endpoints[0].standing();
        let since = secs(now);
        let cause = Cause::ServerError;
        assert_eq!(
            standing,
            Standing::Out {
                cause,
                since,
                ejections: number
            }
        );
    }
}

#[test]
fn what_fails_while_it_is_out_is_not_held_against_it_afterwards() {
    let group = Group::new(
        OutlierDetection {
            consecutive_5xx: 2,
            ..ALL
        },
        1,
    );
    for _ in 0..2 {
        group.tell(0, status(500), secs(0));
    }
    // Requests that were under way.
    for _ in 0..3 {
        assert_eq!(group.tell(0, status(500), secs(1)), [None, None]);
    }
    assert_eq!(group.sweep(secs(30)), [0]);
    assert_eq!(group.tell(0, status(500), secs(31)), [None, None]);
    assert!(group.out().is_empty());
    group.tell(0, status(500), secs(31));
    assert_eq!(group.out(), [0]);
}

#[test]
fn an_endpoint_that_leaves_gives_its_place_to_another() {
    let config = OutlierDetection {
        consecutive_5xx: 1,
        ejection_percent_max: 50,
        ..DEFAULTS
    };
    let group = Group::new(config, 3);
    group.tell(0, status(500), secs(1));
    assert_eq!(
        group.tell(1, status(500), secs(1)),
        [None, overflow(Cause::ServerError)]
    );
    group.cluster.set_hosts(2);
    assert_eq!(
        group.tell(1, status(500), secs(1)),
        [None, overflow(Cause::ServerError)]
    );
    group.endpoints[0].remove(&group.cluster);
    assert_eq!(group.cluster.ejected(), 0);
    group.endpoints[0].remove(&group.cluster);
    assert_eq!(group.tell(0, status(500), secs(1)), [None, None], "it is gone");
    assert_eq!(
        group.tell(1, status(500), secs(1)),
        [None, ejected(Cause::ServerError, 30)]
    );
    assert_eq!(
        (group.out(), group.cluster.ejected(), group.cluster.hosts()),
        (vec![1], 1, 2)
    );
}

#[test]
fn switching_detection_off_brings_everybody_back_without_a_past() {
    let group = Group::new(
        OutlierDetection {
            consecutive_5xx: 1,
            ..ALL
        },
        2,
    );
    for host in [0, 1] {
        group.tell(host, status(500), secs(0));
    }
    assert_eq!(group.sweep(secs(30)), [0, 1]);
    group.tell(0, status(500), secs(30));
    let restored: Vec<bool> = group.endpoints.iter().map(|one| one.restore(&group.cluster)).collect();
    assert_eq!(restored, [true, false]);
    assert_eq!(group.cluster.ejected(), 0);
    for host in [0, 1] {
        assert_eq!(
            group.tell(host, status(500), secs(31)),
            [None, ejected(Cause::ServerError, 30)]
        );
    }
}

#[test]
fn workers_together_never_pass_the_cap() {
    let config = OutlierDetection {
        consecutive_5xx: 1,
        ejection_percent_max: 34,
        ejection_base: secs(1),
        ejection_max: secs(1),
        ..DEFAULTS
    };
    let group = Group::new(config, 6);
    // Rounds are counted for everybody, so that a failed assertion ends the test.
    thread::scope(|scope| {
        for worker in 0..3 {
            let group = &group;
            scope.spawn(move || {
                for round in 0..20_000 {
                    group.tell((worker + round) % 6, status(503), secs(0));
                    assert!(group.cluster.ejected() <= 2);
                }
            });
        }
        scope.spawn(|| {
            for now in 1..10_000 {
                group.sweep(secs(now));
            }
        });
    });
    assert_eq!(group.out().len(), group.cluster.ejected() as usize);
    assert!(group.out().len() <= 2);
}
