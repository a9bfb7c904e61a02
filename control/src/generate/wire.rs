//! The small change of protobuf: wrappers, durations, metadata, addresses, extensions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use weft_policies::Percent;
use weft_xds::{Any, pack, pb};

use crate::plan::inputs::Provenance;

/// Name of the HTTP filter that injects faults; routes configure it under this name.
pub(super) const FAULT: &str = "envoy.filters.http.fault";
/// Name of the HTTP filter that answers for CORS; routes configure it under this name.
pub(super) const CORS: &str = "envoy.filters.http.cors";
/// Name of the HTTP filter that routes.
pub(super) const ROUTER: &str = "envoy.filters.http.router";

/// The upgrade that opens a tunnel.
pub(super) const CONNECT: &str = "CONNECT";

/// A wrapped boolean.
pub(super) fn bool_value(value: bool) -> pb::protobuf::BoolValue {
    pb::protobuf::BoolValue { value }
}

/// A wrapped integer.
pub(super) fn u32_value(value: u32) -> pb::protobuf::UInt32Value {
    pb::protobuf::UInt32Value { value }
}

/// A duration; what protobuf cannot hold becomes its maximum.
pub(super) fn duration(value: Duration) -> pb::protobuf::Duration {
    pb::protobuf::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or_default(),
    }
}

/// A TCP address.
pub(super) fn address(ip: IpAddr, port: u16) -> pb::core::Address {
    host_address(&ip.to_string(), port)
}

/// A TCP address whose host may be a name that the proxy resolves.
pub(super) fn host_address(host: &str, port: u16) -> pb::core::Address {
    pb::core::Address {
        address: Some(pb::core::address::Address::SocketAddress(pb::core::SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(pb::core::socket_address::PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// A Unix socket.
pub(super) fn pipe(path: &str) -> pb::core::Address {
    pb::core::Address {
        address: Some(pb::core::address::Address::Pipe(pb::core::Pipe {
            path: path.to_owned(),
            ..Default::default()
        })),
    }
}

/// Connections come from this address, from any port.
pub(super) fn bind(source: IpAddr) -> pb::core::BindConfig {
    pb::core::BindConfig {
        source_address: Some(pb::core::SocketAddress {
            address: source.to_string(),
            port_specifier: Some(pb::core::socket_address::PortSpecifier::PortValue(0)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// "Ask the stream that this came from."
pub(super) fn ads() -> pb::core::ConfigSource {
    pb::core::ConfigSource {
        resource_api_version: pb::core::ApiVersion::V3.into(),
        // Waiting without a limit: what is named is on its way, and an empty answer would drop requests.
        initial_fetch_timeout: Some(duration(Duration::ZERO)),
        config_source_specifier: Some(pb::core::config_source::ConfigSourceSpecifier::Ads(
            pb::core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// A share of all requests.
pub(super) fn percentage(percent: Percent) -> pb::percent::FractionalPercent {
    pb::percent::FractionalPercent {
        numerator: percent.millionths(),
        denominator: pb::percent::fractional_percent::DenominatorType::Million.into(),
    }
}

/// A share that no runtime key changes.
pub(super) fn fixed_share(percent: Percent) -> pb::core::RuntimeFractionalPercent {
    pb::core::RuntimeFractionalPercent {
        default_value: Some(percentage(percent)),
        runtime_key: String::new(),
    }
}

/// A full-match regular expression of RE2.
pub(super) fn regex(pattern: &str) -> pb::matcher::RegexMatcher {
    pb::matcher::RegexMatcher {
        regex: pattern.to_owned(),
        ..Default::default()
    }
}

/// A text within metadata.
pub(super) fn text(value: impl Into<String>) -> pb::protobuf::Value {
    pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::StringValue(value.into())),
    }
}

/// A number within metadata.
pub(super) fn number(value: f64) -> pb::protobuf::Value {
    pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::NumberValue(value)),
    }
}

/// A list within metadata.
pub(super) fn list(values: Vec<pb::protobuf::Value>) -> pb::protobuf::Value {
    pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::ListValue(pb::protobuf::ListValue { values })),
    }
}

/// A structure within metadata.
pub(super) fn structure<const N: usize>(fields: [(&str, pb::protobuf::Value); N]) -> pb::protobuf::Struct {
    pb::protobuf::Struct {
        fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

/// A nested structure within metadata.
pub(super) fn nested<const N: usize>(fields: [(&str, pb::protobuf::Value); N]) -> pb::protobuf::Value {
    pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::StructValue(structure(fields))),
    }
}

/// Metadata with these filters' parts.
pub(super) fn metadata<const N: usize>(parts: [(&str, pb::protobuf::Struct); N]) -> pb::core::Metadata {
    pb::core::Metadata {
        filter_metadata: parts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Default::default()
    }
}

/// The `weft` part of metadata: which object made this, by which of its rules, in which generation.
pub(super) fn provenance(of: &Provenance, rule: Option<usize>) -> pb::protobuf::Struct {
    let mut fields: HashMap<String, pb::protobuf::Value> = HashMap::new();
    fields.insert("object".to_owned(), text(&of.object));
    fields.insert("generation".to_owned(), text(&of.generation));
    if let Some(rule) = rule {
        // Exact: rules of one object are far fewer than 2^53.
        fields.insert("rule".to_owned(), number(rule as f64));
    }
    pb::protobuf::Struct { fields }
}

/// Istio's pointer to the object that made something: `/apis/networking.istio.io/v1/namespaces/NS/KIND/NAME`,
/// the kind in lower case with dashes.
pub(super) fn istio_config(kind: &str, namespace: &str, name: &str) -> pb::protobuf::Value {
    text(format!(
        "/apis/networking.istio.io/v1/namespaces/{namespace}/{kind}/{name}"
    ))
}

/// An HTTP filter.
pub(super) fn http_filter<M: prost::Message + prost::Name>(name: &str, config: &M) -> pb::hcm::HttpFilter {
    pb::hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(pb::hcm::http_filter::ConfigType::TypedConfig(pack(config))),
        ..Default::default()
    }
}

/// A network filter.
pub(super) fn network_filter(name: &str, config: Any) -> pb::listener::Filter {
    pb::listener::Filter {
        name: name.to_owned(),
        config_type: Some(pb::listener::filter::ConfigType::TypedConfig(config)),
    }
}

/// A listener filter.
pub(super) fn listener_filter(name: &str, config: Any) -> pb::listener::ListenerFilter {
    pb::listener::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(pb::listener::listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_keeps_its_nanoseconds() {
        let wire = duration(Duration::new(3, 250_000_000));
        assert_eq!((wire.seconds, wire.nanos), (3, 250_000_000));
    }
}
