//! What figures call the two ends of a captured connection.

use weft_testkit::{Client, TcpUpstream, Upstream, eventually::eventually, tcp::Script};
use weft_xds::pb::{
    core::TrafficDirection,
    listener::{FilterChainMatch, Listener},
    protobuf::UInt32Value,
};

use crate::stage::{Stage, always, ask, capture, cluster, http, tcp, unbound};

const WEB: [u8; 4] = [127, 0, 0, 5];

#[tokio::test]
async fn the_servers_proxy_reports_as_the_destination() {
    let upstream = TcpUpstream::start(Script::Greet(b"hello".to_vec())).await;
    let stage = Stage::start(&[cluster("inbound|7||", &[upstream.address()])], |port| {
        let own_port = FilterChainMatch {
            destination_port: Some(UInt32Value { value: port.into() }),
            ..always()
        };
        vec![Listener {
            traffic_direction: TrafficDirection::Inbound.into(),
            ..capture(port, vec![tcp("inbound|7||", own_port)])
        }]
    })
    .await;
    assert_eq!(ask(stage.connect(WEB).await, b"x").await, b"hello");
    eventually("it is counted", async || {
        let parts = [
            "reporter=\"destination\"",
            "source_workload=\"unknown\"",
            "destination_service_namespace=\"default\"",
            "connection_security_policy=\"none\"",
        ];
        stage.metric("istio_tcp_connections_closed_total", &parts).await
    })
    .await;
    let parts = ["reporter=\"source\""];
    assert_eq!(stage.metric("istio_tcp_connections_closed_total", &parts).await, None);
}

#[tokio::test]
async fn what_the_policy_refuses_is_counted_as_the_black_hole_and_never_by_its_name() {
    let web = Upstream::named("web");
    let stage = Stage::start(&[cluster("web", &[web.address()])], |port| {
        vec![
            unbound(WEB, port, vec![http("web", always())]),
            capture(port, Vec::new()),
        ]
    })
    .await;
    let mut client = Client::connect(stage.at(WEB)).await;
    let reply = client.ask("GET / HTTP/1.1\r\nhost: blocked.test\r\n\r\n").await;
    assert_eq!(reply.expect("a reply").status, 502);
    eventually("it is counted", async || {
        let parts = ["destination_service=\"BlackHoleCluster\"", "response_code=\"502\""];
        stage.metric("istio_requests_total", &parts).await
    })
    .await;
    assert_eq!(stage.metric("istio_requests_total", &["blocked.test"]).await, None);
}
