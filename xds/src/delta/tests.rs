use std::collections::BTreeMap;

use super::client::Client;
use super::server::{receive, response};
use crate::pb::core::Node;
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::{Any, Received, Rejection, Resource, Subscription, TypeUrl, Verdict};

type Set = BTreeMap<String, Resource>;

fn resource(name: &str, content: &str) -> Resource {
    Resource::from_any(
        name,
        Any {
            type_url: "test/it".into(),
            value: content.into(),
        },
    )
}

fn set(items: &[(&str, &str)]) -> Set {
    items
        .iter()
        .map(|(name, content)| (name.to_string(), resource(name, content)))
        .collect()
}

fn request(subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        resource_names_subscribe: subscribe.iter().map(ToString::to_string).collect(),
        resource_names_unsubscribe: unsubscribe.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn ack(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        response_nonce: response.nonce.clone(),
        ..Default::default()
    }
}

/// Everything that a server with `set` would send now.
fn answer(sub: &mut Subscription, set: &Set) -> DeltaDiscoveryResponse {
    let upserts = sub.wanted(set);
    let mut removals = sub.gone(set);
    removals.extend(sub.owed().iter().filter(|name| !set.contains_key(&***name)).cloned());
    removals.sort();
    removals.dedup();
    let batch = sub.send(upserts, removals);
    response(sub.kind(), &batch, "")
}

fn summary(response: &DeltaDiscoveryResponse) -> String {
    let names: Vec<&str> = response.resources.iter().map(|one| one.name.as_str()).collect();
    format!("+{} -{}", names.join(","), response.removed_resources.join(","))
}

/// A script: requests, each with what the answer brings; every answer is acknowledged.
fn check(kind: TypeUrl, set: &Set, script: &[(DeltaDiscoveryRequest, &str)]) {
    let mut sub = Subscription::new(kind);
    for (step, (request, expected)) in script.iter().enumerate() {
        receive(&mut sub, request).unwrap();
        let answer = answer(&mut sub, set);
        assert_eq!(summary(&answer), *expected, "step {step}");
        assert!(matches!(receive(&mut sub, &ack(&answer)).unwrap(), Received::Ack(_)));
    }
}

#[test]
fn a_subscription_is_answered_as_the_protocol_has_it() {
    let three = set(&[("a", "1"), ("b", "1"), ("c", "1")]);
    // An empty first request means everything, an explicit name later adds to it, taking it away asks for its state.
    check(
        TypeUrl::Cluster,
        &three,
        &[
            (request(&[], &[]), "+a,b,c -"),
            (request(&["a"], &[]), "+a -"),
            (request(&[], &["a"]), "+a -"),
        ],
    );
    // The explicit wildcard, and its end.
    check(
        TypeUrl::Listener,
        &three,
        &[
            (request(&["*"], &[]), "+a,b,c -"),
            (request(&["b"], &["*"]), "+b -"),
            (request(&[], &[]), "+ -"),
        ],
    );
    // Names only: a name that does not exist is said to be removed, a repeated one is sent again.
    check(
        TypeUrl::Route,
        &three,
        &[
            (request(&["a", "nobody"], &[]), "+a -nobody"),
            (request(&["a"], &[]), "+a -"),
            (request(&[], &["a"]), "+ -"),
            (request(&[], &["phantom"]), "+ -"),
            (request(&["a"], &[]), "+a -"),
        ],
    );
    // Types without a wildcard give nothing to a client that names nothing.
    check(
        TypeUrl::Endpoint,
        &three,
        &[(request(&[], &[]), "+ -"), (request(&["*"], &[]), "+ -")],
    );
}

#[test]
fn a_reconnecting_client_gets_only_what_differs_and_is_told_what_is_gone() {
    let now = set(&[("same", "1"), ("changed", "2"), ("new", "1")]);
    let mut request = request(&["*"], &[]);
    let held = |name: &str, content| (name.to_string(), resource(name, content).version.to_string());
    request.initial_resource_versions = [held("same", "1"), held("changed", "1"), held("gone", "1")]
        .into_iter()
        .collect();
    check(TypeUrl::Cluster, &now, &[(request, "+changed,new -gone")]);
}

#[test]
fn a_refused_version_is_not_sent_again_until_its_content_changes() {
    let mut sub = Subscription::new(TypeUrl::Cluster);
    receive(&mut sub, &request(&[], &[])).unwrap();
    let first = answer(&mut sub, &set(&[("good", "1"), ("bad", "1")]));
    let mut nack = ack(&first);
    nack.error_detail = crate::error_detail(&[Rejection {
        name: "bad".into(),
        reason: "no".into(),
    }]);
    let Received::Nack(_, Verdict::Some(named)) = receive(&mut sub, &nack).unwrap() else {
        panic!("not a refusal by name");
    };
    assert_eq!(named.get("bad").map(String::as_str), Some("no"));
    assert!(sub.ledger().live("good").is_some() && sub.ledger().live("bad").is_none());
    assert!(sub.wanted(&set(&[("good", "1"), ("bad", "1")])).is_empty());
    assert_eq!(sub.wanted(&set(&[("good", "1"), ("bad", "2")])).len(), 1);
}

#[test]
fn a_refusal_without_names_refuses_all_that_was_new() {
    let mut sub = Subscription::new(TypeUrl::Cluster);
    receive(&mut sub, &request(&[], &[])).unwrap();
    let first = answer(&mut sub, &set(&[("a", "1"), ("b", "1")]));
    let mut nack = ack(&first);
    nack.error_detail = Some(crate::pb::rpc::Status {
        message: "no".into(),
        ..Default::default()
    });
    assert!(matches!(
        receive(&mut sub, &nack).unwrap(),
        Received::Nack(_, Verdict::Nack(_))
    ));
    assert!(sub.wanted(&set(&[("a", "1"), ("b", "1")])).is_empty());
    assert_eq!(
        sub.gone(&set(&[])).len(),
        2,
        "the client may still have taken a part of it"
    );
}

#[test]
fn a_client_that_never_answers_meets_a_limit() {
    let mut sub = Subscription::new(TypeUrl::Cluster);
    receive(&mut sub, &request(&[], &[])).unwrap();
    for round in 0..=crate::IN_FLIGHT_MAX {
        let content = round.to_string();
        answer(&mut sub, &set(&[("a", &content)]));
    }
    assert!(receive(&mut sub, &request(&[], &[])).is_err());
}

fn wire(kind: TypeUrl, nonce: &str, upserts: &[(&str, &str)], removed: &[&str]) -> DeltaDiscoveryResponse {
    let upserts = upserts.iter().map(|(name, content)| resource(name, content)).collect();
    let removals = removed.iter().map(|name| (*name).into()).collect();
    let batch = crate::Batch {
        nonce: 0,
        upserts,
        removals,
    };
    DeltaDiscoveryResponse {
        nonce: nonce.into(),
        ..response(kind, &batch, "")
    }
}

fn client() -> Client {
    Client::new(Node::default(), &[TypeUrl::Cluster, TypeUrl::Listener])
}

fn held(client: &Client, kind: TypeUrl) -> Vec<String> {
    client.held(kind).map(|(name, _)| name.to_string()).collect()
}

#[test]
fn a_client_keeps_the_good_names_the_bad_and_states_only_what_it_accepted() {
    let mut client = client();
    let first = client.connect();
    assert_eq!(first.len(), 2);
    assert!(
        first[0].node.is_some() && first[1].node.is_none(),
        "the node is stated once"
    );
    let update = client
        .receive(wire(TypeUrl::Cluster, "n1", &[("good", "1"), ("bad", "1")], &[]))
        .unwrap();
    let answer = client
        .settle(
            &update,
            &[Rejection {
                name: "bad".into(),
                reason: "no".into(),
            }],
        )
        .unwrap();
    assert_eq!(answer.response_nonce, "n1");
    assert_eq!(answer.error_detail.unwrap().message, "bad: no");
    let again = client.connect();
    let stated: Vec<&String> = again[0].initial_resource_versions.keys().collect();
    assert_eq!(stated, ["good"]);
}

#[test]
fn a_refused_change_leaves_the_last_good_version_stated() {
    let mut client = client();
    client.connect();
    let good = client
        .receive(wire(TypeUrl::Cluster, "n1", &[("a", "1")], &[]))
        .unwrap();
    client.settle(&good, &[]);
    let bad = client
        .receive(wire(TypeUrl::Cluster, "n2", &[("a", "2")], &[]))
        .unwrap();
    client.settle(
        &bad,
        &[Rejection {
            name: "a".into(),
            reason: "no".into(),
        }],
    );
    let stated = client.connect().remove(0).initial_resource_versions;
    assert_eq!(stated["a"], &*resource("a", "1").version);
}

#[test]
fn nothing_is_unlearnt_but_by_an_explicit_removal() {
    let mut client = client();
    client.connect();
    let update = client
        .receive(wire(TypeUrl::Cluster, "n1", &[("a", "1"), ("b", "1")], &[]))
        .unwrap();
    client.settle(&update, &[]);
    client.disconnect();
    client.connect();
    let empty = client.receive(wire(TypeUrl::Cluster, "1", &[], &[])).unwrap();
    client.settle(&empty, &[]);
    assert_eq!(held(&client, TypeUrl::Cluster), ["a", "b"]);
    let removal = client.receive(wire(TypeUrl::Cluster, "2", &[], &["a"])).unwrap();
    client.settle(&removal, &[]);
    assert_eq!(held(&client, TypeUrl::Cluster), ["b"]);
}

#[test]
fn a_response_that_names_a_resource_twice_is_refused_whole() {
    let mut client = client();
    client.connect();
    let update = client
        .receive(wire(TypeUrl::Cluster, "n1", &[("a", "1"), ("a", "2")], &["b"]))
        .unwrap();
    assert!(update.upserts.is_empty() && update.removals.is_empty());
    assert!(client.settle(&update, &[]).unwrap().error_detail.is_some());
    assert!(
        client
            .receive(DeltaDiscoveryResponse {
                type_url: "x".into(),
                ..Default::default()
            })
            .is_err()
    );
}

#[test]
fn a_first_fetch_is_complete_when_wildcards_and_the_names_found_in_them_are_answered() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let mut client = client();
    client.connect();
    for kind in [TypeUrl::Cluster, TypeUrl::Listener] {
        assert!(!client.is_complete());
        let update = client.receive(wire(kind, "1", &[("x", "1")], &[])).unwrap();
        client.settle(&update, &[]);
    }
    let (request, _) = client.subscribe(TypeUrl::Route, names(&["80", "81"]));
    assert_eq!(request.unwrap().resource_names_subscribe, ["80", "81"]);
    assert!(!client.is_complete());
    let update = client
        .receive(wire(TypeUrl::Route, "1", &[("80", "1")], &["81"]))
        .unwrap();
    client.settle(&update, &[]);
    assert!(client.is_complete());
    let (request, dropped) = client.subscribe(TypeUrl::Route, names(&["81", "82"]));
    let request = request.unwrap();
    assert_eq!(request.resource_names_subscribe, ["82"]);
    assert_eq!(request.resource_names_unsubscribe, ["80"]);
    assert_eq!(dropped, ["80"]);
}
