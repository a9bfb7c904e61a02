use std::collections::BTreeMap;

use super::server::{receive, response, send_some, send_whole};
use crate::pb::discovery::{DiscoveryRequest, DiscoveryResponse};
use crate::{Any, Received, Resource, Subscription, TypeUrl};

type Set = BTreeMap<String, Resource>;

fn set(items: &[(&str, &str)]) -> Set {
    let resource = |name: &str, content: &str| {
        Resource::from_any(
            name,
            Any {
                type_url: "test/it".into(),
                value: content.into(),
            },
        )
    };
    items
        .iter()
        .map(|(name, content)| (name.to_string(), resource(name, content)))
        .collect()
}

fn request(names: &[&str], answered: Option<&DiscoveryResponse>) -> DiscoveryRequest {
    DiscoveryRequest {
        resource_names: names.iter().map(ToString::to_string).collect(),
        response_nonce: answered.map(|response| response.nonce.clone()).unwrap_or_default(),
        version_info: answered
            .map(|response| response.version_info.clone())
            .unwrap_or_default(),
        ..Default::default()
    }
}

fn whole(sub: &mut Subscription, set: &Set) -> Option<DiscoveryResponse> {
    let asked = sub.asked(set).cloned().collect();
    send_whole(sub, asked).map(|batch| response(sub.kind(), &batch))
}

#[test]
fn clusters_and_listeners_travel_as_a_whole_and_only_when_something_changed() {
    let mut sub = Subscription::new(TypeUrl::Cluster);
    receive(&mut sub, &request(&[], None)).unwrap();
    let first = whole(&mut sub, &set(&[("a", "1"), ("b", "1")])).unwrap();
    assert_eq!(first.resources.len(), 2);
    assert!(matches!(
        receive(&mut sub, &request(&[], Some(&first))).unwrap(),
        Received::Ack(_)
    ));
    assert_eq!(whole(&mut sub, &set(&[("a", "1"), ("b", "1")])), None);
    let second = whole(&mut sub, &set(&[("a", "2")])).unwrap();
    assert_eq!(second.resources.len(), 1);
    assert_ne!(second.version_info, first.version_info);
    receive(&mut sub, &request(&[], Some(&second))).unwrap();
    assert!(sub.ledger().live("b").is_none(), "what a whole leaves out is gone");
}

#[test]
fn a_refused_whole_is_not_sent_again_until_something_changes() {
    let mut sub = Subscription::new(TypeUrl::Listener);
    receive(&mut sub, &request(&[], None)).unwrap();
    let first = whole(&mut sub, &set(&[("a", "1")])).unwrap();
    let mut nack = request(&[], Some(&first));
    nack.error_detail = Some(Default::default());
    assert!(matches!(receive(&mut sub, &nack).unwrap(), Received::Nack(..)));
    assert_eq!(whole(&mut sub, &set(&[("a", "1")])), None);
    assert!(whole(&mut sub, &set(&[("a", "2")])).is_some());
}

#[test]
fn routes_travel_by_name_and_a_stale_request_changes_no_names() {
    let all = set(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let mut sub = Subscription::new(TypeUrl::Route);
    receive(&mut sub, &request(&["a"], None)).unwrap();
    let send = |sub: &mut Subscription| {
        let wanted = sub.wanted(&all);
        let batch = send_some(sub, wanted);
        response(sub.kind(), &batch)
    };
    let first = send(&mut sub);
    assert_eq!(first.resources.len(), 1);
    receive(&mut sub, &request(&["a", "b"], Some(&first))).unwrap();
    let second = send(&mut sub);
    assert_eq!(second.resources.len(), 1, "only the name that is new");
    assert_eq!(
        receive(&mut sub, &request(&["c"], Some(&first))).unwrap(),
        Received::Stale
    );
    assert!(sub.interest().wants("b") && !sub.interest().wants("c"));
    assert!(matches!(
        receive(&mut sub, &request(&["b"], Some(&second))).unwrap(),
        Received::Ack(_)
    ));
    assert!(!sub.interest().wants("a"));
}

#[test]
fn an_empty_list_means_everything_only_before_any_name_was_given() {
    let mut sub = Subscription::new(TypeUrl::Cluster);
    receive(&mut sub, &request(&[], None)).unwrap();
    assert!(sub.interest().is_wildcard());
    receive(&mut sub, &request(&["a"], None)).unwrap();
    assert!(!sub.interest().is_wildcard());
    receive(&mut sub, &request(&[], None)).unwrap();
    assert!(!sub.interest().is_wildcard() && !sub.interest().wants("a"));
}
