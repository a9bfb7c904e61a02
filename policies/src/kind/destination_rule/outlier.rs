//! Ejection of endpoints that fail.

use std::time::Duration;

/// `outlierDetection`. An empty block is in force, with all defaults (`defaults`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OutlierDetection {
    /// Failures to connect, and timeouts, are counted apart.
    pub split_external_local_origin_errors: bool,
    /// Local failures in a row; unset: 5; only with the split.
    pub consecutive_local_origin_failures: Option<u32>,
    /// 502, 503 and 504 in a row; unset or 0: off.
    pub consecutive_gateway_errors: Option<u32>,
    /// 5xx in a row; unset: 5; 0: off.
    pub consecutive_5xx_errors: Option<u32>,
    /// Time between sweeps; unset: 10 s.
    pub interval: Option<Duration>,
    /// Ejection time per ejection so far; unset: 30 s.
    pub base_ejection_time: Option<Duration>,
    /// Ejected endpoints in percent of all, at most; unset (or 0): 10.
    pub max_ejection_percent: Option<u32>,
    /// Below this share of healthy endpoints all are used; unset: 0, never.
    pub min_health_percent: Option<u32>,
    /// Statuses that count as errors; empty: 500..=599.
    pub http_error_codes: Vec<u16>,
}
