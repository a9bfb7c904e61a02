//! Peers that mean no good, and more of them than is usual.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use weft_testkit::eventually::in_time;

use crate::inside::inside;
use crate::mesh::Mesh;
use crate::net::shell;

/// What the pod may take as source ports, for one source address.
const SOURCE_PORTS: &str = "40000 40040";
/// To each of five ports; together more than there are source ports, and to each one fewer.
const CALLERS_EACH: u16 = 20;

#[test]
fn callers_of_an_application_are_not_limited_by_the_ports_of_one_source_address() {
    inside(async || {
        let mut mesh = Mesh::start().await;
        let server = mesh.server.clone();
        let ports = 7500..7505;
        let programs: Vec<String> = ports.clone().map(|port| format!("greet:{port}")).collect();
        let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
        mesh.serve(&server, "servers.py", &programs).await;
        shell(&format!(
            "nsenter --net=/run/netns/{} sysctl -qw net.ipv4.ip_local_port_range='{SOURCE_PORTS}'",
            server.name
        ))
        .await;
        let mut open = Vec::new();
        for round in 0..CALLERS_EACH {
            for port in ports.clone() {
                let stream = TcpStream::connect((server.ip, port)).await.expect("it is captured");
                let mut stream = BufReader::new(stream);
                let mut greeting = String::new();
                let read = in_time("a greeting", stream.read_line(&mut greeting)).await;
                assert!(
                    read.is_ok() && greeting == "hello 127.0.0.6\n",
                    "round {round} to {port}: {read:?} {greeting:?}"
                );
                open.push(stream);
            }
        }
    });
}
