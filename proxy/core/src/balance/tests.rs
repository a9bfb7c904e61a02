use std::cell::RefCell;
use std::time::Duration;

use super::*;
use crate::cluster::{
    Balance, Cluster, ClusterKind, DestinationLabels, Endpoint, EndpointSet, Health, Limits, Locality,
    OVERPROVISIONING_PERCENT, UpstreamHttp, UpstreamProtocol,
};

/// Load by place.
#[derive(Default)]
pub(super) struct Figures {
    active: RefCell<Vec<u32>>,
    ejected: Vec<usize>,
}

impl Load for Figures {
    fn active(&self, place: usize) -> u32 {
        self.active.borrow().get(place).copied().unwrap_or_default()
    }

    fn is_ejected(&self, place: usize) -> bool {
        self.ejected.contains(&place)
    }

    fn ejected(&self) -> usize {
        self.ejected.len()
    }
}

pub(super) fn ejected(places: &[usize]) -> Figures {
    Figures {
        ejected: places.to_vec(),
        ..Figures::default()
    }
}

pub(super) fn cluster(balance: Balance, panic_threshold_percent: f64) -> Cluster {
    Cluster {
        name: "c".into(),
        kind: ClusterKind::Eds("c".into()),
        balance,
        panic_threshold_percent,
        connect_timeout: Duration::from_secs(1),
        transport: crate::cluster::Transport::Plain,
        limits: Limits {
            connections_max: 1,
            pending_max: 1,
            requests_max: 1,
            retries_max: 1,
            retry_budget: None,
        },
        outlier: None,
        http: UpstreamHttp {
            protocol: UpstreamProtocol::Http1,
            idle_timeout: None,
            connection_duration_max: None,
            requests_per_connection_max: None,
            streams_max: None,
            keepalive: None,
        },
        sources: crate::cluster::Sources::default(),
        tcp_keepalive: None,
        destination: DestinationLabels {
            service: "c".into(),
            service_name: "c".into(),
            service_namespace: "n".into(),
        },
        provenance: None,
    }
}

pub(super) fn endpoint(number: usize, weight: u32, priority: u32, health: Health) -> Endpoint {
    Endpoint {
        address: format!("10.0.0.{number}:80").parse().unwrap(),
        weight,
        health,
        priority,
        locality: std::sync::Arc::new(Locality::default()),
        workload: None,
        hostname: None,
    }
}

pub(super) fn weighted(weights: &[u32]) -> EndpointSet {
    let endpoints = weights
        .iter()
        .enumerate()
        .map(|(number, weight)| endpoint(number, *weight, 0, Health::Healthy));
    EndpointSet::new(endpoints.collect(), OVERPROVISIONING_PERCENT).unwrap()
}

const LEAST: Balance = Balance::LeastRequest { choices: 2 };
const ALL: [Balance; 3] = [LEAST, Balance::RoundRobin, Balance::Random];

/// How often each place is picked.
fn counts(cluster: &Cluster, set: &EndpointSet, load: &Figures, picks: usize) -> Vec<usize> {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut cursor = Cursor::starting_at(rng.u64(..));
    let mut counts = vec![0; set.endpoints().len()];
    for _ in 0..picks {
        counts[pick(cluster, set, load, rng.u64(..), &mut cursor).unwrap()] += 1;
    }
    counts
}

/// Within five standard deviations of a binomial.
fn check_share(count: usize, picks: usize, share: f64) {
    let expected = picks as f64 * share;
    let slack = 5.0 * (expected * (1.0 - share)).sqrt() + 1.0;
    assert!(
        (count as f64 - expected).abs() <= slack,
        "{count} of {picks}, expected {expected} ± {slack}"
    );
}

#[test]
fn every_policy_gives_equal_endpoints_equal_shares() {
    let set = weighted(&[1, 1, 1, 1]);
    for balance in ALL {
        for count in counts(&cluster(balance, 0.0), &set, &Figures::default(), 40_000) {
            check_share(count, 40_000, 0.25);
        }
    }
}

#[test]
fn every_policy_respects_weights() {
    let set = weighted(&[1, 2, 7]);
    for balance in ALL {
        let counted = counts(&cluster(balance, 0.0), &set, &Figures::default(), 40_000);
        for (count, share) in counted.into_iter().zip([0.1, 0.2, 0.7]) {
            check_share(count, 40_000, share);
        }
    }
}

#[test]
fn in_turn_is_exact() {
    let round_robin = cluster(Balance::RoundRobin, 0.0);
    assert_eq!(
        counts(&round_robin, &weighted(&[1, 1, 1]), &Figures::default(), 3),
        [1, 1, 1]
    );
    assert_eq!(
        counts(&round_robin, &weighted(&[5, 3, 2]), &Figures::default(), 30),
        [15, 9, 6]
    );
    assert_eq!(
        counts(&round_robin, &weighted(&[1, 1, 1]), &ejected(&[1]), 10),
        [5, 0, 5]
    );
}

#[test]
fn the_less_loaded_of_two_gets_the_request() {
    let set = weighted(&[1, 1]);
    let load = Figures {
        active: RefCell::new(vec![3, 2]),
        ..Figures::default()
    };
    assert_eq!(counts(&cluster(LEAST, 0.0), &set, &load, 1000), [0, 1000]);
}

#[test]
fn two_choices_keep_the_longest_queue_short() {
    let set = weighted(&[1; 50]);
    let cluster = cluster(LEAST, 0.0);
    let mut rng = fastrand::Rng::with_seed(9);
    let mut cursor = Cursor::starting_at(0);
    let load = Figures {
        active: RefCell::new(vec![0; 50]),
        ..Figures::default()
    };
    for _ in 0..5000 {
        let place = pick(&cluster, &set, &load, rng.u64(..), &mut cursor).unwrap();
        load.active.borrow_mut()[place] += 1;
    }
    // 100 each on average; a random choice would reach 130 and more.
    assert!(
        load.active.borrow().iter().all(|active| (95..=104).contains(active)),
        "{:?}",
        load.active
    );
}

#[test]
fn under_load_a_weight_counts_by_its_active_requests() {
    let set = weighted(&[1, 3]);
    let load = Figures {
        active: RefCell::new(vec![0, 2]),
        ..Figures::default()
    };
    // 1 / 1 against 3 / 3.
    check_share(counts(&cluster(LEAST, 0.0), &set, &load, 40_000)[0], 40_000, 0.5);
}

#[test]
fn what_is_ejected_or_unhealthy_gets_nothing() {
    let healths = [
        Health::Healthy,
        Health::Unhealthy,
        Health::Draining,
        Health::Healthy,
        Health::Healthy,
    ];
    let endpoints = healths
        .iter()
        .enumerate()
        .map(|(number, health)| endpoint(number, 1, 0, *health));
    let set = EndpointSet::new(endpoints.collect(), OVERPROVISIONING_PERCENT).unwrap();
    for balance in ALL {
        let counted = counts(&cluster(balance, 0.0), &set, &ejected(&[3]), 2000);
        check_share(counted[0], 2000, 0.5);
        assert_eq!((counted[1], counted[2], counted[3]), (0, 0, 0));
        check_share(counted[4], 2000, 0.5);
    }
}

#[test]
fn one_endpoint_left_of_a_thousand_is_found() {
    let weights: Vec<u32> = (0..250).map(|_| 1).collect();
    let out: Vec<usize> = (0..250).filter(|place| *place != 77).collect();
    for balance in ALL {
        let counted = counts(&cluster(balance, 0.0), &weighted(&weights), &ejected(&out), 50);
        assert_eq!(counted[77], 50);
    }
}

#[test]
fn without_a_healthy_endpoint_there_is_none() {
    let mut cursor = Cursor::starting_at(0);
    let set = weighted(&[1, 1]);
    for balance in ALL {
        let strict = cluster(balance.clone(), 0.0);
        assert_eq!(
            pick(&strict, &set, &ejected(&[0, 1]), 1, &mut cursor),
            Err(NoEndpoint::Unhealthy)
        );
        let nobody = EndpointSet::default();
        assert_eq!(
            pick(&strict, &nobody, &Figures::default(), 1, &mut cursor),
            Err(NoEndpoint::Empty)
        );
        // With a panic threshold health is ignored instead.
        let panicking = cluster(balance, 50.0);
        assert!(
            counts(&panicking, &set, &ejected(&[0, 1]), 1000)
                .iter()
                .all(|count| *count > 300)
        );
    }
    let dialled = cluster(Balance::OriginalDst, 0.0);
    assert_eq!(
        pick(&dialled, &set, &Figures::default(), 1, &mut cursor),
        Err(NoEndpoint::OriginalDst)
    );
}

#[test]
fn panic_begins_below_the_threshold() {
    let set = weighted(&[1; 10]);
    let six_out = ejected(&[0, 1, 2, 3, 4, 5]);
    let calm = counts(&cluster(Balance::Random, 40.0), &set, &six_out, 2000);
    assert!(calm[..6].iter().all(|count| *count == 0));
    let panic = counts(&cluster(Balance::Random, 41.0), &set, &six_out, 2000);
    assert!(panic[..6].iter().all(|count| *count > 100));
}

#[test]
fn load_spills_to_the_next_priority_in_proportion() {
    // Istio: share = min(100 %, healthy % × 1.4); half of the first healthy carries 70 %.
    let priorities = (0..4).map(|number| endpoint(number, 1, 0, Health::Healthy));
    let second = (4..6).map(|number| endpoint(number, 1, 1, Health::Healthy));
    let set = EndpointSet::new(priorities.chain(second).collect(), OVERPROVISIONING_PERCENT).unwrap();
    let random = cluster(Balance::Random, 0.0);
    let first_share = |load: &Figures| counts(&random, &set, load, 20_000)[..4].iter().sum::<usize>();
    assert_eq!(first_share(&Figures::default()), 20_000);
    assert_eq!(
        first_share(&ejected(&[0])),
        20_000,
        "75 % healthy still carries everything"
    );
    check_share(first_share(&ejected(&[0, 1])), 20_000, 0.7);
    assert_eq!(first_share(&ejected(&[0, 1, 2, 3])), 0);
}

#[test]
fn the_same_address_twice_is_one_endpoint_with_summed_weight() {
    let twice = vec![
        endpoint(1, 2, 0, Health::Healthy),
        endpoint(2, 1, 0, Health::Healthy),
        endpoint(1, 3, 0, Health::Healthy),
    ];
    let set = EndpointSet::new(twice, OVERPROVISIONING_PERCENT).unwrap();
    let weights: Vec<u32> = set.endpoints().iter().map(|endpoint| endpoint.weight).collect();
    assert_eq!(weights, [5, 1]);
}

#[test]
fn endpoints_beyond_their_limits_are_refused() {
    use crate::cluster::EndpointError;
    let refuse = |endpoints| EndpointSet::new(endpoints, OVERPROVISIONING_PERCENT).err();
    let zero = endpoint(1, 0, 0, Health::Healthy);
    assert_eq!(refuse(vec![zero.clone()]), Some(EndpointError::Weight(zero.address)));
    assert_eq!(
        refuse(vec![endpoint(1, 1, 129, Health::Healthy)]),
        Some(EndpointError::Priority(129))
    );
    let heavy = vec![
        endpoint(1, u32::MAX, 0, Health::Healthy),
        endpoint(2, 1, 0, Health::Healthy),
    ];
    assert_eq!(refuse(heavy), Some(EndpointError::WeightSum));
    let many = (0..100_001).map(|_| endpoint(1, 1, 0, Health::Healthy)).collect();
    assert_eq!(refuse(many), Some(EndpointError::TooMany));
}
