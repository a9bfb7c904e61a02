//! A gateway under our control plane: split, subsets, header routes, bodies, upgrades.

use std::collections::BTreeMap;

use weft_testkit::{
    Behaviour, Client, Mesh, Upstream,
    client::request,
    objects::{file, rules, service, split, subsets},
};

/// Requests that a window of the split is judged by.
const WINDOW: usize = 100;

async fn three(weights: &[(&str, u32)], workers: usize) -> (Mesh, [Upstream; 3]) {
    let upstreams = ["v1", "v2", "v3"].map(Upstream::named);
    let pods: Vec<_> = ["v1", "v2", "v3"]
        .into_iter()
        .zip(&upstreams)
        .map(|(v, u)| (v, u.address()))
        .collect();
    let text = file(&[
        rules("web", &split("web", weights)),
        subsets("web", &["v1", "v2", "v3"]),
    ]);
    (Mesh::start(&[service("web", &pods)], &text, workers).await, upstreams)
}

/// Asserts that in every window of this order each destination has its share to within one request.
fn assert_even(order: &[String], weights: &[(&str, u32)]) {
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    for (start, window) in order.windows(WINDOW).enumerate() {
        let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
        for name in window {
            *counts.entry(name).or_default() += 1.0;
        }
        for (name, weight) in weights {
            let share = WINDOW as f64 * f64::from(*weight) / f64::from(total);
            let found = counts.get(name).copied().unwrap_or_default();
            assert!(
                (found - share).abs() <= 1.0,
                "{name} got {found} of {share} in requests {start}..{}",
                start + WINDOW
            );
        }
    }
}

#[tokio::test]
async fn any_hundred_requests_through_four_workers_are_within_one_of_their_shares() {
    let weights = [("v1", 37), ("v2", 33), ("v3", 30)];
    let (mesh, _upstreams) = three(&weights, 4).await;
    let mut connections = Vec::new();
    // Enough of them that the kernel spreads them over all workers.
    for _ in 0..16 {
        connections.push(Client::connect(mesh.address()).await);
    }
    let mut order = Vec::new();
    for index in 0..5 * WINDOW {
        let client = &mut connections[index % 16];
        order.push(client.get("shop.test", "/", &[]).await.expect("a reply").text());
    }
    assert_even(&order, &weights);
}

#[tokio::test]
async fn a_header_route_comes_before_the_split() {
    let upstreams = ["v1", "v2"].map(Upstream::named);
    let web = service("web", &[("v1", upstreams[0].address()), ("v2", upstreams[1].address())]);
    let http = format!(
        "    - match: [{{headers: {{end-user: {{exact: jason}}}}}}]\n      route: [{{destination: {{host: web, subset: v2}}}}]\n{}",
        split("web", &[("v1", 50), ("v2", 50)])
    );
    let mesh = Mesh::start(&[web], &file(&[rules("web", &http), subsets("web", &["v1", "v2"])]), 1).await;
    let mut order = Vec::new();
    for _ in 0..2 * WINDOW {
        assert_eq!(mesh.get("/", &[("end-user", "jason")]).await.text(), "v2");
        order.push(mesh.get("/", &[]).await.text());
    }
    assert_even(&order, &[("v1", 50), ("v2", 50)]);
}

#[tokio::test]
async fn bodies_stream_both_ways_with_either_framing_and_trailing_requests_follow() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let web = service("web", &[("v1", upstream.address())]);
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        2,
    )
    .await;
    let mut client = Client::connect(mesh.address()).await;
    for bytes in [0, 1, 1000, 70_000, 1_000_000] {
        let body = vec![b'b'; bytes];
        let head = format!("POST /{bytes} HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
        let reply = client.ask([head.as_bytes(), &body].concat()).await.expect("a reply");
        assert_eq!(
            (reply.status, reply.body.bytes == body),
            (200, true),
            "{bytes} bytes with a length"
        );
        let head = "POST /chunked HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
        let chunk = if bytes == 0 {
            Vec::new()
        } else {
            [format!("{bytes:x}\r\n").as_bytes(), &body, b"\r\n"].concat()
        };
        let reply = client
            .ask([head.as_bytes(), &chunk, b"0\r\n\r\n"].concat())
            .await
            .expect("a reply");
        assert_eq!(
            (reply.status, reply.body.bytes == body),
            (200, true),
            "{bytes} bytes in chunks"
        );
    }
    let head_only = client.ask(request("HEAD", "a", "/head", &[])).await.expect("a reply");
    assert_eq!(head_only.status, 200);
    assert_eq!(
        upstream.ledger().counts().open_max,
        1,
        "one connection at a time needs one upstream connection"
    );
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let upstream = Upstream::start(|seen| match seen.field("upgrade") {
        Some(protocol) => Behaviour::Upgrade(protocol.to_owned()),
        None => Behaviour::ok("plain"),
    });
    let web = service("web", &[("v1", upstream.address())]);
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        1,
    )
    .await;
    let mut client = Client::connect(mesh.address()).await;
    let reply = client
        .get("a", "/", &[("connection", "Upgrade"), ("upgrade", "websocket")])
        .await
        .expect("a reply");
    assert_eq!((reply.status, reply.field("upgrade")), (101, Some("websocket")));
    for word in ["ping", "and again"] {
        client.send(word).await.expect("the tunnel is open");
        assert_eq!(client.raw(word.len()).await, word.as_bytes());
    }
    drop(client);
    assert_eq!(mesh.get("/", &[]).await.text(), "plain");
}

#[tokio::test]
async fn requests_leave_as_they_came_but_for_what_a_proxy_must_change() {
    let upstream = Upstream::named("one");
    let web = service("web", &[("v1", upstream.address())]);
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        1,
    )
    .await;
    let fields = [
        ("x-a", "1"),
        ("x-a", "2"),
        ("connection", "x-hop"),
        ("x-hop", "gone"),
        ("te", "gzip"),
    ];
    let reply = mesh.get("/p%20q?x=%2F&y", &fields).await;
    assert_eq!(reply.status, 200);
    let seen = upstream.ledger().seen().pop().expect("one request");
    assert_eq!(
        (seen.method(), seen.path(), seen.field("host")),
        ("GET", "/p%20q?x=%2F&y", Some("shop.test"))
    );
    assert_eq!(seen.head.all("x-a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(
        (seen.field("x-hop"), seen.field("te")),
        (None, None),
        "fields of one connection stay there: {seen:?}"
    );
    assert!(
        seen.field("x-request-id").is_some() && seen.field("x-forwarded-for").is_some(),
        "{seen:?}"
    );
}

#[tokio::test]
async fn what_no_rule_fits_is_answered_here() {
    let upstream = Upstream::named("one");
    let web = service("web", &[("v1", upstream.address())]);
    let http = "    - match: [{uri: {prefix: /known}}]\n      route: [{destination: {host: web}}]\n    - match: [{uri: {prefix: /part}}]\n      route: [{destination: {host: web, subset: none}}]\n";
    let mesh = Mesh::start(&[web], &file(&[rules("web", http)]), 1).await;
    for (path, status) in [("/known", 200), ("/unknown", 404), ("/part", 503)] {
        assert_eq!(mesh.get(path, &[]).await.status, status, "{path}");
    }
    assert_eq!(upstream.ledger().counts().requests, 1);
}
