use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_xds::pb::cluster::Cluster;
use weft_xds::pb::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use weft_xds::pb::endpoint::ClusterLoadAssignment;
use weft_xds::pb::listener::Listener;
use weft_xds::pb::route::{self, RouteConfiguration, VirtualHost};
use weft_xds::{Rejection, Resource, TypeUrl, error_detail, unpack};

use super::{Client, Outgoing, PHASE_DEADLINE, Protocol};
use crate::generate::ResourceSet;

use TypeUrl::{Cluster as Cds, Endpoint as Eds, Listener as Lds, Route as Rds};

/// A set with one listener, one route table `80` and the given clusters; each virtual host goes to one cluster.
/// A text after `=` stands for a change of content.
fn set(clusters: &[&str], hosts: &[(&str, &str)], listener: &str) -> Arc<ResourceSet> {
    let mut set = ResourceSet::default();
    for cluster in clusters {
        let (name, content) = cluster.split_once('=').unwrap_or((cluster, ""));
        let message = Cluster {
            name: name.into(),
            alt_stat_name: content.into(),
            ..Default::default()
        };
        set.clusters.insert(name.into(), Resource::encode(name, &message));
        let message = ClusterLoadAssignment {
            cluster_name: format!("{name}{content}"),
            ..Default::default()
        };
        set.endpoints.insert(name.into(), Resource::encode(name, &message));
    }
    let to = |cluster: &str| route::Route {
        action: Some(route::route::Action::Route(route::RouteAction {
            cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(cluster.into())),
            ..Default::default()
        })),
        ..Default::default()
    };
    let hosts = hosts.iter().map(|(name, cluster)| VirtualHost {
        name: name.to_string(),
        domains: vec![name.to_string()],
        routes: vec![to(cluster)],
        ..Default::default()
    });
    let table = RouteConfiguration {
        name: "80".into(),
        virtual_hosts: hosts.collect(),
        ..Default::default()
    };
    set.routes.insert("80".into(), Resource::encode("80", &table));
    let message = Listener {
        name: "l".into(),
        stat_prefix: listener.into(),
        ..Default::default()
    };
    set.listeners.insert("l".into(), Resource::encode("l", &message));
    Arc::new(set)
}

/// A client that answers when the script says so.
struct Peer {
    client: Client,
    now: Instant,
    unanswered: Vec<Outgoing>,
}

impl Peer {
    fn new(set: &Arc<ResourceSet>) -> Self {
        Self {
            client: Client::new(Protocol::Delta, set.clone()),
            now: Instant::now(),
            unanswered: Vec::new(),
        }
    }

    /// One that has fetched the whole set and asked for all its endpoints.
    fn synced(set: &Arc<ResourceSet>) -> Self {
        let mut peer = Self::new(set);
        let clusters: Vec<&str> = set.clusters.keys().map(String::as_str).collect();
        for (kind, names) in [(Cds, &[] as &[&str]), (Eds, &clusters), (Lds, &[]), (Rds, &["80"])] {
            peer.subscribe(kind, names);
            peer.ack_all();
        }
        assert!(peer.client.is_settled());
        peer
    }

    fn request(&mut self, kind: TypeUrl, request: &DeltaDiscoveryRequest) -> String {
        self.client.receive_delta(kind, request).unwrap();
        self.advance()
    }

    fn subscribe(&mut self, kind: TypeUrl, names: &[&str]) -> String {
        let names = names.iter().map(ToString::to_string).collect();
        self.request(
            kind,
            &DeltaDiscoveryRequest {
                resource_names_subscribe: names,
                ..Default::default()
            },
        )
    }

    fn update(&mut self, set: &Arc<ResourceSet>) -> String {
        self.client.update(set.clone());
        self.advance()
    }

    fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.advance()
    }

    /// What goes out now, as `CDS +a,b -c`.
    fn advance(&mut self) -> String {
        let out = self.client.advance(self.now);
        let texts = out.iter().map(|one| {
            let upserts: Vec<&str> = one.batch.upserts.iter().map(|resource| &*resource.name).collect();
            let removals: Vec<&str> = one.batch.removals.iter().map(|name| &**name).collect();
            let removals = if removals.is_empty() {
                String::new()
            } else {
                format!(" -{}", removals.join(","))
            };
            format!("{} +{}{removals}", one.kind, upserts.join(","))
        });
        let text = texts.collect::<Vec<_>>().join("; ");
        self.unanswered.extend(out);
        text
    }

    /// Answers the oldest response, refusing the named ones.
    fn answer(&mut self, refused: &[&str]) -> String {
        let oldest = self.unanswered.remove(0);
        let refused: Vec<Rejection> = refused
            .iter()
            .map(|name| Rejection {
                name: name.to_string(),
                reason: "no".into(),
            })
            .collect();
        let nonce = oldest.batch.nonce.to_string();
        let error_detail = error_detail(&refused);
        self.request(
            oldest.kind,
            &DeltaDiscoveryRequest {
                response_nonce: nonce,
                error_detail,
                ..Default::default()
            },
        )
    }

    fn ack_all(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while !self.unanswered.is_empty() {
            texts.push(self.answer(&[]));
        }
        texts
    }

    /// Virtual host → cluster of the newest route table sent.
    fn routes(&self) -> BTreeMap<String, String> {
        let sent = self
            .unanswered
            .iter()
            .rev()
            .find(|one| one.kind == Rds)
            .expect("no route table was sent");
        let table: RouteConfiguration = unpack(&sent.batch.upserts[0].body).unwrap();
        let target = |host: &VirtualHost| match &host.routes[0].action {
            Some(route::route::Action::Route(action)) => match &action.cluster_specifier {
                Some(route::route_action::ClusterSpecifier::Cluster(name)) => name.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        table
            .virtual_hosts
            .iter()
            .map(|host| (host.name.clone(), target(host)))
            .collect()
    }
}

#[test]
fn a_push_goes_out_phase_by_phase_each_after_the_answer_to_the_one_before() {
    let mut peer = Peer::synced(&set(&["a"], &[("x", "a")], "1"));
    assert_eq!(peer.update(&set(&["a=2"], &[("x", "a"), ("y", "a")], "2")), "CDS +a");
    assert_eq!(peer.wait(Duration::from_secs(1)), "");
    assert_eq!(peer.answer(&[]), "EDS +a");
    assert_eq!(peer.answer(&[]), "LDS +l");
    assert_eq!(peer.answer(&[]), "RDS +80");
    assert_eq!(peer.answer(&[]), "");
    assert!(peer.client.is_settled());
}

#[test]
fn changes_during_a_push_become_one_next_push() {
    let mut peer = Peer::synced(&set(&["a"], &[("x", "a")], "1"));
    assert_eq!(peer.update(&set(&["a=2"], &[("x", "a")], "2")), "CDS +a");
    assert_eq!(peer.update(&set(&["a=3"], &[("x", "a")], "2")), "");
    assert_eq!(peer.update(&set(&["a=4"], &[("x", "a")], "2")), "");
    let rest = peer.ack_all();
    assert_eq!(rest, ["EDS +a", "LDS +l", "CDS +a", "EDS +a", ""]);
}

#[test]
fn a_route_to_a_new_cluster_waits_for_the_answer_to_its_endpoints() {
    let mut peer = Peer::synced(&set(&["a"], &[("x", "a")], "1"));
    assert_eq!(peer.update(&set(&["a", "b"], &[("x", "b")], "1")), "CDS +b");
    assert_eq!(peer.answer(&[]), "", "nobody has asked for the endpoints yet");
    assert_eq!(peer.subscribe(Eds, &["b"]), "EDS +b");
    assert_eq!(peer.answer(&[]), "RDS +80");
}

#[test]
fn a_client_that_does_not_answer_holds_up_a_phase_until_a_deadline_and_no_longer() {
    let mut peer = Peer::synced(&set(&["a"], &[("x", "a"), ("y", "a")], "1"));
    assert_eq!(peer.update(&set(&["a", "b"], &[("x", "b"), ("y", "b")], "2")), "CDS +b");
    assert_eq!(peer.wait(PHASE_DEADLINE - Duration::from_millis(1)), "");
    assert_eq!(peer.wait(Duration::from_millis(1)), "LDS +l");
    // The cluster was never acknowledged, so the routes to it stay with their last good value.
    assert_eq!(peer.client.held_back().len(), 0);
    peer.unanswered.rotate_left(1);
    assert_eq!(peer.answer(&[]), "");
    assert_eq!(peer.client.held_back().len(), 1);
    // The late answer releases them.
    assert_eq!(peer.answer(&[]), "");
    assert_eq!(peer.subscribe(Eds, &["b"]), "EDS +b");
    assert_eq!(peer.answer(&[]), "RDS +80");
    assert_eq!(peer.client.held_back().len(), 0);
}

#[test]
fn a_refused_cluster_holds_back_only_the_virtual_hosts_that_need_it() {
    let mut peer = Peer::synced(&set(&["a"], &[("x", "a"), ("y", "a")], "1"));
    assert_eq!(
        peer.update(&set(&["a", "bad", "c"], &[("x", "bad"), ("y", "c")], "1")),
        "CDS +bad,c"
    );
    assert_eq!(peer.answer(&["bad"]), "");
    assert_eq!(peer.subscribe(Eds, &["c"]), "EDS +c");
    assert_eq!(peer.answer(&[]), "RDS +80");
    let expected = [("x", "a"), ("y", "c")].map(|(host, cluster)| (host.to_string(), cluster.to_string()));
    assert_eq!(peer.routes(), expected.into());
    peer.ack_all();
    // The refused version is not tried again, a new one is.
    assert_eq!(
        peer.update(&set(&["a", "bad", "c"], &[("x", "bad"), ("y", "c")], "2")),
        "LDS +l"
    );
    peer.ack_all();
    assert_eq!(
        peer.update(&set(&["a", "bad=2", "c"], &[("x", "bad"), ("y", "c")], "2")),
        "CDS +bad"
    );
    peer.answer(&[]);
    peer.subscribe(Eds, &["bad"]);
    assert_eq!(peer.answer(&[]), "RDS +80");
    assert_eq!(peer.routes()["x"], "bad");
}

#[test]
fn a_reference_that_does_not_resolve_keeps_the_last_good_value_where_there_is_one() {
    let unresolved = set(&["a"], &[("x", "nowhere"), ("new", "nowhere"), ("y", "a")], "1");
    let mut holds_one = Peer::synced(&set(&["a"], &[("x", "a")], "1"));
    assert_eq!(holds_one.update(&unresolved), "RDS +80");
    let routes = holds_one.routes();
    assert_eq!((&*routes["x"], &*routes["new"], &*routes["y"]), ("a", "nowhere", "a"));
    assert_eq!(
        holds_one.client.held_back()["80"].iter().collect::<Vec<_>>(),
        ["nowhere"]
    );
    holds_one.ack_all();
    // A repeated subscription gets the same answer.
    assert_eq!(holds_one.subscribe(Rds, &["80"]), "RDS +80");
    assert_eq!(holds_one.routes()["x"], "a");

    let mut never_had_one = Peer::new(&unresolved);
    assert_eq!(never_had_one.subscribe(Rds, &["80"]), "RDS +80");
    assert_eq!(never_had_one.routes()["x"], "nowhere");
}

/// The same set, with a listener that copies bytes to a cluster.
fn copying(set: &Arc<ResourceSet>, cluster: &str) -> Arc<ResourceSet> {
    use weft_xds::pb::listener::{Filter, FilterChain, filter::ConfigType};
    use weft_xds::pb::tcp_proxy::{TcpProxy, tcp_proxy::ClusterSpecifier};
    let proxy = TcpProxy {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
        ..Default::default()
    };
    let filter = Filter {
        config_type: Some(ConfigType::TypedConfig(weft_xds::pack(&proxy))),
        ..Default::default()
    };
    let message = Listener {
        name: "l".into(),
        filter_chains: vec![FilterChain {
            filters: vec![filter],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut set = ResourceSet::clone(set);
    set.listeners.insert("l".into(), Resource::encode("l", &message));
    Arc::new(set)
}

#[test]
fn a_listener_to_a_cluster_that_is_not_there_stays_as_it_was_and_pins_what_it_names() {
    let base = set(&["a", "b"], &[("x", "a")], "1");
    let mut peer = Peer::synced(&copying(&base, "b"));
    let without_b = set(&["a"], &[("x", "a")], "1");
    assert_eq!(peer.update(&copying(&without_b, "nowhere")), "", "b is still in use");
    assert_eq!(peer.client.held_back()["l"].iter().collect::<Vec<_>>(), ["nowhere"]);
    assert_eq!(peer.update(&copying(&without_b, "a")), "LDS +l");
    assert_eq!(peer.client.held_back().len(), 0);
    assert_eq!(peer.ack_all(), ["EDS + -b", "CDS + -b", ""]);

    let mut never_had_one = Peer::new(&copying(&without_b, "nowhere"));
    assert_eq!(never_had_one.subscribe(Lds, &[]), "LDS +l");
}

#[test]
fn removals_come_last_and_never_while_a_route_in_use_names_them() {
    let mut peer = Peer::synced(&set(&["a", "b"], &[("x", "b")], "1"));
    assert_eq!(peer.update(&set(&["a"], &[("x", "a")], "1")), "RDS +80");
    assert_eq!(
        peer.wait(Duration::from_secs(1)),
        "",
        "not before the client has left the cluster"
    );
    assert_eq!(peer.answer(&[]), "EDS + -b");
    assert_eq!(peer.answer(&[]), "CDS + -b");
    peer.ack_all();

    let mut peer = Peer::synced(&set(&["a", "b"], &[("x", "b")], "1"));
    assert_eq!(
        peer.update(&set(&["a"], &[("x", "b")], "1")),
        "",
        "the route still names it"
    );
    assert_eq!(peer.update(&set(&["a"], &[("x", "a")], "1")), "RDS +80");
    assert_eq!(peer.ack_all(), ["EDS + -b", "CDS + -b", ""]);
}

/// A reconnecting client that holds `held`, at a server that has `now`.
fn reconnected(held: &ResourceSet, now: &Arc<ResourceSet>) -> Peer {
    let mut peer = Peer::new(now);
    for (kind, resources) in [
        (Cds, &held.clusters),
        (Eds, &held.endpoints),
        (Lds, &held.listeners),
        (Rds, &held.routes),
    ] {
        let names = || resources.keys().cloned();
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: if kind.allows_wildcard() {
                vec!["*".into()]
            } else {
                names().collect()
            },
            initial_resource_versions: names()
                .zip(resources.values().map(|one| one.version.to_string()))
                .collect(),
            ..Default::default()
        };
        peer.client.receive_delta(kind, &request).unwrap();
    }
    peer
}

#[test]
fn a_reconnecting_client_that_is_up_to_date_is_only_told_so() {
    let same = set(&["a"], &[("x", "a")], "1");
    let mut peer = reconnected(&same, &same);
    assert_eq!(peer.advance(), "CDS +");
    assert_eq!(peer.ack_all(), ["EDS +", "LDS +", "RDS +", ""]);
}

#[test]
fn a_restarted_server_withholds_routes_that_do_not_resolve_and_removes_nothing_they_may_need() {
    let held = set(&["a", "b"], &[("x", "b")], "1");
    let mut peer = reconnected(&held, &set(&["a"], &[("x", "b"), ("y", "gone")], "1"));
    assert_eq!(peer.advance(), "CDS +");
    assert_eq!(peer.ack_all(), ["EDS +", "LDS +", "RDS +", ""]);
    assert_eq!(peer.client.held_back().len(), 1);
    assert_eq!(peer.update(&set(&["a"], &[("x", "a")], "1")), "RDS +80");
    assert_eq!(peer.ack_all(), ["EDS + -b", "CDS + -b", ""]);
}

#[test]
fn a_state_of_the_world_client_loses_a_cluster_only_after_its_routes_have_left_it() {
    let mut client = Client::new(Protocol::Sotw, set(&["a", "b"], &[("x", "b")], "1"));
    let now = Instant::now();
    let names = |kind| -> Vec<String> {
        match kind {
            Eds => vec!["a".into(), "b".into()],
            Rds => vec!["80".into()],
            _ => Vec::new(),
        }
    };
    let mut log = Vec::new();
    let mut queue: Vec<Outgoing> = Vec::new();
    let mut settle = |client: &mut Client, queue: &mut Vec<Outgoing>| {
        while !queue.is_empty() {
            let one = queue.remove(0);
            let content: Vec<&str> = one.batch.upserts.iter().map(|resource| &*resource.name).collect();
            log.push(format!("{} {}", one.kind, content.join(",")));
            let request = DiscoveryRequest {
                resource_names: names(one.kind),
                response_nonce: one.batch.nonce.to_string(),
                ..Default::default()
            };
            client.receive_sotw(one.kind, &request).unwrap();
            queue.extend(client.advance(now));
        }
        std::mem::take(&mut log)
    };
    for kind in [Cds, Eds, Lds, Rds] {
        let request = DiscoveryRequest {
            resource_names: names(kind),
            ..Default::default()
        };
        client.receive_sotw(kind, &request).unwrap();
        queue.extend(client.advance(now));
        settle(&mut client, &mut queue);
    }
    client.update(set(&["a", "c"], &[("x", "a")], "1"));
    queue.extend(client.advance(now));
    // The new cluster's endpoints are not asked for by this client, so the phase ends by its deadline.
    assert_eq!(settle(&mut client, &mut queue), ["CDS a,b,c"]);
    queue.extend(client.advance(now + PHASE_DEADLINE));
    assert_eq!(settle(&mut client, &mut queue), ["RDS 80", "CDS a,c"]);
}
