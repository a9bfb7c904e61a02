//! Every interleaving of a few threads, as the memory model allows them:
//! `RUSTFLAGS="--cfg loom" cargo test -p weft-proxy-core --release --lib --target-dir target/loom loom_models`

use std::time::Duration;

use http::StatusCode;
use loom::sync::Arc;
use loom::thread;

use super::{ClusterHealth, Detection, EndpointHealth, Event, Standing, Verdict};
use crate::cluster::{OutlierDetection, Statuses};

const BAD: Event = Event::Response(StatusCode::SERVICE_UNAVAILABLE);
const LATER: Duration = Duration::from_secs(40);

fn config(consecutive_5xx: u32, ejection_percent_max: u32) -> OutlierDetection {
    OutlierDetection {
        errors: Statuses::SERVER_ERRORS,
        consecutive_5xx,
        consecutive_gateway: 0,
        consecutive_local_origin: 0,
        split_local_origin: false,
        interval: Duration::from_secs(10),
        ejection_base: Duration::from_secs(30),
        ejection_max: Duration::from_secs(300),
        ejection_percent_max,
    }
}

fn ejections(detections: impl IntoIterator<Item = Option<Detection>>) -> usize {
    let ejected = |detection: &Detection| matches!(detection.verdict, Verdict::Ejected(_));
    detections.into_iter().flatten().filter(ejected).count()
}

fn setup(endpoints: usize, hosts: u32) -> (Arc<ClusterHealth>, Vec<Arc<EndpointHealth>>) {
    let cluster = ClusterHealth::default();
    cluster.set_hosts(hosts);
    let endpoints = (0..endpoints).map(|_| Arc::new(EndpointHealth::default()));
    (Arc::new(cluster), endpoints.collect())
}

#[test]
fn two_workers_never_eject_more_than_the_cap() {
    loom::model(|| {
        let (cluster, endpoints) = setup(2, 2);
        let config = config(1, 50);
        let threads: Vec<_> = endpoints
            .iter()
            .cloned()
            .map(|endpoint| {
                let cluster = cluster.clone();
                thread::spawn(move || {
                    let detections = endpoint.on_event(&config, &cluster, BAD, || Duration::ZERO);
                    assert!(cluster.ejected() <= 1);
                    ejections(detections)
                })
            })
            .collect();
        let ejected: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!((ejected, cluster.ejected()), (1, 1));
        assert_eq!(endpoints.iter().filter(|one| one.is_ejected()).count(), 1);
    });
}

#[test]
fn an_endpoint_that_two_workers_eject_is_counted_once() {
    loom::model(|| {
        let (cluster, endpoints) = setup(1, 2);
        let config = config(1, 100);
        let endpoint = endpoints[0].clone();
        let (other, count) = (endpoint.clone(), cluster.clone());
        let worker = thread::spawn(move || ejections(other.on_event(&config, &count, BAD, || Duration::ZERO)));
        let here = ejections(endpoint.on_event(&config, &cluster, BAD, || Duration::ZERO));
        assert_eq!(here + worker.join().unwrap(), 1);
        assert_eq!(cluster.ejected(), 1);
    });
}

#[test]
fn no_error_of_two_workers_is_lost() {
    loom::model(|| {
        let (cluster, endpoints) = setup(1, 1);
        let config = config(2, 100);
        let endpoint = endpoints[0].clone();
        let (other, count) = (endpoint.clone(), cluster.clone());
        let worker = thread::spawn(move || ejections(other.on_event(&config, &count, BAD, || Duration::ZERO)));
        let here = ejections(endpoint.on_event(&config, &cluster, BAD, || Duration::ZERO));
        assert_eq!(here + worker.join().unwrap(), 1, "the second of two errors ejects");
    });
}

#[test]
fn an_endpoint_that_leaves_while_it_is_ejected_gives_its_place_back() {
    loom::model(|| {
        let (cluster, endpoints) = setup(1, 1);
        let config = config(1, 100);
        let endpoint = endpoints[0].clone();
        let (other, count) = (endpoint.clone(), cluster.clone());
        let worker = thread::spawn(move || other.on_event(&config, &count, BAD, || Duration::ZERO));
        endpoint.remove(&cluster);
        worker.join().unwrap();
        assert_eq!(cluster.ejected(), 0);
        assert!(!endpoint.is_ejected());
    });
}

#[test]
fn a_sweep_that_meets_an_ejection_takes_it_for_what_it_is() {
    loom::model(|| {
        let (cluster, endpoints) = setup(1, 1);
        let config = config(1, 100);
        let endpoint = endpoints[0].clone();
        let (other, count) = (endpoint.clone(), cluster.clone());
        let worker = thread::spawn(move || ejections(other.on_event(&config, &count, BAD, || LATER)));
        // Had the sweep seen the ejection without its time, it would have ended it 40 seconds after the start.
        assert!(!endpoint.sweep(&config, &cluster, LATER));
        assert_eq!(worker.join().unwrap(), 1);
        assert!(matches!(
            endpoint.standing(),
            Standing::Out {
                since: LATER,
                ejections: 1,
                ..
            }
        ));
        assert_eq!(cluster.ejected(), 1);
    });
}

#[test]
fn a_return_and_the_next_ejection_leave_the_count_right() {
    loom::model(|| {
        let (cluster, endpoints) = setup(2, 2);
        let config = config(1, 50);
        ejections(endpoints[0].on_event(&config, &cluster, BAD, || Duration::ZERO));
        let (other, count) = (endpoints[1].clone(), cluster.clone());
        let worker = thread::spawn(move || {
            let detections = other.on_event(&config, &count, BAD, || LATER);
            assert!(count.ejected() <= 1);
            ejections(detections)
        });
        assert!(endpoints[0].sweep(&config, &cluster, LATER));
        let ejected = worker.join().unwrap();
        assert_eq!(cluster.ejected() as usize, ejected);
        assert_eq!(endpoints[1].is_ejected(), ejected == 1);
    });
}
