//! in → out: upstreams and rules → a control plane and a gateway, in this process, ready to be asked.
//! owns: the port of the gateway; waiting until a change is live.
//! may not touch: what is asked.

use std::net::SocketAddr;

use crate::{
    client::{self, Reply},
    control::Control,
    eventually::eventually,
    objects::{self, GATEWAY_LABELS, NAMESPACE},
    proxy::{Proxy, ProxySettings},
};

/// Below the ports that Linux gives to sockets that ask for none.
const GATEWAY_PORTS: std::ops::Range<u16> = 10_000..32_000;

/// The file that a test changes.
pub const RULES: &str = "rules.yaml";

/// A control plane and one gateway under it.
#[derive(Debug)]
pub struct Mesh {
    /// The gateway.
    pub proxy: Proxy,
    /// The control plane.
    pub control: Control,
    address: SocketAddr,
}

impl Mesh {
    /// Starts both over these services and rules, and waits until the gateway is ready.
    pub async fn start(services: &[String], rules: &str, workers: usize) -> Self {
        let address = free_address();
        let gateway = objects::gateway(address.port());
        let control = Control::start(&[
            ("services.yaml", &objects::file(services)),
            ("gateway.yaml", &gateway),
            (RULES, rules),
        ]);
        let proxy = Proxy::start(
            control.xds(),
            ProxySettings::gateway(NAMESPACE, GATEWAY_LABELS, workers),
        );
        let mesh = Mesh {
            proxy,
            control,
            address,
        };
        mesh.ready().await;
        mesh
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request on a connection of its own.
    ///
    /// # Panics
    /// Where no reply comes.
    pub async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let reply = client::get(self.address, "shop.test", path, fields).await;
        reply.unwrap_or_else(|e| panic!("no reply to {path}: {e}"))
    }

    /// What the admin server of the gateway says.
    ///
    /// # Panics
    /// Where it says nothing.
    pub async fn admin(&self, path: &str) -> Reply {
        client::get(self.proxy.admin(), "admin", path, &[])
            .await
            .unwrap_or_else(|e| panic!("no reply to {path}: {e}"))
    }

    /// What the gateway counts under `name` for the cluster of `host`.
    ///
    /// # Panics
    /// Where it counts nothing of that name.
    pub async fn cluster_metric(&self, host: &str, name: &str) -> f64 {
        let page = self.admin("/stats/prometheus").await.text();
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name}{{")) && line.contains(&format!("|{host}.")));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    async fn ready(&self) {
        eventually("the gateway is ready", async || {
            let ready = client::get(self.proxy.admin(), "admin", "/ready", &[])
                .await
                .is_ok_and(|r| r.status == 200);
            let serves = ready && tokio::net::TcpStream::connect(self.address).await.is_ok();
            serves.then_some(())
        })
        .await;
    }
}

/// An address on loopback that nobody uses now. A Gateway names its port, so it cannot be left to the system; and what the
/// system gives away may be given to a client's socket before the gateway binds it, so it is none of those.
pub fn free_address() -> SocketAddr {
    std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], fastrand::u16(GATEWAY_PORTS))))
        .find(|address| std::net::TcpListener::bind(address).is_ok())
        .expect("loopback has a free port")
}
