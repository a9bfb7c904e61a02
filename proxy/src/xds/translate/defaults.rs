//! What Envoy's API means where a field is absent. Istio's defaults are made explicit by the control plane and are not here.

use std::time::Duration;

/// `Cluster.dns_refresh_rate`.
pub(super) const DNS_REFRESH_RATE: Duration = Duration::from_secs(5);
/// `Cluster.dns_jitter`: without any, proxies that start together ask together.
pub(super) const DNS_JITTER: Duration = Duration::from_millis(100);
/// No wait between two look-ups of a name is shorter.
pub(super) const DNS_WAIT_MIN: Duration = Duration::from_millis(10);
/// `Cluster.cleanup_interval`.
pub(super) const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);
/// `Cluster.connect_timeout`.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// `CircuitBreakers.Thresholds`: connections, pending requests and requests.
pub(super) const CIRCUIT_BREAKER: u32 = 1024;
/// `CircuitBreakers.Thresholds.max_retries`.
pub(super) const RETRIES_MAX: u32 = 3;
/// `CircuitBreakers.Thresholds.RetryBudget`: percent and concurrency.
pub(super) const RETRY_BUDGET: (f64, u32) = (20.0, 3);
/// `CommonLbConfig.healthy_panic_threshold`, percent.
pub(super) const PANIC_THRESHOLD_PERCENT: f64 = 50.0;
/// `LeastRequestLbConfig.choice_count`.
pub(super) const CHOICES: u32 = 2;
/// `HttpProtocolOptions.idle_timeout`.
pub(super) const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// `TcpProxy.idle_timeout`.
pub(super) const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// `RouteAction.timeout`.
pub(super) const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);
/// `RetryPolicy.retry_back_off.base_interval`; the cap is ten times the base.
pub(super) const RETRY_BACKOFF: Duration = Duration::from_millis(25);
/// `RouteConfiguration.max_direct_response_body_size_bytes`.
pub(super) const DIRECT_RESPONSE_BYTES_MAX: u32 = 4096;
/// `HttpConnectionManager.max_request_headers_kb`.
pub(super) const REQUEST_HEADERS_KB_MAX: u32 = 60;
/// `HttpConnectionManager.max_request_headers_kb` may not be larger.
pub(super) const REQUEST_HEADERS_KB_LIMIT: u32 = 8192;
/// `HttpProtocolOptions.max_headers_count`.
pub(super) const REQUEST_HEADERS_MAX: u32 = 100;
/// `HttpConnectionManager.stream_idle_timeout`.
pub(super) const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// `HttpConnectionManager.server_name`: Envoy's default names Envoy; ours names us.
pub(super) const SERVER_NAME: &str = "weft";
/// `Http2ProtocolOptions.max_concurrent_streams`.
pub(super) const HTTP2_STREAMS_MAX: u32 = 1024;
/// `Http2ProtocolOptions.initial_stream_window_size`.
pub(super) const HTTP2_STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// `Http2ProtocolOptions.initial_connection_window_size`.
pub(super) const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 24 << 20;
/// `Listener.listener_filters_timeout`.
pub(super) const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);
/// `Listener.per_connection_buffer_limit_bytes`.
pub(super) const BUFFER_BYTES_MAX: u32 = 1 << 20;
/// `RingHashLbConfig`: least and largest number of entries.
pub(super) const RING_SIZE: (u64, u64) = (1024, 8 << 20);
/// `MaglevLbConfig.table_size`.
pub(super) const MAGLEV_SIZE: u64 = 65_537;
/// The largest.
pub(super) const MAGLEV_SIZE_MAX: u64 = 5_000_011;
/// `OutlierDetection`.
pub(super) mod outlier {
    use std::time::Duration;

    pub(in super::super) const CONSECUTIVE: u32 = 5;
    pub(in super::super) const INTERVAL: Duration = Duration::from_secs(10);
    pub(in super::super) const EJECTION_BASE: Duration = Duration::from_secs(30);
    pub(in super::super) const EJECTION_MAX: Duration = Duration::from_secs(300);
    pub(in super::super) const EJECTION_PERCENT_MAX: u32 = 10;
}
