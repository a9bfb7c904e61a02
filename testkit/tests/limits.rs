//! Time limits of a client's connection, behind a control plane that is not ours.

use std::net::SocketAddr;

use weft_testkit::mesh::free_address;
use weft_testkit::{AdsServer, AdsStream, Client, Proxy, ProxySettings, client, eventually};
use weft_xds::pb::core::{Address, HttpProtocolOptions, SocketAddress, address, socket_address};
use weft_xds::pb::hcm::{HttpConnectionManager, HttpFilter, http_connection_manager, http_filter};
use weft_xds::pb::listener::{Filter, FilterChain, Listener, filter};
use weft_xds::pb::protobuf::Duration;
use weft_xds::pb::route::{
    DirectResponseAction, Route, RouteConfiguration, RouteMatch, VirtualHost, route, route_match,
};
use weft_xds::pb::router::Router;
use weft_xds::{Resource, TypeUrl, pack};

/// Short enough for a test, long enough for a busy machine to send a few bytes in.
const LIMIT: Duration = Duration { seconds: 1, nanos: 0 };

/// A plain Envoy listener that answers 204 by itself and has limits on heads and idleness.
fn listener(address: SocketAddr) -> Resource {
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::DirectResponse(DirectResponseAction {
            status: 204,
            ..DirectResponseAction::default()
        })),
        ..Route::default()
    };
    let host = VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "limits".to_owned(),
        request_headers_timeout: Some(LIMIT),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(LIMIT),
            ..HttpProtocolOptions::default()
        }),
        route_specifier: Some(http_connection_manager::RouteSpecifier::RouteConfig(
            RouteConfiguration {
                name: "inline".to_owned(),
                virtual_hosts: vec![host],
                ..RouteConfiguration::default()
            },
        )),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
            ..HttpFilter::default()
        }],
        ..HttpConnectionManager::default()
    };
    let message = Listener {
        name: "l".to_owned(),
        address: Some(Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                address: address.ip().to_string(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(address.port().into())),
                ..SocketAddress::default()
            })),
        }),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack(&manager))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    Resource::encode("l", &message)
}

/// A proxy that listens; the server and its stream have to live as long as it.
async fn proxy() -> (Proxy, SocketAddr, AdsServer, AdsStream) {
    let mut server = AdsServer::start().await;
    let proxy = Proxy::start(server.address(), ProxySettings::gateway("default", "{}", 1));
    let stream = server.stream().await;
    let address = free_address();
    stream.send(TypeUrl::Cluster, "1", &[], &[]).await;
    stream.send(TypeUrl::Listener, "2", &[listener(address)], &[]).await;
    eventually("the listener is bound", async || {
        tokio::net::TcpStream::connect(address).await.ok().map(drop)
    })
    .await;
    (proxy, address, server, stream)
}

async fn failures(proxy: &Proxy, reason: &str) -> Option<String> {
    let page = client::get(proxy.admin(), "admin", "/stats/prometheus", &[])
        .await
        .ok()?
        .text();
    let line = page
        .lines()
        .find(|line| line.starts_with("weft_request_failures_total") && line.contains(reason))?;
    line.rsplit(' ').next().map(str::to_owned)
}

#[tokio::test]
async fn a_head_that_does_not_end_is_answered_with_408_and_counted_once() {
    let (proxy, address, _server, _stream) = proxy().await;
    let mut slow = Client::connect(address).await;
    slow.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        .await
        .expect("room for a head");
    let reply = slow.reply(false).await.expect("a reply");
    assert_eq!(reply.status, 408);
    assert!(slow.ended().await);
    assert_eq!(failures(&proxy, "downstream.head.timeout").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_second_head_that_does_not_end_is_answered_too() {
    let (_proxy, address, _server, _stream) = proxy().await;
    let mut slow = Client::connect(address).await;
    assert_eq!(slow.get("a", "/", &[]).await.expect("a reply").status, 204);
    slow.send("GET / HTTP/1.1\r\n").await.expect("room for a line");
    assert_eq!(slow.reply(false).await.expect("a reply").status, 408);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let (proxy, address, _server, _stream) = proxy().await;
    let mut fresh = Client::connect(address).await;
    let mut used = Client::connect(address).await;
    assert_eq!(used.get("a", "/", &[]).await.expect("a reply").status, 204);
    assert!(fresh.ended().await, "a connection without a request");
    assert!(used.ended().await, "a connection between requests");
    assert_eq!(failures(&proxy, "downstream").await, None, "nobody did anything wrong");
}
