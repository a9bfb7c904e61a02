//! Sweeps, with a clock that the tests hold.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance};
use weft_proxy_core::cluster::{Cluster as Config, OutlierDetection, Statuses};
use weft_proxy_core::outlier::{Event, Standing};
use weft_proxy_core::route::Bindings;
use weft_xds::pb;
use weft_xds::pb::core::{Address, SocketAddress, address, socket_address};
use weft_xds::pb::endpoint::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};

use super::Schedule;
use crate::upstream::cluster::{Cluster, ClusterState};
use crate::upstream::endpoint::EndpointState;
use crate::xds::translate;

const SECOND: Duration = Duration::from_secs(1);

fn detection(interval: Duration) -> OutlierDetection {
    OutlierDetection {
        errors: Statuses::SERVER_ERRORS,
        consecutive_5xx: 2,
        consecutive_gateway: 0,
        consecutive_local_origin: 0,
        split_local_origin: false,
        interval,
        ejection_base: 30 * SECOND,
        ejection_max: 300 * SECOND,
        ejection_percent_max: 100,
    }
}

fn endpoint(port: u16) -> LbEndpoint {
    let address = SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(address)),
            }),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

/// A cluster with an endpoint on each of these ports, and no more state than `state` has.
fn cluster(state: Option<&Arc<ClusterState>>, ports: &[u16], outlier: Option<OutlierDetection>) -> Arc<Cluster> {
    let message = pb::cluster::Cluster {
        name: "c".to_owned(),
        cluster_discovery_type: Some(pb::cluster::cluster::ClusterDiscoveryType::Type(
            pb::cluster::cluster::DiscoveryType::Static as i32,
        )),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: "c".to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: ports.iter().copied().map(endpoint).collect(),
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        ..pb::cluster::Cluster::default()
    };
    let config = translate::cluster(&message, &mut Bindings::new(0)).unwrap().value;
    let config = Arc::new(Config { outlier, ..config });
    let state = state.cloned().unwrap_or_else(|| ClusterState::new(&config));
    Cluster::new(config, 0, state)
}

fn endpoint_at(cluster: &Cluster, port: u16) -> Arc<EndpointState> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let live = cluster.state.endpoints();
    live.states
        .iter()
        .find(|state| state.address == address)
        .unwrap()
        .clone()
}

fn fail(endpoint: &EndpointState, times: usize) {
    for _ in 0..times {
        endpoint.observe(Event::Response(http::StatusCode::INTERNAL_SERVER_ERROR));
    }
}

/// Moves the clock to `at` after `start`, sweeping whatever is due on the way.
async fn pass(schedule: &mut Schedule, start: Instant, at: Duration) {
    while let Some(next) = schedule.next().filter(|next| *next <= start + at) {
        advance(next - Instant::now()).await;
        schedule.sweep(Instant::now());
    }
    advance(start + at - Instant::now()).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_returns_at_the_first_sweep_after_its_time() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    let cluster = cluster(None, &[1, 2], Some(detection(10 * SECOND)));
    schedule.enter(&cluster);
    let one = endpoint_at(&cluster, 1);
    pass(&mut schedule, start, 3 * SECOND).await;
    fail(&one, 2);
    assert!(one.is_ejected());
    pass(&mut schedule, start, 40 * SECOND - Duration::from_millis(1)).await;
    assert!(one.is_ejected(), "33 s are over, the sweep is not there yet");
    pass(&mut schedule, start, 40 * SECOND).await;
    assert!(!one.is_ejected());
    // The next time is twice as long.
    fail(&one, 2);
    pass(&mut schedule, start, 99 * SECOND).await;
    let Standing::Out { ejections, .. } = one.record.health.standing() else {
        panic!("it is out for 60 s")
    };
    assert_eq!(ejections, 2);
    pass(&mut schedule, start, 100 * SECOND).await;
    assert!(!one.is_ejected());
}

#[tokio::test(start_paused = true)]
async fn updates_of_a_cluster_put_no_sweep_off_and_forget_no_ejection() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    let first = cluster(None, &[1, 2], Some(detection(10 * SECOND)));
    schedule.enter(&first);
    fail(&endpoint_at(&first, 1), 2);
    for second in 1..10 {
        pass(&mut schedule, start, second * SECOND).await;
        schedule.enter(&cluster(Some(&first.state), &[1, 2, 3], Some(detection(10 * SECOND))));
    }
    assert_eq!(schedule.next(), Some(start + 10 * SECOND));
    assert!(endpoint_at(&first, 1).is_ejected());
    assert_eq!(first.state.outliers.health.hosts(), 3);
}

#[tokio::test(start_paused = true)]
async fn turning_detection_off_brings_everybody_back() {
    let mut schedule = Schedule::default();
    let on = cluster(None, &[1, 2], Some(detection(10 * SECOND)));
    schedule.enter(&on);
    let one = endpoint_at(&on, 1);
    fail(&one, 2);
    assert!(one.is_ejected());
    let off = cluster(Some(&on.state), &[1, 2], None);
    schedule.enter(&off);
    assert!(!one.is_ejected());
    assert_eq!(on.state.outliers.health.ejected(), 0);
    // Requests that came under the old settings no longer count.
    fail(&one, 9);
    assert!(!one.is_ejected());
    advance(SECOND).await;
    schedule.sweep(Instant::now());
    assert_eq!(schedule.next(), None, "a cluster without detection costs nothing");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_leaves_makes_room_under_the_cap() {
    let first = cluster(
        None,
        &[1, 2],
        Some(OutlierDetection {
            ejection_percent_max: 50,
            ..detection(SECOND)
        }),
    );
    let two = endpoint_at(&first, 2);
    fail(&endpoint_at(&first, 1), 2);
    fail(&two, 2);
    assert!(!two.is_ejected(), "one of two is half of them");
    assert_eq!(first.state.outliers.overflow.get(), 1);
    let next = cluster(Some(&first.state), &[2, 3], Some(first.config.outlier.unwrap()));
    assert_eq!(next.state.outliers.health.ejected(), 0);
    fail(&two, 2);
    assert!(two.is_ejected());
}

#[tokio::test(start_paused = true)]
async fn the_timer_hears_of_a_sweep_that_is_sooner() {
    let mut schedule = Schedule::default();
    let changed: Rc<_> = schedule.changed();
    schedule.enter(&cluster(None, &[1], Some(detection(SECOND))));
    tokio::time::timeout(SECOND, changed.notified()).await.unwrap();
}
