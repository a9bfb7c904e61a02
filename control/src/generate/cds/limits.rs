//! Circuit breakers, outlier detection, panic threshold, keep-alive.

use std::time::Duration;

use weft_policies::defaults;
use weft_policies::kind::connection_pool::{ConnectionPool, TcpKeepalive};
use weft_policies::kind::destination_rule::{OutlierDetection, RetryBudget, TrafficPolicy};
use weft_xds::pb;

use crate::generate::wire;
use pb::cluster::circuit_breakers::{Thresholds, thresholds};

/// A detector that acts on every detection, in percent.
const ENFORCED: u32 = 100;
/// A detector that only counts.
const OFF: u32 = 0;

/// Applies the limits of a policy.
pub(super) fn apply(cluster: &mut pb::cluster::Cluster, policy: &TrafficPolicy, mesh: Option<&TcpKeepalive>) {
    cluster.circuit_breakers = Some(pb::cluster::CircuitBreakers {
        thresholds: vec![limits(policy.connection_pool.as_ref(), policy.retry_budget.as_ref())],
        ..Default::default()
    });
    let detection = policy.outlier_detection.as_ref();
    cluster.outlier_detection = detection.map(outlier_detection);
    let panic = detection
        .and_then(|detection| detection.min_health_percent)
        .unwrap_or(defaults::MIN_HEALTH_PERCENT);
    cluster.common_lb_config = Some(pb::cluster::cluster::CommonLbConfig {
        healthy_panic_threshold: Some(pb::percent::Percent { value: panic.into() }),
        ..Default::default()
    });
    let own = policy
        .connection_pool
        .as_ref()
        .and_then(|pool| pool.tcp.as_ref()?.tcp_keepalive.as_ref());
    cluster.upstream_connection_options = keepalive(own, mesh);
}

/// The thresholds; a limit that is unset or zero is none (Istio: 4294967295).
fn limits(pool: Option<&ConnectionPool>, budget: Option<&RetryBudget>) -> Thresholds {
    let limit = |value: Option<u32>| {
        Some(wire::u32_value(
            value.filter(|value| *value > 0).unwrap_or(defaults::UNLIMITED),
        ))
    };
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let http = pool.and_then(|pool| pool.http.as_ref());
    Thresholds {
        max_connections: limit(tcp.and_then(|tcp| tcp.max_connections)),
        max_pending_requests: limit(http.and_then(|http| http.http1_max_pending_requests)),
        max_requests: limit(http.and_then(|http| http.http2_max_requests)),
        max_retries: limit(http.and_then(|http| http.max_retries)),
        retry_budget: budget.map(|budget| thresholds::RetryBudget {
            budget_percent: Some(pb::percent::Percent {
                value: budget
                    .percent
                    .map_or(defaults::RETRY_BUDGET_PERCENT.into(), |percent| percent.percent()),
            }),
            min_retry_concurrency: Some(wire::u32_value(
                budget
                    .min_retry_concurrency
                    .unwrap_or(defaults::RETRY_BUDGET_MIN_CONCURRENCY),
            )),
            budget_interval: budget.budget_interval.map(wire::duration),
        }),
        track_remaining: true,
        ..Default::default()
    }
}

fn outlier_detection(detection: &OutlierDetection) -> pb::cluster::OutlierDetection {
    let enforced = |threshold: u32| Some(wire::u32_value(if threshold == 0 { OFF } else { ENFORCED }));
    // A threshold of zero switches its detector off, which Envoy says by not enforcing it.
    let threshold = |value: u32| (value > 0).then(|| wire::u32_value(value));
    let consecutive = detection.consecutive_5xx_errors.unwrap_or(defaults::CONSECUTIVE_5XX);
    let gateway = detection.consecutive_gateway_errors.unwrap_or(0);
    let mut wire = pb::cluster::OutlierDetection {
        consecutive_5xx: threshold(consecutive),
        enforcing_consecutive_5xx: enforced(consecutive),
        consecutive_gateway_failure: threshold(gateway),
        enforcing_consecutive_gateway_failure: enforced(gateway),
        enforcing_success_rate: Some(wire::u32_value(OFF)),
        interval: Some(wire::duration(detection.interval.unwrap_or(defaults::OUTLIER_INTERVAL))),
        base_ejection_time: Some(wire::duration(
            detection.base_ejection_time.unwrap_or(defaults::BASE_EJECTION_TIME),
        )),
        max_ejection_percent: Some(wire::u32_value(
            detection
                .max_ejection_percent
                .filter(|percent| *percent > 0)
                .unwrap_or(defaults::MAX_EJECTION_PERCENT),
        )),
        split_external_local_origin_errors: detection.split_external_local_origin_errors,
        always_eject_one_host: Some(wire::bool_value(false)),
        ..Default::default()
    };
    if detection.split_external_local_origin_errors {
        let local = detection
            .consecutive_local_origin_failures
            .unwrap_or(defaults::CONSECUTIVE_LOCAL_ORIGIN);
        wire.consecutive_local_origin_failure = threshold(local);
        wire.enforcing_consecutive_local_origin_failure = enforced(local);
        wire.enforcing_local_origin_success_rate = Some(wire::u32_value(OFF));
    }
    wire
}

/// Each attribute from the policy, else from the mesh; off when neither sets any.
fn keepalive(
    own: Option<&TcpKeepalive>,
    mesh: Option<&TcpKeepalive>,
) -> Option<pb::cluster::UpstreamConnectionOptions> {
    let seconds = |time: Duration| wire::u32_value(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
    let pick = |of: fn(&TcpKeepalive) -> Option<Duration>| own.and_then(of).or_else(|| mesh.and_then(of)).map(seconds);
    own.or(mesh)?;
    let probes = own
        .and_then(|own| own.probes)
        .or_else(|| mesh.and_then(|mesh| mesh.probes));
    Some(pb::cluster::UpstreamConnectionOptions {
        tcp_keepalive: Some(pb::core::TcpKeepalive {
            keepalive_probes: probes.map(wire::u32_value),
            keepalive_time: pick(|keepalive| keepalive.time),
            keepalive_interval: pick(|keepalive| keepalive.interval),
        }),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_policies::kind::connection_pool::{HttpSettings, TcpSettings};

    #[test]
    fn a_limit_that_is_unset_or_zero_is_none() {
        let pool = ConnectionPool {
            tcp: Some(TcpSettings {
                max_connections: Some(3),
                ..Default::default()
            }),
            http: Some(HttpSettings {
                http1_max_pending_requests: Some(0),
                ..Default::default()
            }),
        };
        let limits = limits(Some(&pool), None);
        let unlimited = Some(wire::u32_value(u32::MAX));
        assert_eq!(limits.max_connections, Some(wire::u32_value(3)));
        assert_eq!(limits.max_pending_requests, unlimited);
        assert_eq!(limits.max_requests, unlimited);
        assert_eq!(limits.max_retries, unlimited);
    }

    #[test]
    fn an_empty_block_detects_with_the_defaults() {
        let wire = outlier_detection(&OutlierDetection::default());
        assert_eq!(wire.consecutive_5xx, Some(wire::u32_value(5)));
        assert_eq!(wire.enforcing_consecutive_5xx, Some(wire::u32_value(100)));
        assert_eq!(wire.enforcing_consecutive_gateway_failure, Some(wire::u32_value(0)));
        assert_eq!(wire.max_ejection_percent, Some(wire::u32_value(10)));
        assert_eq!(wire.enforcing_success_rate, Some(wire::u32_value(0)));
    }

    #[test]
    fn a_threshold_of_zero_switches_its_detector_off() {
        let detection = OutlierDetection {
            consecutive_5xx_errors: Some(0),
            consecutive_gateway_errors: Some(2),
            ..Default::default()
        };
        let wire = outlier_detection(&detection);
        assert_eq!(
            (wire.consecutive_5xx, wire.enforcing_consecutive_5xx),
            (None, Some(wire::u32_value(0)))
        );
        assert_eq!(wire.consecutive_gateway_failure, Some(wire::u32_value(2)));
        assert_eq!(wire.enforcing_consecutive_gateway_failure, Some(wire::u32_value(100)));
    }

    #[test]
    fn keep_alive_attributes_fall_back_one_by_one() {
        let own = TcpKeepalive {
            time: Some(Duration::from_secs(7)),
            ..Default::default()
        };
        let mesh = TcpKeepalive {
            probes: Some(3),
            time: Some(Duration::from_secs(1)),
            interval: None,
        };
        let wire = keepalive(Some(&own), Some(&mesh)).unwrap().tcp_keepalive.unwrap();
        assert_eq!(wire.keepalive_probes, Some(wire::u32_value(3)));
        assert_eq!(wire.keepalive_time, Some(wire::u32_value(7)));
        assert_eq!(wire.keepalive_interval, None);
        assert_eq!(keepalive(None, None), None);
    }
}
