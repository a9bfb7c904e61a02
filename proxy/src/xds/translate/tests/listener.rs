use weft_proxy_core::chain::{Direction, Network, RouteSource};
use weft_xds::pack;

use super::*;

#[test]
fn a_listener_knows_its_routes_and_guards_are_never_passed_over() {
    use pb::hcm::http_connection_manager::RouteSpecifier;
    let manager = |filters: Vec<weft_xds::Any>| {
        let filters = filters.into_iter().map(|any| pb::hcm::HttpFilter {
            name: "f".to_owned(),
            config_type: Some(pb::hcm::http_filter::ConfigType::TypedConfig(any)),
            ..Default::default()
        });
        let manager = pb::hcm::HttpConnectionManager {
            http_filters: filters.collect(),
            route_specifier: Some(RouteSpecifier::Rds(pb::hcm::Rds {
                route_config_name: "http.80".to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        };
        bound(vec![pb::listener::FilterChain {
            filters: vec![pb::listener::Filter {
                name: "hcm".to_owned(),
                config_type: Some(pb::listener::filter::ConfigType::TypedConfig(pack(&manager))),
            }],
            ..Default::default()
        }])
    };
    let unknown = weft_xds::Any {
        type_url: "type.googleapis.com/stats.PluginConfig".to_owned(),
        ..Default::default()
    };
    let source = manager(vec![unknown, pack(&pb::router::Router::default())]);
    let translated = listener(&source, &mut Bindings::new(0)).unwrap();
    assert_eq!(translated.ignored, ["http filter f stats.PluginConfig"]);
    let compiled = translated.value;
    assert_eq!(
        (compiled.bind_to_port, compiled.direction),
        (true, Direction::Unspecified)
    );
    let Network::Http(http) = &compiled.chains[0].network else {
        panic!("no HTTP")
    };
    assert!(matches!(&http.route, RouteSource::Rds(name) if &**name == "http.80"));
    assert_eq!(
        (http.request_headers_bytes_max, http.request_headers_max),
        (60 * 1024, 100)
    );
    let refusal = listener(
        &manager(vec![pack(&pb::http_rbac::Rbac::default())]),
        &mut Bindings::new(0),
    );
    let refusal = refusal.unwrap_err().to_string();
    assert_eq!(
        refusal,
        "l: filter_chains[0].filters[0].http_filters[0]: is not supported: a filter that refuses requests"
    );
}
