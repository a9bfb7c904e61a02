//! A proxy that captures one port of every loopback address, and what it is told in plain Envoy messages.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::{
    AdsServer, AdsStream, Proxy, ProxySettings, client,
    eventually::{eventually, in_time},
    mesh::free_address,
};
use weft_xds::{
    Any, Resource, TypeUrl, pack,
    pb::{
        cluster::{
            CircuitBreakers, Cluster, circuit_breakers::Thresholds, cluster::ClusterDiscoveryType,
            cluster::DiscoveryType,
        },
        core::{Address, SocketAddress, TrafficDirection, address, socket_address},
        endpoint::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint},
        hcm::{
            HttpConnectionManager, HttpFilter,
            http_connection_manager::{RouteSpecifier, UpgradeConfig},
            http_filter,
        },
        listener::{Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter},
        protobuf::{BoolValue, Duration as Time, UInt32Value},
        route::{
            DirectResponseAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
            route::Action,
            route_action::{ClusterSpecifier, UpgradeConfig as RouteUpgrade, upgrade_config::ConnectConfig},
            route_match::{ConnectMatcher, PathSpecifier},
        },
        router::Router,
        tcp_proxy::{TcpProxy, tcp_proxy},
    },
};

pub(crate) const SECOND: Time = Time { seconds: 1, nanos: 0 };
pub(crate) const FOREVER: Time = Time { seconds: 0, nanos: 0 };

/// The name of the listener that captures.
pub(crate) const CAPTURE: &str = "virtualOutbound";

/// A proxy and the stream that it is fed by.
pub(crate) struct Stage {
    pub(crate) proxy: Proxy,
    pub(crate) stream: AdsStream,
    /// The captured port.
    pub(crate) port: u16,
    _server: AdsServer,
}

impl Stage {
    /// A proxy with these clusters. `listeners` gets the captured port.
    pub(crate) async fn start(clusters: &[Cluster], listeners: impl Fn(u16) -> Vec<Listener>) -> Self {
        let mut server = AdsServer::start().await;
        let proxy = Proxy::start(server.address(), ProxySettings::gateway("default", "{}", 2));
        let stream = server.stream().await;
        let port = free_address().port();
        let stage = Self {
            proxy,
            stream,
            port,
            _server: server,
        };
        let clusters: Vec<_> = clusters.iter().map(|one| Resource::encode(&one.name, one)).collect();
        stage.stream.send(TypeUrl::Cluster, "clusters", &clusters, &[]).await;
        stage.listen(&listeners(port)).await;
        eventually("the port is bound", async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        stage
    }

    pub(crate) async fn listen(&self, listeners: &[Listener]) {
        let listeners: Vec<_> = listeners.iter().map(|one| Resource::encode(&one.name, one)).collect();
        self.stream.send(TypeUrl::Listener, "listeners", &listeners, &[]).await;
    }

    /// The captured port of a loopback address.
    pub(crate) fn at(&self, host: [u8; 4]) -> SocketAddr {
        SocketAddr::from((host, self.port))
    }

    pub(crate) async fn connect(&self, host: [u8; 4]) -> TcpStream {
        let stream = in_time("connect", TcpStream::connect(self.at(host)))
            .await
            .expect("the port is captured");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }

    /// The value of the one series of a family whose labels have all of these parts.
    pub(crate) async fn metric(&self, family: &str, parts: &[&str]) -> Option<f64> {
        let reply = client::get(self.proxy.admin(), "admin", "/stats/prometheus", &[]).await;
        let text = reply.ok()?.text();
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with(family) && parts.iter().all(|part| line.contains(part)));
        lines.next()?.rsplit(' ').next()?.parse().ok()
    }
}

/// Sends bytes, ends the direction, and reads to the end.
pub(crate) async fn ask(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.expect("the proxy reads");
    stream.shutdown().await.expect("the proxy reads");
    let mut answer = Vec::new();
    in_time("the end of the answer", stream.read_to_end(&mut answer))
        .await
        .ok();
    answer
}

/// Sends bytes one by one, each in a packet of its own.
pub(crate) async fn send_in_bytes(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(&[*byte]).await.expect("the proxy reads");
        tokio::task::yield_now().await;
    }
}

pub(crate) fn cluster(name: &str, endpoints: &[SocketAddr]) -> Cluster {
    let endpoint = |of: &SocketAddr| LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(address(*of)),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(SECOND),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: endpoints.iter().map(endpoint).collect(),
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        ..Cluster::default()
    }
}

/// The same with a limit on its connections.
pub(crate) fn limited(connections_max: u32, cluster: Cluster) -> Cluster {
    Cluster {
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: Some(UInt32Value { value: connections_max }),
                ..Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        ..cluster
    }
}

/// The listener that has the port's only socket and restores original destinations.
pub(crate) fn capture(port: u16, chains: Vec<FilterChain>) -> Listener {
    Listener {
        name: CAPTURE.to_owned(),
        address: Some(address(SocketAddr::from(([0, 0, 0, 0], port)))),
        use_original_dst: Some(BoolValue { value: true }),
        traffic_direction: TrafficDirection::Outbound.into(),
        filter_chains: chains,
        ..Listener::default()
    }
}

/// A listener without a socket.
pub(crate) fn unbound(host: [u8; 4], port: u16, chains: Vec<FilterChain>) -> Listener {
    let at = SocketAddr::from((host, port));
    Listener {
        name: format!("{}_{port}", at.ip()),
        address: Some(address(at)),
        bind_to_port: Some(BoolValue { value: false }),
        traffic_direction: TrafficDirection::Outbound.into(),
        filter_chains: chains,
        ..Listener::default()
    }
}

/// The same with both inspectors and Istio's default: no limit of time. What no chain asks for goes to the default one.
pub(crate) fn detecting(listener: Listener, default: FilterChain) -> Listener {
    let inspector = |kind: &str| ListenerFilter {
        name: kind.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(Any {
            type_url: format!("type.googleapis.com/envoy.extensions.filters.listener.{kind}"),
            value: Vec::new(),
        })),
        ..ListenerFilter::default()
    };
    Listener {
        listener_filters: vec![
            inspector("tls_inspector.v3.TlsInspector"),
            inspector("http_inspector.v3.HttpInspector"),
        ],
        listener_filters_timeout: Some(FOREVER),
        continue_on_listener_filters_timeout: true,
        default_filter_chain: Some(default),
        ..listener
    }
}

pub(crate) fn tcp(cluster: &str, matcher: FilterChainMatch) -> FilterChain {
    let proxy = TcpProxy {
        stat_prefix: cluster.to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..TcpProxy::default()
    };
    chain("envoy.filters.network.tcp_proxy", pack(&proxy), matcher)
}

pub(crate) fn http(cluster: &str, matcher: FilterChainMatch) -> FilterChain {
    let route = |path, upgrades| Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(path),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
            upgrade_configs: upgrades,
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    let connect = RouteUpgrade {
        upgrade_type: "CONNECT".to_owned(),
        connect_config: Some(ConnectConfig::default()),
        ..RouteUpgrade::default()
    };
    let host = |domain: &str, route| VirtualHost {
        name: domain.to_owned(),
        domains: vec![domain.to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "http".to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(RouteConfiguration {
            name: "inline".to_owned(),
            virtual_hosts: vec![
                blocked(),
                host("*", route(PathSpecifier::Prefix("/".to_owned()), Vec::new())),
                host(
                    "tunnel.test:7",
                    route(PathSpecifier::ConnectMatcher(ConnectMatcher {}), vec![connect]),
                ),
            ],
            ..RouteConfiguration::default()
        })),
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "CONNECT".to_owned(),
            ..UpgradeConfig::default()
        }],
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
            ..HttpFilter::default()
        }],
        ..HttpConnectionManager::default()
    };
    chain("envoy.filters.network.http_connection_manager", pack(&manager), matcher)
}

/// Istio's host for what the policy refuses.
fn blocked() -> VirtualHost {
    VirtualHost {
        name: "block_all".to_owned(),
        domains: vec!["blocked.test".to_owned()],
        routes: vec![Route {
            r#match: Some(RouteMatch {
                path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                ..RouteMatch::default()
            }),
            action: Some(Action::DirectResponse(DirectResponseAction {
                status: 502,
                ..DirectResponseAction::default()
            })),
            ..Route::default()
        }],
        ..VirtualHost::default()
    }
}

/// What Istio's chains ask for where HTTP is detected.
pub(crate) fn if_http() -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: "raw_buffer".to_owned(),
        application_protocols: vec!["http/1.1".to_owned(), "h2c".to_owned()],
        ..FilterChainMatch::default()
    }
}

pub(crate) fn always() -> FilterChainMatch {
    FilterChainMatch::default()
}

fn chain(name: &str, config: Any, matcher: FilterChainMatch) -> FilterChain {
    FilterChain {
        filter_chain_match: Some(matcher),
        filters: vec![Filter {
            name: name.to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(config)),
        }],
        ..FilterChain::default()
    }
}

fn address(of: SocketAddr) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: of.ip().to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(of.port().into())),
            ..SocketAddress::default()
        })),
    }
}
