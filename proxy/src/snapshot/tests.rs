use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_xds::delta::client::Update;
use weft_xds::pb::cluster::{Cluster, cluster};
use weft_xds::pb::core::{Address, ConfigSource, SocketAddress, address, config_source, socket_address};
use weft_xds::pb::endpoint::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use weft_xds::pb::route::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action, route_match,
};
use weft_xds::{Resource, TypeUrl};

use super::{Snapshot, Store};

fn cluster_of(name: &str) -> Resource {
    let message = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(ConfigSource {
                config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(Default::default())),
                ..ConfigSource::default()
            }),
            service_name: String::new(),
        }),
        ..Cluster::default()
    };
    Resource::encode(name, &message)
}

fn endpoints_of(name: &str, ports: &[u32]) -> Resource {
    let endpoint = |port: &u32| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(SocketAddress {
                    address: "127.0.0.1".to_owned(),
                    port_specifier: Some(socket_address::PortSpecifier::PortValue(*port)),
                    ..SocketAddress::default()
                })),
            }),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    let message = ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: ports.iter().map(endpoint).collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    Resource::encode(name, &message)
}

fn table_of(name: &str, prefix: &str, cluster: &str) -> Resource {
    let message = RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![Route {
                r#match: Some(RouteMatch {
                    path_specifier: Some(route_match::PathSpecifier::Prefix(prefix.to_owned())),
                    ..RouteMatch::default()
                }),
                action: Some(route::Action::Route(RouteAction {
                    cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
                    ..RouteAction::default()
                })),
                ..Route::default()
            }],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    Resource::encode(name, &message)
}

fn take(store: &mut Store, kind: TypeUrl, resources: Vec<Resource>) -> Arc<Snapshot> {
    assert_eq!(store.apply(&Update::restored(kind, resources)), []);
    store.published.load_full()
}

fn filled() -> Store {
    let mut store = Store::new(Arc::default(), 1);
    take(&mut store, TypeUrl::Cluster, vec![cluster_of("a")]);
    take(&mut store, TypeUrl::Endpoint, vec![endpoints_of("a", &[1, 2])]);
    take(&mut store, TypeUrl::Route, vec![table_of("t", "/", "a")]);
    store
}

#[test]
fn an_endpoint_change_swaps_no_table_and_keeps_the_state_of_endpoints_that_stay() {
    let mut store = filled();
    let before = store.published.load_full();
    let state = before.cluster(0).unwrap().state.clone();
    let kept = state.endpoints().states[1].clone();
    let gone = state.endpoints().states[0].clone();

    let after = take(&mut store, TypeUrl::Endpoint, vec![endpoints_of("a", &[2, 3])]);

    assert!(Arc::ptr_eq(&before, &after), "the snapshot is the very same");
    let live = state.endpoints();
    assert!(live.states.iter().any(|state| Arc::ptr_eq(state, &kept)));
    assert_eq!(live.states.len(), 2);
    assert!(gone.is_removed() && !kept.is_removed());
}

#[test]
fn a_route_change_rebuilds_no_cluster_and_no_endpoint() {
    let mut store = filled();
    let before = store.published.load_full();
    let endpoints = before.cluster(0).unwrap().state.endpoints().clone();

    let after = take(&mut store, TypeUrl::Route, vec![table_of("t", "/new", "a")]);

    assert!(!Arc::ptr_eq(&before.route_tables, &after.route_tables));
    assert!(Arc::ptr_eq(&before.clusters, &after.clusters));
    assert!(Arc::ptr_eq(&endpoints, &after.cluster(0).unwrap().state.endpoints()));
}

#[test]
fn a_changed_cluster_keeps_its_slot_and_its_endpoints() {
    let mut store = filled();
    let before = store.published.load_full();
    let after = take(&mut store, TypeUrl::Cluster, vec![cluster_of("b"), cluster_of("a")]);
    let (old, new) = (before.cluster(0).unwrap(), after.cluster(0).unwrap());
    assert!(!Arc::ptr_eq(old, new));
    assert!(Arc::ptr_eq(&old.state, &new.state));
    assert_eq!(new.state.endpoints().states.len(), 2);
    assert!(Arc::ptr_eq(&before.route_tables, &after.route_tables));
}

#[test]
fn a_removed_cluster_leaves_its_slot_empty_and_comes_back_to_it() {
    let mut store = filled();
    let mut removal = Update::restored(TypeUrl::Cluster, Vec::new());
    removal.removals = vec!["a".to_owned()];
    assert_eq!(store.apply(&removal), []);
    assert!(store.published.load().cluster(0).is_none());
    let back = take(&mut store, TypeUrl::Cluster, vec![cluster_of("a")]);
    assert_eq!(
        back.cluster(0).unwrap().state.endpoints().states.len(),
        2,
        "its endpoints were never withdrawn"
    );
}

#[test]
fn what_does_not_translate_keeps_its_last_good_value_and_its_neighbours_live() {
    let mut store = filled();
    let good = store.routes.get("t").unwrap().clone();
    let mut bad = table_of("t", "/x", "a");
    bad.body = cluster_of("t").body;
    let rejected = store.apply(&Update::restored(TypeUrl::Route, vec![bad, table_of("u", "/", "a")]));
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].name, "t");
    let snapshot = store.published.load();
    assert!(Arc::ptr_eq(snapshot.route_table("t").unwrap(), &good));
    assert!(snapshot.route_table("u").is_some());
    assert_eq!(store.routes.refused().count(), 1);
}

fn listener_of(name: &str, port: u32) -> Resource {
    let message = weft_xds::pb::listener::Listener {
        name: name.to_owned(),
        address: Some(Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                address: "127.0.0.1".to_owned(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
                ..SocketAddress::default()
            })),
        }),
        ..weft_xds::pb::listener::Listener::default()
    };
    Resource::encode(name, &message)
}

fn removed(store: &mut Store, kind: TypeUrl, name: &str) -> Arc<Snapshot> {
    assert_eq!(store.apply(&Update::dropped(kind, vec![name.to_owned()])), []);
    store.published.load_full()
}

/// A pod goes and comes back: its sidecar loses its way in, first the listener and then the cluster, and gets both again.
#[tokio::test]
async fn a_connection_of_a_listener_that_went_finds_its_cluster_while_it_may_last() {
    let drain = Duration::from_secs(5);
    let mut store = filled();
    let with = take(
        &mut store,
        TypeUrl::Listener,
        vec![listener_of("in", 80), listener_of("other", 81)],
    );
    let [old, other] = ["in", "other"].map(|name| with.listeners.named(name).unwrap().clone());
    let cluster = with.cluster(0).unwrap().clone();

    removed(&mut store, TypeUrl::Listener, "in");
    let after = removed(&mut store, TypeUrl::Cluster, "a");
    assert!(after.cluster(0).is_none(), "the name does not resolve");
    assert!(after.cluster_for(&other, 0).is_none(), "nor for a listener in force");
    assert!(Arc::ptr_eq(after.cluster_for(&old, 0).unwrap(), &cluster));

    let anew = take(&mut store, TypeUrl::Listener, vec![listener_of("in", 80)]);
    assert!(anew.cluster_for(anew.listeners.named("in").unwrap(), 0).is_none());
    assert!(anew.cluster_for(&old, 0).is_some(), "its namesake changes nothing");
    let back = take(&mut store, TypeUrl::Cluster, vec![cluster_of("a")]);
    assert!(
        !Arc::ptr_eq(back.cluster_for(&old, 0).unwrap(), &cluster),
        "the one in force comes first"
    );
    assert!(back.departed.is_empty());

    let gone = removed(&mut store, TypeUrl::Cluster, "a");
    store.forget_departed(Instant::now(), drain);
    assert!(Arc::ptr_eq(&gone, &store.published.load_full()), "it is not time yet");
    store.forget_departed(Instant::now() + drain, drain);
    assert!(store.published.load().cluster_for(&old, 0).is_none());
}
