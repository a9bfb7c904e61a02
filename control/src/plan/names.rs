//! The names under which resources are known: Istio's, since dashboards, tools and people know them.

use std::net::IpAddr;

/// Cluster that connects to the address that the client dialled.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Cluster without endpoints: its connections are closed.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Cluster that connects to the port of the pod that the client dialled.
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// Listener that captured connections from others arrive at.
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
/// Listener that captured connections arrive at.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// Route table of the forward proxy of mesh `proxyHttpPort`.
pub const HTTP_PROXY: &str = "http_proxy";
/// Virtual host for unknown hosts where these are allowed.
pub const ALLOW_ANY: &str = "allow_any";
/// Virtual host for unknown hosts where these are refused.
pub const BLOCK_ALL: &str = "block_all";

/// `outbound|9080|v1|reviews.default.svc.cluster.local`; an empty subset means the whole host.
pub fn outbound_cluster(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `inbound|8080||`: a port of the pod.
pub fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// `0.0.0.0_9080`, `10.0.0.7_3306`; IPv6 addresses are written plainly, as Istio does.
pub fn listener(address: IpAddr, port: u16) -> String {
    format!("{address}_{port}")
}

/// Route table of a gateway's plain HTTP port: `http.8080`.
pub fn gateway_routes(port: u16) -> String {
    format!("http.{port}")
}

/// Virtual host of a host on a port: `reviews.default.svc.cluster.local:9080`.
pub fn virtual_host(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn names_are_those_that_istio_gives() {
        assert_eq!(
            outbound_cluster(9080, "v1", "a.b.svc.cluster.local"),
            "outbound|9080|v1|a.b.svc.cluster.local"
        );
        assert_eq!(outbound_cluster(80, "", "a.test"), "outbound|80||a.test");
        assert_eq!(listener(Ipv4Addr::UNSPECIFIED.into(), 9080), "0.0.0.0_9080");
        assert_eq!(gateway_routes(8080), "http.8080");
        assert_eq!(virtual_host("*", 80), "*:80");
    }
}
