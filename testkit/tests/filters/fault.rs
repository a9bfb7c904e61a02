use weft_testkit::{
    Behaviour, Client, Http2Client, Upstream,
    client::{self, request},
    eventually,
    objects::policy,
};

use crate::stage::{mesh, sum};

const ALWAYS: &str = "percentage: {value: 100}";

fn rule(fault: &str, more: &str) -> String {
    format!("    - {{fault: {{{fault}}}, route: [{{destination: {{host: web}}}}]{more}}}\n")
}

#[tokio::test]
async fn an_aborted_request_reaches_nobody_and_counts_against_nobody() {
    let upstream = Upstream::named("web");
    let policy = policy(
        "web",
        "{outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100}}",
    );
    let rules = rule(
        &format!("abort: {{{ALWAYS}, httpStatus: 503}}"),
        ", retries: {attempts: 3, retryOn: 5xx}, headers: {response: {set: {x-rule: said}}}",
    );
    let mesh = mesh(&[("web", upstream.address())], &rules, &[policy]).await;
    for _ in 0..10 {
        let reply = mesh.get("/", &[]).await;
        assert_eq!((reply.status, reply.text().as_str()), (503, "fault filter abort"));
        // Operations of the route apply; what only concerns the inside stays inside.
        assert_eq!(
            (reply.field("x-rule"), reply.field("x-weft-reason")),
            (Some("said"), None)
        );
    }
    assert_eq!(upstream.ledger().counts().accepts, 0);
    let aborted = [
        "response_flags=\"FI\"",
        "response_code=\"503\"",
        "destination_service=\"web.shop.svc.cluster.local\"",
    ];
    assert_eq!(sum(&mesh, "istio_requests_total", &aborted).await, 10.0);
    assert_eq!(
        sum(&mesh, "weft_request_failures_total", &["reason=\"local.fault.abort\""]).await,
        10.0
    );
    for counter in [
        "envoy_cluster_upstream_rq_retry",
        "envoy_cluster_outlier_detection_ejections_enforced_total",
        "envoy_cluster_upstream_rq_pending_overflow",
    ] {
        assert_eq!(sum(&mesh, counter, &[]).await, 0.0, "{counter}");
    }
}

#[tokio::test]
async fn a_grpc_call_gets_its_status_in_the_headers() {
    let upstream = Upstream::named("web");
    let rules = rule(&format!("abort: {{{ALWAYS}, grpcStatus: DATA_LOSS}}"), "");
    let mesh = mesh(&[("web", upstream.address())], &rules, &[]).await;
    let (client, _driver) = Http2Client::connect(mesh.address()).await.expect("a connection");
    let call = http::Request::builder()
        .method("POST")
        .uri("http://shop.test/a.B/C")
        .header("content-type", "application/grpc");
    let call = call.body(()).expect("a request");
    let reply = client.send(call, b"", None).await.expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.fields.get("grpc-status").map(http::HeaderValue::as_bytes),
        Some(&b"15"[..])
    );
    // Others get the plain form of it.
    let plain = mesh.get("/", &[]).await;
    assert_eq!((plain.status, plain.field("grpc-status")), (200, None));
    assert_eq!(
        sum(&mesh, "istio_requests_total", &["grpc_response_status=\"15\""]).await,
        1.0
    );
    assert_eq!(upstream.ledger().counts().requests, 0);
}

#[tokio::test]
async fn a_delay_is_not_part_of_the_time_that_a_route_allows() {
    let upstream = Upstream::named("web");
    let rules = rule(&format!("delay: {{{ALWAYS}, fixedDelay: 400ms}}"), ", timeout: 200ms");
    let mesh = mesh(&[("web", upstream.address())], &rules, &[]).await;
    assert_eq!(mesh.get("/", &[]).await.status, 200);
    let delayed = ["response_flags=\"DI\"", "response_code=\"200\""];
    assert_eq!(sum(&mesh, "istio_requests_total", &delayed).await, 1.0);
}

#[tokio::test]
async fn a_request_may_be_delayed_and_aborted() {
    let upstream = Upstream::named("web");
    let rules = rule(
        &format!("delay: {{{ALWAYS}, fixedDelay: 300ms}}, abort: {{{ALWAYS}, httpStatus: 418}}"),
        "",
    );
    let mesh = mesh(&[("web", upstream.address())], &rules, &[]).await;
    assert_eq!(mesh.get("/", &[]).await.status, 418);
    assert_eq!(
        sum(&mesh, "istio_requests_total", &["response_flags=\"DI,FI\""]).await,
        1.0
    );
}

#[tokio::test]
async fn who_leaves_during_a_delay_is_forgotten_at_once() {
    let upstream = Upstream::named("web");
    let rules = rule(&format!("delay: {{{ALWAYS}, fixedDelay: 1h}}"), "");
    let mesh = mesh(&[("web", upstream.address())], &rules, &[]).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(mesh.address()).await;
        client.send(request("GET", "shop.test", "/", &[])).await.expect("room");
        clients.push(client);
    }
    eventually("all are held", async || {
        (sum(&mesh, "weft_downstream_connections", &[]).await >= 50.0).then_some(())
    })
    .await;
    drop(clients);
    eventually("all are counted as gone", async || {
        let gone = ["response_flags=\"DI,DC\"", "response_code=\"0\""];
        (sum(&mesh, "istio_requests_total", &gone).await == 50.0).then_some(())
    })
    .await;
    assert_eq!(upstream.ledger().counts().accepts, 0);
}

#[tokio::test]
async fn a_body_that_nobody_reads_ends_the_connection_of_an_aborted_request() {
    let upstream = Upstream::named("web");
    let rules = rule(&format!("abort: {{{ALWAYS}, httpStatus: 400}}"), "");
    let mesh = mesh(&[("web", upstream.address())], &rules, &[]).await;
    let mut client = Client::connect(mesh.address()).await;
    let whole = [
        request("POST", "shop.test", "/", &[("content-length", "4")]),
        b"body".to_vec(),
    ];
    for _ in 0..3 {
        // What has arrived is passed over, and the connection goes on.
        assert_eq!(client.ask(whole.concat()).await.expect("a reply").status, 400);
    }
    let half = request("POST", "shop.test", "/", &[("content-length", "40000")]);
    let reply = client.ask(half).await.expect("a reply");
    assert_eq!((reply.status, reply.field("connection")), (400, Some("close")));
    assert!(client.ended().await);
}

#[tokio::test]
async fn aborted_requests_take_no_turn_in_a_split() {
    let upstreams = [Upstream::named("web"), Upstream::named("other")];
    let rules = "    - match: [{headers: {x-abort: {exact: 'yes'}}}]
      fault: {abort: {percentage: {value: 100}, httpStatus: 500}}
      route: [{destination: {host: web}, weight: 50}, {destination: {host: other}, weight: 50}]
    - fault: {abort: {percentage: {value: 50}, httpStatus: 500}}
      route: [{destination: {host: web}, weight: 50}, {destination: {host: other}, weight: 50}]
";
    let services = [("web", upstreams[0].address()), ("other", upstreams[1].address())];
    let mesh = mesh(&services, rules, &[]).await;
    // Of 1 000 draws at one half far more than 100 are answered.
    const ASKED_MAX: usize = 1_000;
    let mut answered = Vec::new();
    for _ in 0..ASKED_MAX {
        if answered.len() == 100 {
            break;
        }
        let refused = mesh.get("/", &[("x-abort", "yes")]).await;
        assert_eq!(refused.status, 500);
        let reply = client::get(mesh.address(), "shop.test", "/", &[])
            .await
            .expect("a reply");
        if reply.status == 200 {
            answered.push(reply.text());
        }
    }
    assert_eq!(answered.len(), 100);
    let first = answered.iter().filter(|name| *name == "web").count();
    assert!((49..=51).contains(&first), "{first} of 100");
}

#[tokio::test]
async fn a_change_ends_faults_for_the_next_request_of_a_connection() {
    let upstream = Upstream::start(|_| Behaviour::ok("fine"));
    let rules = rule(&format!("abort: {{{ALWAYS}, httpStatus: 500}}"), "");
    let mesh = mesh(&[("web", upstream.address())], &rules, &[]).await;
    let mut client = Client::connect(mesh.address()).await;
    assert_eq!(client.get("shop.test", "/", &[]).await.expect("a reply").status, 500);
    let calm = "    - route: [{destination: {host: web}}]\n";
    mesh.control
        .replace(weft_testkit::mesh::RULES, &weft_testkit::objects::rules("web", calm));
    eventually("the fault is gone", async || {
        let reply = client.get("shop.test", "/", &[]).await.expect("the connection stays");
        (reply.status == 200).then_some(())
    })
    .await;
}
