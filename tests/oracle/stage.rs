//! in → out: objects → one control plane, and one proxy after the other at the same address: Envoy, then ours.
//! owns: what the tests of both sides share: the gateway's identity and port, the figures of a cluster.
//! may not touch: rules, requests.

use std::{fmt, net::SocketAddr};

use serde_json::{Value, json};
use weft_testkit::{
    Control, Proxy, ProxySettings,
    client::{self, Reply},
    eventually,
    mesh::free_address,
    objects::{self, GATEWAY_LABELS, NAMESPACE, file, rules},
};

use crate::envoy::{Dialect, Envoy, NodeIdentity};
use crate::{node_id, ready};

/// The service that is called.
pub(crate) const HOST: &str = "web";

/// Worker threads of ours. Envoy has one, since its limits hold for each of them apart.
const WORKERS: usize = 4;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Envoy,
    Weft,
}

pub(crate) const BOTH: [Who; 2] = [Who::Envoy, Who::Weft];

pub(crate) struct Stage {
    control: Control,
    address: SocketAddr,
}

/// A proxy that runs; dropping it frees the address for the next.
pub(crate) enum Side {
    Envoy(Box<Envoy>),
    Weft(Proxy),
}

impl Stage {
    /// A gateway whose one server speaks `protocol`, and these objects.
    pub(crate) fn new(protocol: &str, objects: &[String]) -> Self {
        let address = free_address();
        let gateway = format!(
            "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: {NAMESPACE}}}
spec:
  selector: {{role: edge}}
  servers: [{{port: {{number: {}, name: server, protocol: {protocol}}}, hosts: [\"*\"]}}]
",
            address.port()
        );
        let control = Control::start(&[("mesh.yaml", &file(objects)), ("gateway.yaml", &gateway)]);
        Self { control, address }
    }

    /// Where the proxy whose turn it is listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts one side and waits until it serves.
    pub(crate) async fn enter(&self, who: Who) -> Side {
        let side = match who {
            Who::Envoy => {
                let labels: Value = serde_json::from_str(GATEWAY_LABELS).expect("labels are JSON");
                let identity = NodeIdentity {
                    id: &node_id("router", "127.0.0.1", NAMESPACE),
                    metadata: json!({"NAMESPACE": NAMESPACE, "LABELS": labels}),
                };
                Side::Envoy(Box::new(
                    Envoy::start(self.control.xds(), &identity, Dialect::Delta).await,
                ))
            }
            Who::Weft => {
                let settings = ProxySettings::gateway(NAMESPACE, GATEWAY_LABELS, WORKERS);
                let proxy = Proxy::start(self.control.xds(), settings);
                ready(&proxy).await;
                Side::Weft(proxy)
            }
        };
        eventually("the gateway listens", async || {
            tokio::net::TcpStream::connect(self.address).await.ok()
        })
        .await;
        side
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        let reply = client::get(self.address, "shop.test", path, &[]).await;
        reply.unwrap_or_else(|e| panic!("no reply to {path}: {e}"))
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Envoy(_) => "Envoy",
            Side::Weft(_) => "weft",
        })
    }
}

impl Side {
    /// A figure of the called service's cluster, by Envoy's name for it; ours is `envoy_cluster_<name>`, with underscores.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        let service = format!("|{HOST}.");
        let found = match self {
            Side::Envoy(envoy) => {
                let stats = envoy.stats().await;
                let end = format!(".{name}");
                let mut of_it = stats.iter().filter(|(stat, _)| stat.contains(&service));
                of_it.find(|(stat, _)| stat.ends_with(&end)).map(|(_, value)| *value)
            }
            Side::Weft(proxy) => {
                let page = client::get(proxy.admin(), "admin", "/stats/prometheus", &[]).await;
                let page = page.expect("a page of metrics").text();
                let start = format!("envoy_cluster_{}{{", name.replace('.', "_"));
                let mut of_it = page.lines().filter(|line| line.contains(&service));
                let line = of_it.find(|line| line.starts_with(&start));
                line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            }
        };
        found.unwrap_or_else(|| panic!("no {name} of {HOST}"))
    }

    /// Requests that a rule has held back so far: by Envoy's counter, and by the flag of what we have answered.
    pub(crate) async fn delays(&self) -> u64 {
        match self {
            Side::Envoy(envoy) => {
                let stats = envoy.stats().await;
                let delays = stats
                    .iter()
                    .filter(|(stat, _)| stat.ends_with(".fault.delays_injected"));
                delays.map(|(_, value)| value).sum()
            }
            Side::Weft(proxy) => {
                let page = client::get(proxy.admin(), "admin", "/stats/prometheus", &[]).await;
                let page = page.expect("a page of metrics").text();
                let delayed = page
                    .lines()
                    .filter(|line| line.starts_with("istio_requests_total{") && line.contains("response_flags=\"DI"));
                delayed
                    .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                    .sum()
            }
        }
    }
}

/// The known difference: Envoy counts requests over the limit of those in flight under a name of their own, which is newer
/// than what dashboards read; we count them where it used to.
pub(crate) async fn overflow(side: &Side) -> u64 {
    let pending = side.figure("upstream_rq_pending_overflow").await;
    match side {
        Side::Envoy(_) => pending + side.figure("upstream_rq_active_overflow").await,
        Side::Weft(_) => pending,
    }
}

/// A DestinationRule for the service with this `trafficPolicy`, as YAML in flow style.
pub(crate) fn policy(policy: &str) -> String {
    objects::policy(HOST, policy)
}

/// Every request to the service, with these `retries`.
pub(crate) fn all_to_it(retries: &str) -> String {
    rules(
        HOST,
        &format!("    - route: [{{destination: {{host: {HOST}}}}}]\n      retries: {retries}\n"),
    )
}
