//! How the settings are read.

use super::{AccessLogEncoding, InboundTrafficMode, MeshConfig, MeshTrafficPolicy, PathNormalization, ProxyConfig};
use crate::codes;
use crate::decode::{Field, Fields, Sink, Span};
use crate::finding::{Finding, ObjectRef};
use crate::kind::connection_pool::{ConnectionPool, H2UpgradePolicy, TcpKeepalive};
use crate::kind::destination_rule::{LocalityLb, OutlierDetection};
use crate::kind::server_tls::TlsVersion;
use crate::kind::sidecar::OutboundMode;
use crate::kind::virtual_service::HttpRetry;
use crate::yaml;

/// Reads the text under the key `mesh` of the mesh ConfigMap. `file` and `first_line` say where that text stands.
///
/// Errors mean that the last good settings stay in force: `None`. Fields that weft does not act upon are named in one
/// warning, since MeshConfig is vast.
pub fn decode(text: &str, file: &str, first_line: u32, object: ObjectRef) -> (Option<MeshConfig>, Vec<Finding>) {
    let node = match yaml::parse_node(file, text, first_line, &object) {
        Ok(Some(node)) => node,
        Ok(None) => return (Some(MeshConfig::default()), Vec::new()),
        Err(finding) => return (None, vec![*finding]),
    };
    let sink = Sink::new(object, file.into());
    let root = Field::new(&node, first_line, "mesh".to_owned(), &sink);
    let mesh = root.fields().map(|mut fields| {
        let mesh = read(&mut fields);
        let at = fields.at.clone();
        let rest = fields.rest();
        if !rest.is_empty() {
            at.warn(
                codes::NO_EFFECT,
                format!("holds settings that weft does not act upon: {}", rest.join(", ")),
                "",
            );
        }
        mesh
    });
    let refused = sink.has_errors();
    (mesh.filter(|_| !refused), sink.into_findings())
}

fn read(fields: &mut Fields<'_>) -> MeshConfig {
    let base = read_proxying(fields);
    let default = MeshConfig::default();
    MeshConfig {
        root_namespace: fields.filled("rootNamespace").unwrap_or(default.root_namespace),
        trust_domain: fields.filled("trustDomain").unwrap_or(default.trust_domain),
        trust_domain_aliases: fields.strings("trustDomainAliases"),
        default_service_export_to: or(
            fields.strings("defaultServiceExportTo"),
            default.default_service_export_to,
        ),
        default_virtual_service_export_to: or(
            fields.strings("defaultVirtualServiceExportTo"),
            default.default_virtual_service_export_to,
        ),
        default_destination_rule_export_to: or(
            fields.strings("defaultDestinationRuleExportTo"),
            default.default_destination_rule_export_to,
        ),
        connect_timeout: fields
            .duration("connectTimeout", Span::Positive)
            .unwrap_or(default.connect_timeout),
        tcp_keepalive: fields.field("tcpKeepalive").and_then(|f| TcpKeepalive::read(&f)),
        h2_upgrade: fields.word("h2UpgradePolicy", &H2UpgradePolicy::WORDS) == Some(H2UpgradePolicy::Upgrade),
        default_http_retry_policy: fields.field("defaultHttpRetryPolicy").and_then(|f| HttpRetry::read(&f)),
        default_inbound_http_retry_policy: fields
            .field("defaultInboundHttpRetryPolicy")
            .and_then(|f| HttpRetry::read(&f)),
        default_traffic_policy: nested(fields, "defaultTrafficPolicy", |fields| MeshTrafficPolicy {
            connection_pool: fields.field("connectionPool").and_then(|f| ConnectionPool::read(&f)),
            outlier_detection: fields
                .field("outlierDetection")
                .and_then(|f| OutlierDetection::read(&f)),
        })
        .unwrap_or_default(),
        locality_lb_setting: read_locality(fields).unwrap_or(default.locality_lb_setting),
        outbound_traffic_policy: nested(fields, "outboundTrafficPolicy", |fields| {
            fields.word("mode", &OutboundMode::WORDS).unwrap_or_default()
        })
        .unwrap_or(default.outbound_traffic_policy),
        enable_auto_mtls: fields.bool("enableAutoMtls").unwrap_or(default.enable_auto_mtls),
        dns_refresh_rate: fields
            .duration("dnsRefreshRate", Span::Positive)
            .unwrap_or(default.dns_refresh_rate),
        ..base
    }
}

/// What concerns the proxies themselves: ports, paths, logs.
fn read_proxying(fields: &mut Fields<'_>) -> MeshConfig {
    let default = MeshConfig::default();
    let inbound = [
        ("PASSTHROUGH", InboundTrafficMode::Passthrough),
        ("LOCALHOST", InboundTrafficMode::Localhost),
    ];
    MeshConfig {
        inbound_traffic_policy: nested(fields, "inboundTrafficPolicy", |fields| {
            fields.word("mode", &inbound).unwrap_or_default()
        })
        .unwrap_or_default(),
        protocol_detection_timeout: fields
            .duration("protocolDetectionTimeout", Span::ZeroOrPositive)
            .unwrap_or(default.protocol_detection_timeout),
        path_normalization: nested(fields, "pathNormalization", |fields| {
            fields.word("normalization", &PATHS).unwrap_or_default()
        })
        .unwrap_or_default(),
        proxy_listen_port: port(fields, "proxyListenPort").unwrap_or(default.proxy_listen_port),
        proxy_inbound_listen_port: port(fields, "proxyInboundListenPort").unwrap_or(default.proxy_inbound_listen_port),
        proxy_http_port: port(fields, "proxyHttpPort"),
        mesh_mtls_min_protocol_version: tls_minimum(fields, "meshMTLS"),
        tls_defaults_min_protocol_version: tls_minimum(fields, "tlsDefaults"),
        access_log_file: fields.string("accessLogFile").unwrap_or_default(),
        access_log_format: fields.string("accessLogFormat").unwrap_or_default(),
        access_log_encoding: fields
            .word(
                "accessLogEncoding",
                &[("TEXT", AccessLogEncoding::Text), ("JSON", AccessLogEncoding::Json)],
            )
            .unwrap_or_default(),
        enable_tracing: fields.bool("enableTracing").unwrap_or(default.enable_tracing),
        enable_prometheus_merge: fields
            .bool("enablePrometheusMerge")
            .unwrap_or(default.enable_prometheus_merge),
        default_config: nested(fields, "defaultConfig", read_proxy).unwrap_or_default(),
        ..default
    }
}

const PATHS: [(&str, PathNormalization); 5] = [
    ("DEFAULT", PathNormalization::Base),
    ("NONE", PathNormalization::None),
    ("BASE", PathNormalization::Base),
    ("MERGE_SLASHES", PathNormalization::MergeSlashes),
    ("DECODE_AND_MERGE_SLASHES", PathNormalization::DecodeAndMergeSlashes),
];

fn or(given: Vec<String>, default: Vec<String>) -> Vec<String> {
    if given.is_empty() { default } else { given }
}

fn port(fields: &mut Fields<'_>, name: &'static str) -> Option<u16> {
    let number = fields.field(name)?.u32(0..=65_535).filter(|n| *n > 0)?;
    u16::try_from(number).ok()
}

fn tls_minimum(fields: &mut Fields<'_>, name: &'static str) -> TlsVersion {
    nested(fields, name, |fields| {
        fields
            .word("minProtocolVersion", &TlsVersion::WORDS)
            .unwrap_or_default()
    })
    .unwrap_or_default()
}

/// A block of which weft knows a part; the rest of it is named in a warning.
fn nested<T>(fields: &mut Fields<'_>, name: &'static str, read: impl Fn(&mut Fields<'_>) -> T) -> Option<T> {
    let field = fields.field(name)?;
    let mut inner = field.fields()?;
    let value = read(&mut inner);
    let rest = inner.rest();
    if !rest.is_empty() {
        field.warn(
            codes::NO_EFFECT,
            format!("holds settings that weft does not act upon: {}", rest.join(", ")),
            "",
        );
    }
    Some(value)
}

fn read_locality(fields: &mut Fields<'_>) -> Option<LocalityLb> {
    // Whether anything ejects is said by DestinationRules, later: no warning about that here.
    let setting = LocalityLb::read(&fields.field("localityLbSetting")?, true)?;
    Some(LocalityLb {
        enabled: setting.enabled.or(Some(true)),
        ..setting
    })
}

fn read_proxy(fields: &mut Fields<'_>) -> ProxyConfig {
    let default = ProxyConfig::default();
    ProxyConfig {
        status_port: port(fields, "statusPort").unwrap_or(default.status_port),
        drain_duration: fields
            .duration("drainDuration", Span::Positive)
            .unwrap_or(default.drain_duration),
        termination_drain_duration: fields
            .duration("terminationDrainDuration", Span::ZeroOrPositive)
            .unwrap_or(default.termination_drain_duration),
        hold_application_until_proxy_starts: fields.flag("holdApplicationUntilProxyStarts"),
        concurrency: fields.limit("concurrency"),
        num_trusted_proxies: nested(fields, "gatewayTopology", |fields| {
            fields.count("numTrustedProxies").unwrap_or_default()
        })
        .unwrap_or_default(),
    }
}
