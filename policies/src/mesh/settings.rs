//! The settings and their defaults.

use std::time::Duration;

use crate::defaults;
use crate::kind::connection_pool::{ConnectionPool, TcpKeepalive};
use crate::kind::destination_rule::{LocalityLb, OutlierDetection};
use crate::kind::server_tls::TlsVersion;
use crate::kind::sidecar::OutboundMode;
use crate::kind::virtual_service::HttpRetry;

/// Istio's MeshConfig, as far as weft acts upon it. `Default` is Istio's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeshConfig {
    /// Namespace whose objects apply mesh-wide.
    pub root_namespace: String,
    /// Domain of service names; not a MeshConfig field in Istio, but the same for the whole mesh.
    pub cluster_domain: String,
    /// Trust domain of identities.
    pub trust_domain: String,
    /// Other trust domains that are taken for this one.
    pub trust_domain_aliases: Vec<String>,
    /// Visibility of Services and ServiceEntries that state none.
    pub default_service_export_to: Vec<String>,
    /// Visibility of VirtualServices that state none.
    pub default_virtual_service_export_to: Vec<String>,
    /// Visibility of DestinationRules that state none.
    pub default_destination_rule_export_to: Vec<String>,
    /// Limit on connecting to an upstream.
    pub connect_timeout: Duration,
    /// Keep-alive of upstream sockets; unset: off.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Whether HTTP/1.1 is upgraded to HTTP/2 towards upstreams that do not say otherwise.
    pub h2_upgrade: bool,
    /// Retries of rules that have no such block; unset: the built-in policy (`defaults`).
    pub default_http_retry_policy: Option<HttpRetry>,
    /// Server-side retries; unset: the built-in policy.
    pub default_inbound_http_retry_policy: Option<HttpRetry>,
    /// Blocks for destinations that set none.
    pub default_traffic_policy: MeshTrafficPolicy,
    /// Locality of the whole mesh.
    pub locality_lb_setting: LocalityLb,
    /// What becomes of unknown destinations.
    pub outbound_traffic_policy: OutboundMode,
    /// Where inbound traffic goes in a pod.
    pub inbound_traffic_policy: InboundTrafficMode,
    /// Mutual TLS between workloads of the mesh without asking.
    pub enable_auto_mtls: bool,
    /// Time to wait for a client's first bytes; zero: for ever.
    pub protocol_detection_timeout: Duration,
    /// How paths are normalised before they are matched.
    pub path_normalization: PathNormalization,
    /// Refresh of DNS names after a failed lookup.
    pub dns_refresh_rate: Duration,
    /// Port of outbound capture.
    pub proxy_listen_port: u16,
    /// Port of inbound capture.
    pub proxy_inbound_listen_port: u16,
    /// Port of the HTTP forward proxy; unset: off.
    pub proxy_http_port: Option<u16>,
    /// Lowest TLS version of mesh traffic (`meshMTLS`).
    pub mesh_mtls_min_protocol_version: TlsVersion,
    /// Lowest TLS version elsewhere (`tlsDefaults`).
    pub tls_defaults_min_protocol_version: TlsVersion,
    /// File of the access log; empty: none.
    pub access_log_file: String,
    /// Format of the access log; empty: the built-in one.
    pub access_log_format: String,
    /// Encoding of the access log.
    pub access_log_encoding: AccessLogEncoding,
    /// Tracing at all.
    pub enable_tracing: bool,
    /// Metrics of proxy and application behind one port.
    pub enable_prometheus_merge: bool,
    /// Settings of proxies.
    pub default_config: ProxyConfig,
}

impl Default for MeshConfig {
    fn default() -> Self {
        let public = || vec!["*".to_owned()];
        Self {
            root_namespace: defaults::ROOT_NAMESPACE.to_owned(),
            cluster_domain: defaults::CLUSTER_DOMAIN.to_owned(),
            trust_domain: defaults::TRUST_DOMAIN.to_owned(),
            trust_domain_aliases: Vec::new(),
            default_service_export_to: public(),
            default_virtual_service_export_to: public(),
            default_destination_rule_export_to: public(),
            connect_timeout: defaults::CONNECT_TIMEOUT,
            tcp_keepalive: None,
            h2_upgrade: false,
            default_http_retry_policy: None,
            default_inbound_http_retry_policy: None,
            default_traffic_policy: MeshTrafficPolicy::default(),
            locality_lb_setting: LocalityLb {
                enabled: Some(true),
                ..LocalityLb::default()
            },
            outbound_traffic_policy: OutboundMode::AllowAny,
            inbound_traffic_policy: InboundTrafficMode::Passthrough,
            enable_auto_mtls: true,
            protocol_detection_timeout: Duration::ZERO,
            path_normalization: PathNormalization::Base,
            dns_refresh_rate: defaults::DNS_REFRESH,
            proxy_listen_port: defaults::OUTBOUND_PORT,
            proxy_inbound_listen_port: defaults::INBOUND_PORT,
            proxy_http_port: None,
            mesh_mtls_min_protocol_version: TlsVersion::Auto,
            tls_defaults_min_protocol_version: TlsVersion::Auto,
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            enable_tracing: true,
            enable_prometheus_merge: true,
            default_config: ProxyConfig::default(),
        }
    }
}

/// `defaultTrafficPolicy`: blocks that fill what a DestinationRule leaves unset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct MeshTrafficPolicy {
    /// Limits.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection.
    pub outlier_detection: Option<OutlierDetection>,
}

/// `inboundTrafficPolicy.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InboundTrafficMode {
    /// To the pod's address.
    #[default]
    Passthrough,
    /// To 127.0.0.1.
    Localhost,
}

/// `pathNormalization.normalization`; Istio's DEFAULT is `Base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PathNormalization {
    /// Untouched.
    None,
    /// RFC 3986: dot segments, `\` to `/`, unreserved characters decoded.
    #[default]
    Base,
    /// `Base`, and runs of `/` become one.
    MergeSlashes,
    /// `MergeSlashes`, and `%2F` and `%5C` are decoded first.
    DecodeAndMergeSlashes,
}

/// `accessLogEncoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AccessLogEncoding {
    /// A line of text.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}

/// `defaultConfig`: settings of proxies, as far as weft acts upon them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProxyConfig {
    /// Port of merged metrics and rewritten probes.
    pub status_port: u16,
    /// Time over which a listener is drained.
    pub drain_duration: Duration,
    /// Time between the order to stop and the end.
    pub termination_drain_duration: Duration,
    /// Applications start after their proxy.
    pub hold_application_until_proxy_starts: bool,
    /// Worker threads; unset: by CPU quota.
    pub concurrency: Option<u32>,
    /// Proxies in front of a gateway whose X-Forwarded-For is believed.
    pub num_trusted_proxies: u32,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            status_port: defaults::STATUS_PORT,
            drain_duration: defaults::DRAIN_DURATION,
            termination_drain_duration: defaults::TERMINATION_DRAIN_DURATION,
            hold_application_until_proxy_starts: false,
            concurrency: None,
            num_trusted_proxies: 0,
        }
    }
}
