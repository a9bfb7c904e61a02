use std::time::Duration;

use weft_testkit::{
    Behaviour, Client, Seen, Upstream, client,
    client::request,
    eventually,
    mesh::free_address,
    objects::{NAMESPACE, policy},
};

use crate::stage::{mesh, sum};

fn rule(more: &str) -> String {
    format!("    - {{route: [{{destination: {{host: web}}}}], {more}}}\n")
}

const MIRROR: &str = "mirror: {host: copy}";

/// Requests of the copy's upstream, once there are so many.
async fn copies(upstream: &Upstream, count: usize) -> Vec<Seen> {
    eventually("the copies arrive", async || {
        let seen = upstream.ledger().seen();
        (seen.len() >= count && upstream.ledger().counts().active == 0).then_some(seen)
    })
    .await
}

#[tokio::test]
async fn a_copy_is_the_request_as_its_destination_sees_it() {
    let (web, copy) = (Upstream::named("web"), Upstream::named("copy"));
    let rules = rule(&format!(
        "{MIRROR}, rewrite: {{uri: /there, authority: new.test}}, headers: {{request: {{set: {{x-rule: said}}, remove: [x-out]}}}}"
    ));
    let mesh = mesh(&[("web", web.address()), ("copy", copy.address())], &rules, &[]).await;
    let reply = mesh.get("/here?q=1", &[("x-out", "1"), ("x-own", "2")]).await;
    assert_eq!(reply.text(), "web");
    let seen = copies(&copy, 1).await;
    let original = &web.ledger().seen()[0];
    assert_eq!(seen[0].head.start, original.head.start);
    for name in [
        "host",
        "x-rule",
        "x-out",
        "x-own",
        "x-request-id",
        "x-envoy-original-path",
    ] {
        assert_eq!(seen[0].field(name), original.field(name), "{name}");
    }
    assert_eq!(seen[0].field("host"), Some("new.test"));
    // It counts where it goes, and not against the client.
    let counted = |service: &str| format!("destination_service=\"{service}.{NAMESPACE}.svc.cluster.local\"");
    eventually("both are counted", async || {
        let of = async |service| {
            sum(
                &mesh,
                "istio_requests_total",
                &[&counted(service), "response_code=\"200\""],
            )
            .await
        };
        (of("web").await == 1.0 && of("copy").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(sum(&mesh, "weft_cluster_mirrors_total", &["|copy."]).await, 1.0);
}

#[tokio::test]
async fn each_mirror_is_drawn_apart() {
    let (web, often, never) = (Upstream::named("web"), Upstream::named("a"), Upstream::named("b"));
    let rules = rule(
        "mirrors: [{destination: {host: copy}, percentage: {value: 50}}, {destination: {host: copy}}, \
         {destination: {host: never}, percentage: {value: 0}}]",
    );
    let services = [
        ("web", web.address()),
        ("copy", often.address()),
        ("never", never.address()),
    ];
    let mesh = mesh(&services, &rules, &[]).await;
    let mut client = Client::connect(mesh.address()).await;
    for _ in 0..400 {
        client.get("shop.test", "/", &[]).await.expect("a reply");
    }
    let arrived = eventually("the copies arrive", async || {
        let arrived = often.ledger().counts().requests;
        (arrived as f64 == sum(&mesh, "weft_cluster_mirrors_total", &["|copy."]).await).then_some(arrived)
    })
    .await;
    // Five standard deviations around 200, on top of the 400 that are sure.
    assert!((550..=650).contains(&arrived), "{arrived}");
    assert_eq!(never.ledger().counts().requests, 0);
    assert_eq!(web.ledger().counts().requests, 400);
}

#[tokio::test]
async fn a_body_arrives_whole_at_every_copy_and_with_retries() {
    let web = Upstream::start(|seen| match seen.field("x-envoy-attempt-count") {
        Some("1") => Behaviour::status(503, "again"),
        _ => Behaviour::Echo,
    });
    let copy = Upstream::named("copy");
    let rules = rule(
        "mirrors: [{destination: {host: copy}}, {destination: {host: copy}}], retries: {attempts: 2, retryOn: 5xx}",
    );
    let mesh = mesh(&[("web", web.address()), ("copy", copy.address())], &rules, &[]).await;
    let body: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let length = body.len().to_string();
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    for (fields, sent) in [
        ([("content-length", length.as_str())], &body),
        ([("transfer-encoding", "chunked")], &chunked),
    ] {
        copy.ledger().clear();
        let mut client = Client::connect(mesh.address()).await;
        let post = [&request("POST", "shop.test", "/", &fields)[..], sent].concat();
        let reply = client.ask(post).await.expect("a reply");
        assert_eq!((reply.status, reply.body.bytes == body), (200, true));
        for seen in copies(&copy, 2).await {
            assert!(seen.body.bytes == body, "{fields:?}: {} bytes", seen.body.bytes.len());
            // A copy is sent once, whatever becomes of the original.
            assert_eq!(seen.field("x-envoy-attempt-count"), Some("1"));
        }
        assert_eq!(copy.ledger().counts().requests, 2);
    }
}

#[tokio::test]
async fn whatever_befalls_a_copy_the_client_does_not_know() {
    let web = Upstream::named("web");
    for (behaviour, code) in [
        (Behaviour::Reset, "503"),
        (Behaviour::Close, "503"),
        (Behaviour::status(500, "no"), "500"),
        (Behaviour::Raw(b"what?\r\n\r\n".to_vec()), "502"),
    ] {
        let done = behaviour.clone();
        let copy = Upstream::start(move |_| done.clone());
        let rules = rule(&format!("{MIRROR}, retries: {{attempts: 3, retryOn: 5xx}}"));
        let mesh = mesh(&[("web", web.address()), ("copy", copy.address())], &rules, &[]).await;
        assert_eq!(mesh.get("/", &[]).await.text(), "web");
        let labels = [
            format!("destination_service=\"copy.{NAMESPACE}.svc.cluster.local\""),
            format!("response_code=\"{code}\""),
        ];
        eventually(&format!("{behaviour:?} is counted"), async || {
            let counted = sum(&mesh, "istio_requests_total", &labels.each_ref().map(String::as_str)).await;
            (counted == 1.0).then_some(())
        })
        .await;
        assert_eq!(copy.ledger().counts().requests, 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_copy_that_nobody_takes_is_refused_by_its_own_limits() {
    let (web, copy) = (Upstream::named("web"), Upstream::start(|_| Behaviour::Silence));
    let policy = policy(
        "copy",
        "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}",
    );
    let services = [("web", web.address()), ("copy", copy.address())];
    let mesh = mesh(&services, &rule(MIRROR), &[policy]).await;
    let mut client = Client::connect(mesh.address()).await;
    for _ in 0..20 {
        assert_eq!(client.get("shop.test", "/", &[]).await.expect("a reply").text(), "web");
    }
    eventually("the rest is refused", async || {
        let refused = sum(&mesh, "envoy_cluster_upstream_rq_pending_overflow", &["|copy."]).await;
        (refused == 18.0).then_some(())
    })
    .await;
    assert_eq!(copy.ledger().counts().open_max, 1);
    assert_eq!(
        sum(&mesh, "envoy_cluster_upstream_rq_pending_overflow", &["|web."]).await,
        0.0
    );
}

#[tokio::test]
async fn a_slow_copy_loses_its_body_and_holds_back_nobody() {
    const BYTES: usize = 8 << 20;
    let web = Upstream::start(|_| Behaviour::ok("whole"));
    // It answers at once and reads nothing: a listener that accepts and sits there.
    let copy = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = copy.local_addr().expect("bound");
    let mesh = mesh(&[("web", web.address()), ("copy", address)], &rule(MIRROR), &[]).await;
    let mut client = Client::connect(mesh.address()).await;
    let length = BYTES.to_string();
    let post = request("POST", "shop.test", "/", &[("content-length", &length)]);
    let post = [post, vec![b'x'; BYTES]].concat();
    let reply = tokio::time::timeout(Duration::from_secs(20), client.ask(post)).await;
    let reply = reply.expect("not held back").expect("a reply");
    assert_eq!(reply.text(), "whole");
    assert_eq!(web.ledger().seen()[0].body.bytes.len(), BYTES);
    eventually("the copy is given up", async || {
        let given_up = sum(&mesh, "weft_cluster_mirrors_abandoned_total", &["|copy."]).await;
        (given_up == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_breaks_off_takes_its_copy_with_it() {
    let (web, copy) = (Upstream::named("web"), Upstream::named("copy"));
    let mesh = mesh(&[("web", web.address()), ("copy", copy.address())], &rule(MIRROR), &[]).await;
    let mut client = Client::connect(mesh.address()).await;
    let post = request("POST", "shop.test", "/", &[("content-length", "1000")]);
    client.send([&post[..], b"half"].concat()).await.expect("room");
    eventually("both have begun", async || {
        (web.ledger().counts().open == 1 && copy.ledger().counts().open == 1).then_some(())
    })
    .await;
    drop(client);
    eventually("both are gone", async || {
        (web.ledger().counts().open == 0 && copy.ledger().counts().open == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_answered_here_or_becomes_a_tunnel_is_not_copied() {
    let web = Upstream::start(|seen| match seen.field("upgrade") {
        Some(protocol) => Behaviour::Upgrade(protocol.to_owned()),
        None => Behaviour::ok("web"),
    });
    let copy = Upstream::named("copy");
    let rules = format!(
        "    - {{match: [{{uri: {{prefix: /abort}}}}], route: [{{destination: {{host: web}}}}], {MIRROR}, \
         fault: {{abort: {{percentage: {{value: 100}}, httpStatus: 500}}}}}}\n{}",
        rule(&format!(
            "{MIRROR}, corsPolicy: {{allowOrigins: [{{exact: 'https://a.test'}}]}}"
        ))
    );
    let mesh = mesh(&[("web", web.address()), ("copy", copy.address())], &rules, &[]).await;
    assert_eq!(mesh.get("/abort", &[]).await.status, 500);
    let asks = [("origin", "https://a.test"), ("access-control-request-method", "GET")];
    let mut client = Client::connect(mesh.address()).await;
    let preflight = request("OPTIONS", "shop.test", "/", &asks);
    assert_eq!(client.ask(preflight).await.expect("a reply").status, 200);
    let mut tunnel = Client::connect(mesh.address()).await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let reply = tunnel.get("shop.test", "/", &upgrade).await.expect("a reply");
    assert_eq!(reply.status, 101);
    assert_eq!(mesh.get("/last", &[]).await.text(), "web");
    let seen = copies(&copy, 1).await;
    assert_eq!(seen.iter().map(Seen::path).collect::<Vec<_>>(), ["/last"]);
}

#[tokio::test]
async fn a_mirror_that_is_dead_or_not_there_costs_no_request() {
    let web = Upstream::named("web");
    let rules = rule("mirrors: [{destination: {host: copy}}, {destination: {host: nowhere}}]");
    let mesh = mesh(&[("web", web.address()), ("copy", free_address())], &rules, &[]).await;
    for _ in 0..10 {
        let reply = client::get(mesh.address(), "shop.test", "/", &[]).await;
        assert_eq!(reply.expect("a reply").text(), "web");
    }
}
