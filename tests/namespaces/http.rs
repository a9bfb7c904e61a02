//! What speaks HTTP: curl, gRPC, WebSocket.

use serde_json::Value;

use crate::inside::inside;
use crate::mesh::{Mesh, program_path, python};
use crate::net::Pod;

/// The source address of a captured inbound connection.
const INBOUND_SOURCE: &str = "127.0.0.6";

/// What curl gets: status and the page, which says what the server saw.
pub(crate) async fn curl(pod: &Pod, args: &[&str]) -> (u16, Value) {
    let mut all = vec!["-s", "-m", "8", "-w", "\n%{http_code}"];
    all.extend(args);
    let ended = pod.run("curl", &all).await;
    let out = ended.good();
    let (page, status) = out.rsplit_once('\n').unwrap_or(("", &out));
    let page = serde_json::from_str(page).unwrap_or(Value::String(page.to_owned()));
    (status.parse().expect("a status"), page)
}

/// One of our real clients, which checks what it gets and prints one line.
pub(crate) async fn client(pod: &Pod, kind: &str, host: &str, port: &str) -> String {
    let path = program_path("clients.py");
    let path = path.to_str().expect("a path is text");
    pod.run(&python(), &[path, kind, host, port]).await.good()
}

async fn with_servers(args: &[&str]) -> Mesh {
    let mut mesh = Mesh::start().await;
    let server = mesh.server.clone();
    mesh.serve(&server, "servers.py", args).await;
    mesh
}

#[test]
fn curl_reaches_services_by_http_1_and_2_on_ports_named_and_unnamed() {
    inside(async || {
        let mesh = with_servers(&["http:8080", "http:8081", "http:8082"]).await;
        for (version, url) in [
            ("--http1.1", "http://web.shop/a?b=c"),
            ("--http1.1", "http://web/a?b=c"),
            ("--http1.1", "http://plain.shop:81/a?b=c"),
            ("--http2-prior-knowledge", "http://web.shop/a?b=c"),
        ] {
            let (status, page) = curl(&mesh.client, &[version, url]).await;
            assert_eq!(status, 200, "{version} {url}: {page}");
            assert_eq!(page["peer"], INBOUND_SOURCE, "{version} {url}");
            assert_eq!(page["path"], "/a?b=c", "{version} {url}");
            assert_eq!(page["served"], mesh.server.ip, "{version} {url}");
        }
        let body = "x".repeat(100_000);
        let (status, page) = curl(&mesh.client, &["-d", &body, "http://web.shop/"]).await;
        assert_eq!((status, &page["length"]), (200, &Value::from(body.len())), "{page}");
        // Both proxies counted them, once each.
        let web = r#"destination_service="web.shop.svc.cluster.local""#;
        for (pod, reporter) in [(&mesh.client, "source"), (&mesh.server, "destination")] {
            let reporter = format!("reporter=\"{reporter}\"");
            let counted = mesh.lines(pod, &["istio_requests_total{", web, &reporter]).await;
            let sum: f64 = counted
                .iter()
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum();
            let all = mesh.lines(pod, &["istio_requests_total{"]).await;
            assert_eq!(sum, 4.0, "{}: {all:#?}", pod.name);
        }
    });
}

#[test]
fn an_application_that_calls_its_own_service_comes_in_as_from_outside() {
    inside(async || {
        let mesh = with_servers(&["http:8080"]).await;
        let (status, page) = curl(&mesh.server, &["http://web.shop/self"]).await;
        assert_eq!((status, &page["peer"]), (200, &Value::from(INBOUND_SOURCE)), "{page}");
    });
}

#[test]
fn grpc_calls_and_streams_pass_on_ports_named_and_unnamed() {
    inside(async || {
        let mesh = with_servers(&["grpc:9000", "grpc:9001"]).await;
        for (host, port) in [("rpc.shop", "9000"), ("rpc-plain.shop", "9001")] {
            let peer = client(&mesh.client, "grpc", host, port).await;
            assert_eq!(peer, INBOUND_SOURCE, "{host}");
        }
    });
}

#[test]
fn websockets_pass_on_ports_named_and_unnamed() {
    inside(async || {
        let mesh = with_servers(&["ws:8090", "ws:8091"]).await;
        for (host, port) in [("chat.shop", "80"), ("chat-plain.shop", "8091")] {
            let close_code = client(&mesh.client, "websocket", host, port).await;
            assert_eq!(close_code, "1000", "{host}");
        }
    });
}

#[test]
fn endpoints_of_a_headless_service_are_reached_by_their_own_addresses() {
    inside(async || {
        let mut mesh = with_servers(&["http:8082", "greet:7100"]).await;
        let second = Pod::join("second", "10.77.0.4").await;
        mesh.sidecar(&second).await;
        mesh.serve(&second, "servers.py", &["http:8082", "greet:7100"]).await;
        for pod in [mesh.server.clone(), second] {
            for _ in 0..3 {
                let url = format!("http://{}:8082/", pod.ip);
                let (status, page) = curl(&mesh.client, &["-H", "host: peers.shop:8082", &url]).await;
                assert_eq!((status, &page["served"]), (200, &Value::from(pod.ip)), "{page}");
            }
            let greeting = client(&mesh.client, "tcp", pod.ip, "7100").await;
            assert_eq!(greeting, format!("hello {INBOUND_SOURCE}"));
        }
    });
}
