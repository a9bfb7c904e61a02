//! Opaque connections behind a control plane that is not ours: limits of time, tries to connect, the end of a listener.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::{
    AdsServer, AdsStream, Proxy, ProxySettings, TcpUpstream, client,
    eventually::{eventually, in_time},
    mesh::free_address,
    tcp::Script,
};
use weft_xds::{
    Resource, TypeUrl, pack,
    pb::{
        cluster::{Cluster, cluster},
        core::{Address, SocketAddress, address, socket_address},
        endpoint::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint},
        listener::{Filter, FilterChain, Listener, filter},
        protobuf::{Duration as Time, UInt32Value},
        tcp_proxy::{TcpProxy, tcp_proxy},
    },
};

const SECOND: Time = Time { seconds: 1, nanos: 0 };

fn address(of: SocketAddr) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: of.ip().to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(of.port().into())),
            ..SocketAddress::default()
        })),
    }
}

/// A static cluster in plain Envoy messages, in turn.
fn cluster(endpoints: &[SocketAddr]) -> Resource {
    let endpoint = |of: &SocketAddr| LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(address(*of)),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    let message = Cluster {
        name: "c".to_owned(),
        connect_timeout: Some(SECOND),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Static.into(),
        )),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: "c".to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: endpoints.iter().map(endpoint).collect(),
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        ..Cluster::default()
    };
    Resource::encode("c", &message)
}

fn listener(at: SocketAddr, proxy: TcpProxy) -> Resource {
    let message = Listener {
        name: "l".to_owned(),
        address: Some(address(at)),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.tcp_proxy".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack(&TcpProxy {
                    stat_prefix: "c".to_owned(),
                    cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster("c".to_owned())),
                    ..proxy
                }))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    Resource::encode("l", &message)
}

/// A proxy that listens; the server and its stream have to live as long as it.
struct Foreign {
    proxy: Proxy,
    address: SocketAddr,
    stream: AdsStream,
    _server: AdsServer,
}

impl Foreign {
    async fn start(endpoints: &[SocketAddr], tcp: TcpProxy) -> Self {
        let mut server = AdsServer::start().await;
        let proxy = Proxy::start(server.address(), ProxySettings::gateway("default", "{}", 1));
        let stream = server.stream().await;
        let address = free_address();
        stream.send(TypeUrl::Cluster, "1", &[cluster(endpoints)], &[]).await;
        stream
            .send(TypeUrl::Listener, "2", &[listener(address, tcp)], &[])
            .await;
        eventually("the listener is bound", async || TcpStream::connect(address).await.ok()).await;
        Self {
            proxy,
            address,
            stream,
            _server: server,
        }
    }

    async fn connect(&self) -> TcpStream {
        in_time("connect", TcpStream::connect(self.address))
            .await
            .expect("it listens")
    }

    async fn has_metric(&self, parts: [&str; 3]) -> Option<()> {
        let reply = client::get(self.proxy.admin(), "admin", "/stats/prometheus", &[]).await;
        let text = reply.ok()?.text();
        let mut lines = text.lines();
        lines
            .any(|line| line.starts_with(parts[0]) && line.contains(parts[1]) && line.ends_with(parts[2]))
            .then_some(())
    }
}

async fn echoes(stream: &mut TcpStream) -> bool {
    stream.write_all(b"e").await.is_ok()
        && matches!(in_time("an echo or an end", stream.read(&mut [0; 8])).await, Ok(1))
}

#[tokio::test]
async fn only_silence_of_both_directions_is_idleness() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let proxy = TcpProxy {
        idle_timeout: Some(SECOND),
        ..TcpProxy::default()
    };
    let foreign = Foreign::start(&[upstream.address()], proxy).await;
    let mut stream = foreign.connect().await;
    let mut pulse = tokio::time::interval(Duration::from_millis(300));
    for _ in 0..6 {
        pulse.tick().await;
        assert!(echoes(&mut stream).await, "a connection in use is left alone");
    }
    assert!(matches!(
        in_time("the end of a silent connection", stream.read(&mut [0; 8])).await,
        Ok(0)
    ));
    eventually("the upstream is told", async || {
        (upstream.counts().1 == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_try_to_connect_picks_anew_up_to_the_limit() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let closed = free_address();
    let endpoints = [upstream.address(), closed];
    let proxy = |attempts| TcpProxy {
        max_connect_attempts: Some(UInt32Value { value: attempts }),
        ..TcpProxy::default()
    };
    let foreign = Foreign::start(&endpoints, proxy(2)).await;
    for _ in 0..6 {
        assert!(
            echoes(&mut foreign.connect().await).await,
            "the next try finds the other endpoint"
        );
    }
    let foreign = Foreign::start(&endpoints, proxy(1)).await;
    let mut served = 0;
    for _ in 0..6 {
        served += u32::from(echoes(&mut foreign.connect().await).await);
    }
    assert_eq!(served, 3, "every other connection meets the closed one");
    // The probe of the start met the one or the other.
    eventually("failures are counted", async || {
        let family = "istio_tcp_connections_closed_total";
        let three = foreign.has_metric([family, "response_flags=\"UF\"", " 3"]).await;
        three.or(foreign.has_metric([family, "response_flags=\"UF\"", " 4"]).await)
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_and_one_without_endpoints_close_with_their_flags() {
    let foreign = Foreign::start(&[], TcpProxy::default()).await;
    assert!(!echoes(&mut foreign.connect().await).await);
    // The probe of the start is the other one.
    eventually("UH is counted", async || {
        foreign
            .has_metric(["istio_tcp_connections_closed_total", "response_flags=\"UH\"", " 2"])
            .await
    })
    .await;
    foreign.stream.send(TypeUrl::Cluster, "3", &[], &["c"]).await;
    eventually("NC is counted", async || {
        echoes(&mut foreign.connect().await).await;
        foreign
            .has_metric(["istio_tcp_connections_closed_total", "response_flags=\"NC\"", ""])
            .await
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_listener_that_goes_live_on_for_the_time_of_the_drain() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let foreign = Foreign::start(&[upstream.address()], TcpProxy::default()).await;
    let mut stream = foreign.connect().await;
    assert!(echoes(&mut stream).await);
    foreign.stream.send(TypeUrl::Listener, "3", &[], &["l"]).await;
    eventually("nobody listens", async || {
        TcpStream::connect(foreign.address).await.err()
    })
    .await;
    assert!(echoes(&mut stream).await, "it is not cut at once");
    assert!(matches!(
        in_time("the end of the drain", stream.read(&mut [0; 8])).await,
        Ok(0)
    ));
}
