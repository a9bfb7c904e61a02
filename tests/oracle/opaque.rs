//! The split of opaque connections under Envoy and under us.

use tokio::{io::AsyncReadExt, net::TcpStream};
use weft_testkit::{
    TcpUpstream,
    eventually::in_time,
    objects::{NAMESPACE, service, subsets},
    tcp::Script,
};

use crate::stage::{BOTH, HOST, Stage, Who};
use crate::{SIGMAS, WINDOW, assert_shares};

/// Connections of which the shares are judged.
const CONNECTIONS: usize = 400;

const WEIGHTS: [(&str, u32); 2] = [("v1", 70), ("v2", 30)];

async fn greeting(stage: &Stage) -> String {
    let mut stream = TcpStream::connect(stage.address()).await.expect("it listens");
    let mut text = String::new();
    in_time("a greeting", stream.read_to_string(&mut text))
        .await
        .expect("a greeting");
    text
}

/// The known difference: Envoy draws for each connection by itself, we keep every window to its shares.
#[tokio::test]
async fn envoy_splits_connections_by_chance_and_we_exactly() {
    let (one, two) = (
        TcpUpstream::start(Script::Greet(b"v1".to_vec())).await,
        TcpUpstream::start(Script::Greet(b"v2".to_vec())).await,
    );
    let routes = WEIGHTS
        .map(|(subset, weight)| format!("{{destination: {{host: {HOST}, subset: {subset}}}, weight: {weight}}}"));
    let rules = format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {HOST}, namespace: {NAMESPACE}}}
spec:
  hosts: [\"*\"]
  gateways: [edge]
  tcp: [{{route: [{}]}}]
",
        routes.join(", ")
    );
    let pods = [("v1", one.address()), ("v2", two.address())];
    let stage = Stage::new("TCP", &[service(HOST, &pods), rules, subsets(HOST, &["v1", "v2"])]);
    for who in BOTH {
        let _side = stage.enter(who).await;
        let mut order = Vec::new();
        for _ in 0..CONNECTIONS {
            order.push(greeting(&stage).await);
        }
        match who {
            Who::Envoy => assert_shares("Envoy", &WEIGHTS, &order, |n, p| SIGMAS * (n * p * (1.0 - p)).sqrt()),
            Who::Weft => order
                .windows(WINDOW)
                .for_each(|window| assert_shares("weft", &WEIGHTS, window, |_, _| 1.0)),
        }
    }
}
