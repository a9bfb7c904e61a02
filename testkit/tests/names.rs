//! Clusters whose endpoints are names, against a scripted DNS server; where connections to a cluster come from; listeners that
//! take the place of others.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use weft_testkit::{
    AdsServer, AdsStream, Proxy, ProxySettings,
    dns::{Dns, Says},
    eventually::{eventually, in_time},
    mesh::free_address,
};
use weft_xds::{
    Resource, TypeUrl, pack,
    pb::{
        cluster::{
            Cluster,
            cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily},
        },
        core::{Address, BindConfig, SocketAddress, address, socket_address},
        endpoint::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint},
        listener::{Filter, FilterChain, Listener, filter},
        protobuf::Duration as Time,
        tcp_proxy::{TcpProxy, tcp_proxy},
    },
};

/// A server on every address of the machine that says at which it was reached, and from where.
async fn mirror() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            let local = stream.local_addr().expect("an accepted socket has an address");
            // A client that has left is no concern of the server.
            _ = stream
                .write_all(format!("{} from {}", local.ip(), peer.ip()).as_bytes())
                .await;
        }
    });
    port
}

fn address(host: &str, port: u16) -> SocketAddress {
    SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    }
}

fn wrapped(of: SocketAddress) -> Option<Address> {
    Some(Address {
        address: Some(address::Address::SocketAddress(of)),
    })
}

#[allow(deprecated)] // It is what Istio sends; its successor is a cluster type of its own.
fn cluster(kind: DiscoveryType, host: &str, port: u16) -> Cluster {
    Cluster {
        name: "c".to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        dns_lookup_family: DnsLookupFamily::V4Only.into(),
        dns_refresh_rate: Some(Time {
            seconds: 0,
            nanos: 50_000_000,
        }),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: "c".to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![LbEndpoint {
                    host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
                        address: wrapped(address(host, port)),
                        ..Endpoint::default()
                    })),
                    ..LbEndpoint::default()
                }],
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        ..Cluster::default()
    }
}

fn listener(name: &str, at: SocketAddr) -> Resource {
    let proxy = TcpProxy {
        stat_prefix: "c".to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster("c".to_owned())),
        ..TcpProxy::default()
    };
    let message = Listener {
        name: name.to_owned(),
        address: wrapped(address(&at.ip().to_string(), at.port())),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.tcp_proxy".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack(&proxy))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    Resource::encode(name, &message)
}

/// A proxy that copies to one cluster; the server and its stream have to live as long as it.
struct Stage {
    address: SocketAddr,
    _proxy: Proxy,
    stream: AdsStream,
    _server: AdsServer,
}

impl Stage {
    async fn start(cluster: &Cluster, resolver: SocketAddr) -> Self {
        let mut server = AdsServer::start().await;
        let settings = ProxySettings {
            resolver: Some(resolver),
            ..ProxySettings::gateway("default", "{}", 1)
        };
        let proxy = Proxy::start(server.address(), settings);
        let stream = server.stream().await;
        let address = free_address();
        let cluster = Resource::encode("c", cluster);
        stream.send(TypeUrl::Cluster, "1", &[cluster], &[]).await;
        stream
            .send(TypeUrl::Listener, "2", &[listener("l", address)], &[])
            .await;
        eventually("the listener is bound", async || TcpStream::connect(address).await.ok()).await;
        Self {
            address,
            _proxy: proxy,
            stream,
            _server: server,
        }
    }

    /// What a connection is told; nothing where it is closed at once.
    async fn reached(&self) -> String {
        let mut stream = in_time("connect", TcpStream::connect(self.address))
            .await
            .expect("it listens");
        let mut text = String::new();
        // A reset is a close as well.
        _ = in_time("the end", stream.read_to_string(&mut text)).await;
        text
    }

    async fn comes_to(&self, expected: &str) {
        eventually(expected, async || (self.reached().await == expected).then_some(())).await;
    }
}

const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

#[tokio::test]
async fn every_record_is_an_endpoint_a_failure_keeps_them_and_an_empty_answer_takes_them_away() {
    let dns = Dns::start(Says::Addresses(vec![A, B])).await;
    let stage = Stage::start(
        &cluster(DiscoveryType::StrictDns, "a.test", mirror().await),
        dns.address,
    )
    .await;
    stage.comes_to("127.0.0.2 from 127.0.0.1").await;
    stage.comes_to("127.0.0.3 from 127.0.0.1").await;
    dns.say(Says::Addresses(vec![B]));
    dns.asked(2).await;
    for _ in 0..4 {
        assert_eq!(stage.reached().await, "127.0.0.3 from 127.0.0.1");
    }
    dns.say(Says::Failure);
    dns.asked(4).await;
    assert_eq!(stage.reached().await, "127.0.0.3 from 127.0.0.1", "what is known stays");
    dns.say(Says::NoSuchName);
    stage.comes_to("").await;
    dns.say(Says::Addresses(vec![A]));
    stage.comes_to("127.0.0.2 from 127.0.0.1").await;
}

#[tokio::test]
async fn of_a_logical_name_only_the_first_record_is_used() {
    let dns = Dns::start(Says::Addresses(vec![A, B])).await;
    let stage = Stage::start(
        &cluster(DiscoveryType::LogicalDns, "a.test", mirror().await),
        dns.address,
    )
    .await;
    stage.comes_to("127.0.0.2 from 127.0.0.1").await;
    for _ in 0..8 {
        assert_eq!(stage.reached().await, "127.0.0.2 from 127.0.0.1");
    }
    dns.say(Says::Addresses(vec![B, A]));
    stage.comes_to("127.0.0.3 from 127.0.0.1").await;
}

#[tokio::test]
async fn an_address_needs_no_resolver() {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = nobody.local_addr().expect("a bound socket has an address");
    let stage = Stage::start(&cluster(DiscoveryType::StrictDns, "127.0.0.2", mirror().await), nobody).await;
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(2), stage.reached())
            .await
            .as_deref(),
        Ok("127.0.0.2 from 127.0.0.1")
    );
}

#[tokio::test]
async fn connections_come_from_the_source_that_the_cluster_names() {
    let named = cluster(DiscoveryType::Static, "127.0.0.1", mirror().await);
    let bound = Cluster {
        upstream_bind_config: Some(BindConfig {
            source_address: Some(address("127.0.0.6", 0)),
            ..BindConfig::default()
        }),
        ..named
    };
    let stage = Stage::start(&bound, "127.0.0.1:9".parse().expect("a literal address")).await;
    assert_eq!(stage.reached().await, "127.0.0.1 from 127.0.0.6");
}

#[tokio::test]
async fn a_listener_that_takes_the_place_of_another_refuses_nobody_in_between() {
    let resolver = "127.0.0.1:9".parse().expect("a literal address");
    let stage = Stage::start(&cluster(DiscoveryType::Static, "127.0.0.1", mirror().await), resolver).await;
    let mut before = "l".to_owned();
    for round in 0..10 {
        let name = format!("l{round}");
        let nonce = format!("r{round}");
        let connections = async {
            // Until well after the exchange: sockets that are closed and opened again leave a gap here.
            for _ in 0..60 {
                assert_eq!(stage.reached().await, "127.0.0.1 from 127.0.0.1", "round {round}");
            }
        };
        let listener = [listener(&name, stage.address)];
        let removed = [before.as_str()];
        let exchange = stage.stream.send(TypeUrl::Listener, &nonce, &listener, &removed);
        tokio::join!(connections, exchange);
        before = name;
    }
}
