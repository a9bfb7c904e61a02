//! Consistent hashes under Envoy and under us: the same key leads to the same endpoint, so that a fleet of both agrees.

use std::collections::BTreeSet;

use weft_testkit::{
    Client, Upstream,
    objects::{NAMESPACE, service},
};

use crate::stage::{BOTH, HOST, Stage, all_to_it, policy};

const ENDPOINTS: usize = 5;
const KEYS: usize = 60;

/// `loadBalancer`, and how a request says its key.
type Case = (&'static str, fn(usize) -> (String, Vec<(&'static str, String)>));

fn by_header(key: usize) -> (String, Vec<(&'static str, String)>) {
    ("/".into(), vec![("x-key", format!("user-{key}"))])
}

fn by_query(key: usize) -> (String, Vec<(&'static str, String)>) {
    (format!("/?other=1&key=user%20{key}&key=second"), Vec::new())
}

fn by_cookie(key: usize) -> (String, Vec<(&'static str, String)>) {
    let quoted = if key.is_multiple_of(2) { "\"" } else { "" };
    (
        "/".into(),
        vec![("cookie", format!("a=b; session={quoted}user{key}{quoted}; c=d"))],
    )
}

fn by_lines(key: usize) -> (String, Vec<(&'static str, String)>) {
    let lines = [format!("b{key}"), format!("a{key}")].map(|line| ("x-key", line));
    ("/".into(), lines.to_vec())
}

fn by_nothing(_: usize) -> (String, Vec<(&'static str, String)>) {
    ("/".into(), Vec::new())
}

const CASES: &[Case] = &[
    ("{consistentHash: {httpHeaderName: x-key}}", by_header),
    (
        "{consistentHash: {httpHeaderName: x-key, minimumRingSize: 37}}",
        by_header,
    ),
    (
        "{consistentHash: {httpHeaderName: x-key, ringHash: {minimumRingSize: 5000}}}",
        by_header,
    ),
    (
        "{consistentHash: {httpHeaderName: x-key, maglev: {tableSize: 65537}}}",
        by_header,
    ),
    (
        "{consistentHash: {httpHeaderName: x-key, maglev: {tableSize: 101}}}",
        by_header,
    ),
    ("{consistentHash: {httpHeaderName: x-key}}", by_lines),
    ("{consistentHash: {httpQueryParameterName: key}}", by_query),
    ("{consistentHash: {httpCookie: {name: session}}}", by_cookie),
    ("{consistentHash: {useSourceIp: true}}", by_nothing),
    (
        "{consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}",
        by_nothing,
    ),
];

/// Which endpoint each key leads to.
async fn choices(stage: &Stage, upstreams: &[Upstream], ask: Case) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut client = Client::connect(stage.address()).await;
    for key in 0..KEYS {
        let (path, fields) = (ask.1)(key);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let before: Vec<_> = upstreams.iter().map(|one| one.ledger().counts().requests).collect();
        client.get("shop.test", &path, &fields).await.expect("a reply");
        let at = upstreams
            .iter()
            .zip(before)
            .position(|(one, before)| one.ledger().counts().requests > before);
        chosen.push(at.expect("one of them"));
    }
    chosen
}

#[tokio::test]
async fn a_key_leads_to_the_same_endpoint_through_envoy_and_through_us() {
    let upstreams: Vec<_> = (0..ENDPOINTS).map(|_| Upstream::named("one")).collect();
    let pods: Vec<_> = upstreams.iter().map(|upstream| ("v1", upstream.address())).collect();
    for case in CASES {
        let traffic = format!("{{loadBalancer: {}}}", case.0);
        let objects = [service(HOST, &pods), all_to_it("{attempts: 0}"), policy(&traffic)];
        let stage = Stage::new("HTTP", &objects);
        let mut theirs = None;
        for who in BOTH {
            let _side = stage.enter(who).await;
            let ours = choices(&stage, &upstreams, *case).await;
            let distinct: BTreeSet<_> = ours.iter().collect();
            assert_eq!(
                distinct.len() > 1,
                !case.0.contains("useSourceIp"),
                "{who:?} {}: {ours:?}",
                case.0
            );
            match &theirs {
                None => theirs = Some(ours),
                Some(theirs) => assert_eq!(*theirs, ours, "{}", case.0),
            }
        }
    }
}

#[tokio::test]
async fn weights_count_alike() {
    let upstreams: Vec<_> = (0..4).map(|_| Upstream::named("one")).collect();
    let endpoints: String = upstreams
        .iter()
        .zip([1, 2, 3, 7])
        .map(|(upstream, weight)| {
            let address = upstream.address();
            format!(
                "    - {{address: {}, ports: {{http: {}}}, weight: {weight}}}\n",
                address.ip(),
                address.port()
            )
        })
        .collect();
    let entry = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {HOST}, namespace: {NAMESPACE}}}
spec:
  hosts: [web.shop.svc.cluster.local]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:
{endpoints}"
    );
    for case in [CASES[0], CASES[3]] {
        let traffic = format!("{{loadBalancer: {}}}", case.0);
        let objects = [entry.clone(), all_to_it("{attempts: 0}"), policy(&traffic)];
        let stage = Stage::new("HTTP", &objects);
        let mut theirs = None;
        for who in BOTH {
            let _side = stage.enter(who).await;
            let ours = choices(&stage, &upstreams, case).await;
            match &theirs {
                None => theirs = Some(ours),
                Some(theirs) => assert_eq!(*theirs, ours, "{}", case.0),
            }
        }
    }
}

#[tokio::test]
async fn both_make_a_cookie_that_leads_back() {
    let upstreams: Vec<_> = (0..ENDPOINTS).map(|_| Upstream::named("one")).collect();
    let pods: Vec<_> = upstreams.iter().map(|upstream| ("v1", upstream.address())).collect();
    for (cookie, end) in [
        ("{name: session, ttl: 90s, path: /a}", "; Max-Age=90; Path=/a; HttpOnly"),
        ("{name: session, ttl: 0s}", "; HttpOnly"),
        (
            "{name: session, ttl: 5s, attributes: [{name: Secure}, {name: SameSite, value: Lax}]}",
            "; Max-Age=5; Secure; SameSite=Lax; HttpOnly",
        ),
    ] {
        let traffic = format!("{{loadBalancer: {{consistentHash: {{httpCookie: {cookie}}}}}}}");
        let objects = [service(HOST, &pods), all_to_it("{attempts: 0}"), policy(&traffic)];
        let stage = Stage::new("HTTP", &objects);
        for who in BOTH {
            let _side = stage.enter(who).await;
            upstreams.iter().for_each(|upstream| upstream.ledger().clear());
            let mut first = Client::connect(stage.address()).await;
            let reply = first.get("shop.test", "/", &[]).await.expect("a reply");
            let made = reply.field("set-cookie").expect("a cookie").to_owned();
            let value = made.strip_suffix(end).unwrap_or_else(|| panic!("{who:?}: {made}"));
            let digits = value.strip_prefix("session=\"").and_then(|rest| rest.strip_suffix('"'));
            let digits = digits.unwrap_or_else(|| panic!("{who:?}: {made}"));
            assert!(digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            // The same again on the same connection, and back to the same endpoint on others.
            let again = first.get("shop.test", "/", &[]).await.expect("a reply");
            assert_eq!(again.field("set-cookie"), Some(made.as_str()), "{who:?}");
            for _ in 0..5 {
                let mut other = Client::connect(stage.address()).await;
                let fields = [("cookie", format!("session={digits}"))];
                let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
                let reply = other.get("shop.test", "/", &fields).await.expect("a reply");
                assert_eq!(reply.field("set-cookie"), None, "{who:?}");
            }
            let counts: Vec<_> = upstreams.iter().map(|one| one.ledger().counts().requests).collect();
            assert_eq!(counts.iter().max(), Some(&7), "{who:?} {cookie}: {counts:?}");
        }
    }
}
