//! Destinations and ports that no object knows, and the proxies' own ports.

use serde_json::Value;
use weft_testkit::eventually;

use crate::http::{client, curl};
use crate::inside::inside;
use crate::mesh::{Mesh, policy};

#[test]
fn unknown_destinations_follow_the_policy_of_the_mesh_as_it_changes() {
    inside(async || {
        let mut mesh = Mesh::start().await;
        let outside = mesh.outside.clone();
        mesh.serve(&outside, "servers.py", &["http:80", "http:8099", "greet:7777"])
            .await;
        for url in [
            "http://outside.test/",
            "http://outside.test:8099/",
            "http://198.51.100.5/",
        ] {
            let (status, page) = curl(&mesh.client, &[url]).await;
            assert_eq!(
                (status, &page["peer"]),
                (200, &Value::from(mesh.client.ip)),
                "{url}: {page}"
            );
        }
        let greeting = client(&mesh.client, "tcp", "outside.test", "7777").await;
        assert_eq!(greeting, format!("hello {}", mesh.client.ip));
        policy("REGISTRY_ONLY");
        eventually("HTTP outside is refused", async || {
            let (status, _) = curl(&mesh.client, &["http://outside.test/"]).await;
            (status == 502).then_some(())
        })
        .await;
        eventually("TCP outside leads nowhere", async || {
            (client(&mesh.client, "refused", "outside.test", "7777").await == "closed").then_some(())
        })
        .await;
        policy("ALLOW_ANY");
        eventually("the way is open again", async || {
            let (status, _) = curl(&mesh.client, &["http://outside.test/"]).await;
            (status == 200).then_some(())
        })
        .await;
    });
}

#[test]
fn an_inbound_port_of_no_service_is_passed_to_the_application() {
    inside(async || {
        let mut mesh = Mesh::start().await;
        let server = mesh.server.clone();
        mesh.serve(&server, "servers.py", &["http:8500", "greet:7500"]).await;
        for from in [&mesh.client, &mesh.outside] {
            let (status, page) = curl(from, &["http://10.77.0.3:8500/"]).await;
            assert_eq!(
                (status, &page["peer"]),
                (200, &Value::from("127.0.0.6")),
                "{}: {page}",
                from.name
            );
            let greeting = client(from, "tcp", "10.77.0.3", "7500").await;
            assert_eq!(greeting, "hello 127.0.0.6", "{}", from.name);
        }
    });
}

#[test]
fn the_ports_of_capture_lead_nowhere_when_they_are_called() {
    inside(async || {
        let mesh = Mesh::start().await;
        for from in [&mesh.client, &mesh.outside, &mesh.server] {
            for port in ["15001", "15006"] {
                let end = client(from, "refused", mesh.server.ip, port).await;
                assert_eq!(end, "closed", "from {} to {port}", from.name);
            }
        }
        // Loopback is not captured: this is the proxy's own socket.
        for port in ["15001", "15006"] {
            assert_eq!(
                client(&mesh.server, "refused", "127.0.0.1", port).await,
                "closed",
                "{port}"
            );
        }
    });
}

#[test]
fn a_caller_without_a_proxy_reaches_services_behind_one() {
    inside(async || {
        let mut mesh = Mesh::start().await;
        let server = mesh.server.clone();
        mesh.serve(&server, "servers.py", &["http:8080", "http:8081"]).await;
        for port in [8080, 8081] {
            let (status, page) = curl(&mesh.outside, &[&format!("http://{}:{port}/", server.ip)]).await;
            assert_eq!((status, &page["peer"]), (200, &Value::from("127.0.0.6")), "{page}");
        }
    });
}
