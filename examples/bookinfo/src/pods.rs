//! Who takes part. Every address is one of loopback, so that nothing here needs rights or leaves the machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of every service.
pub const PORT: u16 = 9080;
/// The port of a sidecar's HTTP proxy (mesh `proxyHttpPort`).
pub const PROXY_PORT: u16 = 15080;
/// The port of a proxy's admin server.
pub const ADMIN_PORT: u16 = 15000;
/// Where the gateway's pod lives.
pub const GATEWAY_IP: Ipv4Addr = Ipv4Addr::new(127, 10, 0, 2);
/// Where the control plane listens.
pub const CONTROL_IP: Ipv4Addr = Ipv4Addr::new(127, 10, 0, 10);

/// What a pod's application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// The page.
    Productpage,
    /// Author, publisher, pages.
    Details,
    /// What readers say, with or without stars.
    Reviews(Stars),
    /// How many stars.
    Ratings,
}

/// What a version of reviews does with ratings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stars {
    /// Asks for none.
    None,
    /// Shows them black.
    Black,
    /// Shows them red.
    Red,
}

/// One pod: an application and its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pod {
    /// Name of the pod.
    pub name: &'static str,
    /// Label `app`, and the name of the service.
    pub service: &'static str,
    /// Label `version`.
    pub version: &'static str,
    /// What runs in it.
    pub app: App,
    /// Last number of its addresses.
    host: u8,
}

/// All pods.
pub const PODS: [Pod; 7] = [
    pod("productpage-v1", "productpage", "v1", App::Productpage, 20),
    pod("details-v1", "details", "v1", App::Details, 30),
    pod("reviews-v1", "reviews", "v1", App::Reviews(Stars::None), 41),
    pod("reviews-v2", "reviews", "v2", App::Reviews(Stars::Black), 42),
    pod("reviews-v3", "reviews", "v3", App::Reviews(Stars::Red), 43),
    pod("ratings-a", "ratings", "v1", App::Ratings, 51),
    pod("ratings-b", "ratings", "v1", App::Ratings, 52),
];

const fn pod(name: &'static str, service: &'static str, version: &'static str, app: App, host: u8) -> Pod {
    Pod {
        name,
        service,
        version,
        app,
        host,
    }
}

impl Pod {
    /// The pod of this name.
    pub fn named(name: &str) -> Option<Self> {
        PODS.into_iter().find(|pod| pod.name == name)
    }

    /// `status.podIP`: where the sidecar listens.
    pub fn ip(self) -> IpAddr {
        Ipv4Addr::new(127, 10, 0, self.host).into()
    }

    /// Where the application listens, for its sidecar alone.
    pub fn application(self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::new(127, 10, 1, self.host).into(), PORT)
    }

    /// Where the application reaches everybody else.
    pub fn http_proxy(self) -> SocketAddr {
        SocketAddr::new(self.ip(), PROXY_PORT)
    }

    /// Where the sidecar's admin server answers.
    pub fn admin(self) -> SocketAddr {
        SocketAddr::new(self.ip(), ADMIN_PORT)
    }
}
