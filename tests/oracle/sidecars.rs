//! What sidecars are given, under a stock Envoy: every resource is taken, and a forward proxy answers as ours does.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use weft_sim::{ProxyType, Scenario};
use weft_testkit::client::{Reply, request};
use weft_testkit::mesh::free_address;
use weft_testkit::objects::{NAMESPACE, file, service, subsets};
use weft_testkit::{Client, Control, Proxy, ProxySettings, Upstream};

use crate::envoy::{Dialect, Envoy, NodeIdentity};
use crate::{assert_accepted, generated, node_id, ready, scenarios};

#[tokio::test]
async fn envoy_takes_what_every_sidecar_of_a_scenario_is_given() {
    let mut sidecars = 0;
    for path in scenarios() {
        // What a Sidecar binds without capture has to be an address of this machine.
        let text = std::fs::read_to_string(&path)
            .expect("a readable scenario")
            .replace("10.40.", "127.40.");
        let scenario = Scenario::read(&path.display().to_string(), &text).expect("a scenario");
        let files = [("mesh.yaml", scenario.config.as_str())];
        let control = Control::start(&files);
        for proxy in scenario.proxies.iter().filter(|proxy| proxy.kind == ProxyType::Sidecar) {
            let id = node_id("sidecar", &proxy.ip.to_string(), &proxy.namespace);
            let metadata = json!({"NAMESPACE": proxy.namespace, "LABELS": proxy.labels});
            assert_taken(&control, &files, &id, metadata).await;
            sidecars += 1;
        }
    }
    assert!(sidecars > 10, "only {sidecars} sidecars were found");
}

#[tokio::test]
async fn envoy_takes_what_a_sidecar_without_capture_is_given() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("control/tests/golden/sidecar-none.in.yaml");
    let text = std::fs::read_to_string(path).expect("the golden input is part of the project");
    let files = [("mesh.yaml", text.as_str())];
    let control = Control::start(&files);
    let metadata = json!({"INTERCEPTION_MODE": "NONE"});
    assert_taken(
        &control,
        &files,
        "sidecar~127.0.1.5~app-0.shop~shop.svc.cluster.local",
        metadata,
    )
    .await;
}

async fn assert_taken(control: &Control, files: &[(&str, &str)], id: &str, metadata: serde_json::Value) {
    let identity = NodeIdentity {
        id,
        metadata: metadata.clone(),
    };
    let envoy = Envoy::start(control.xds(), &identity, Dialect::Delta).await;
    assert_accepted(&envoy, &generated(files, id, &metadata)).await;
}

const RULES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /v2}}]
    route: [{destination: {host: web, subset: v2}}]
  - match: [{uri: {prefix: /moved}}]
    redirect: {authority: elsewhere.test}
  - route: [{destination: {host: web, subset: v1}}]
";

#[tokio::test]
async fn a_forward_proxy_answers_as_envoy_does() {
    let upstreams = ["v1", "v2"].map(Upstream::named);
    let pods = [("v1", upstreams[0].address()), ("v2", upstreams[1].address())];
    let address = free_address();
    let mesh = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: 'proxyHttpPort: {}'}}\n",
        address.port()
    );
    let files = [
        ("mesh.yaml", mesh),
        ("web.yaml", service("web", &pods)),
        // The same pods under another name and port.
        (
            "api.yaml",
            service("api", &pods[1..]).replace("port: 80,", "port: 9080,"),
        ),
        ("rules.yaml", file(&[RULES.to_owned(), subsets("web", &["v1", "v2"])])),
    ];
    let texts: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let control = Control::start(&texts);
    let id = node_id("sidecar", &address.ip().to_string(), NAMESPACE);
    let metadata = json!({"NAMESPACE": NAMESPACE, "INTERCEPTION_MODE": "NONE"});
    let theirs = {
        let identity = NodeIdentity {
            id: &id,
            metadata: metadata.clone(),
        };
        let envoy = Envoy::start(control.xds(), &identity, Dialect::Delta).await;
        assert_accepted(&envoy, &generated(&texts, &id, &metadata)).await;
        answers(address).await
    };
    let settings = ProxySettings {
        node: id,
        meta: vec![format!("NAMESPACE={NAMESPACE}"), "INTERCEPTION_MODE=NONE".to_owned()],
        workers: 2,
        state_dir: None,
        resolver: None,
    };
    let proxy = Proxy::start(control.xds(), settings);
    ready(&proxy).await;
    let ours = answers(address).await;
    for ((case, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        assert_eq!(ours, theirs, "{case}");
    }
    assert_eq!(
        theirs.iter().filter(|(_, (status, _))| *status == 200).count(),
        7,
        "{theirs:?}"
    );
}

/// Status and the upstream's name (or where a redirect leads) for each of the requests.
async fn answers(address: SocketAddr) -> Vec<(String, (u16, String))> {
    let mut answers = Vec::new();
    for (host, path) in [
        ("web", "/"),
        ("web:80", "/v2/a"),
        ("web.shop", "/"),
        ("web.shop.svc.cluster.local", "/v2"),
        ("WEB.shop.svc:80", "/"),
        ("api:9080", "/"),
        ("api.shop.svc.cluster.local:9080", "/v2"),
        ("api", "/"),
        ("web:9080", "/"),
        ("web", "/moved/x"),
        ("nobody.test", "/"),
        ("nobody.test:9080", "/v2"),
    ] {
        let target = format!("http://{host}{path}");
        let mut client = Client::connect(address).await;
        let reply = client.ask(request("GET", host, &target, &[])).await.expect("a reply");
        answers.push((target, seen(&reply)));
    }
    answers
}

fn seen(reply: &Reply) -> (u16, String) {
    match (reply.status, reply.field("location")) {
        (200, _) => (200, reply.text()),
        (status, location) => (status, location.unwrap_or_default().to_owned()),
    }
}
