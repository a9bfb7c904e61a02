//! Outlier detection and retries as people read them: what is out, why, since when and until when; families under Envoy's
//! names and under our own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use weft_proxy_core::outlier::{Cause, Standing, ejection_time};

use super::breakers::is_used;
use crate::app::Main;
use crate::shared::Shared;
use crate::telemetry::family::{Family, Kind};
use crate::upstream::attempts::RetryCounters;
use crate::upstream::cluster::Cluster;
use crate::upstream::counters::Counter;
use crate::upstream::counters::MirrorCounters;
use crate::upstream::endpoint::EndpointState;
use crate::upstream::observe::{CAUSES, OutlierState};

type Outliers = fn(&OutlierState) -> u64;
type Retries = fn(&RetryCounters) -> &Counter;

/// Envoy's figures of outlier detection.
const DETECTION: [(&str, Kind, &str, Outliers); 9] = [
    (
        "envoy_cluster_outlier_detection_ejections_active",
        Kind::Gauge,
        "Endpoints that are out.",
        |outliers| u64::from(outliers.health.ejected()),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced_total",
        Kind::Counter,
        "Ejections.",
        |outliers| outliers.enforced.sum(),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced_consecutive_5xx",
        Kind::Counter,
        "Ejections because of consecutive 5xx.",
        |outliers| outliers.enforced.of(Cause::ServerError).get(),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced_consecutive_gateway_failure",
        Kind::Counter,
        "Ejections because of consecutive 502, 503, 504.",
        |outliers| outliers.enforced.of(Cause::Gateway).get(),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced_consecutive_local_origin_failure",
        Kind::Counter,
        "Ejections because of consecutive failures to reach it.",
        |outliers| outliers.enforced.of(Cause::LocalOrigin).get(),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx",
        Kind::Counter,
        "Complete runs of 5xx, ejected or not.",
        |outliers| outliers.detected.of(Cause::ServerError).get(),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_detected_consecutive_gateway_failure",
        Kind::Counter,
        "Complete runs of 502, 503, 504, ejected or not.",
        |outliers| outliers.detected.of(Cause::Gateway).get(),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_detected_consecutive_local_origin_failure",
        Kind::Counter,
        "Complete runs of failures to reach it, ejected or not.",
        |outliers| outliers.detected.of(Cause::LocalOrigin).get(),
    ),
    (
        "envoy_cluster_outlier_detection_ejections_overflow",
        Kind::Counter,
        "Ejections that the cap on ejected endpoints did not allow.",
        |outliers| outliers.overflow.get(),
    ),
];

/// Envoy's figures of retries.
const RETRIES: [(&str, &str, Retries); 4] = [
    ("envoy_cluster_upstream_rq_retry", "Retries.", |retries| &retries.made),
    (
        "envoy_cluster_upstream_rq_retry_success",
        "Requests that a retry helped.",
        |retries| &retries.successes,
    ),
    (
        "envoy_cluster_upstream_rq_retry_limit_exceeded",
        "Requests that were tried as often as they may be.",
        |retries| &retries.exhausted,
    ),
    (
        "envoy_cluster_upstream_rq_per_try_timeout",
        "Tries that took longer than one may.",
        |retries| &retries.try_timeouts,
    ),
];

type Mirrors = fn(&MirrorCounters) -> &Counter;

/// Copies of requests that a cluster gets.
const MIRRORS: [(&str, &str, Mirrors); 2] = [
    (
        "weft_cluster_mirrors_total",
        "Copies of requests that were begun.",
        |mirrors| &mirrors.begun,
    ),
    (
        "weft_cluster_mirrors_abandoned_total",
        "Copies that were given up for limits of our own.",
        |mirrors| &mirrors.abandoned,
    ),
];

/// What a scrape shows.
pub(super) fn families(main: &Main) -> Vec<Family<'static>> {
    let store = main.store.borrow();
    let mut families = Vec::new();
    let mut add = |metric, kind, help, listed: fn(&Cluster) -> bool, get: &dyn Fn(&Cluster) -> u64| {
        let mut family = Family::numbers(metric, kind, help);
        for cluster in store.live().filter(|cluster| listed(cluster)) {
            let name = vec![("cluster_name", cluster.config.name.to_string())];
            family.push(name, get(cluster) as f64);
        }
        families.push(family);
    };
    for (metric, kind, help, get) in DETECTION {
        let detects = |cluster: &Cluster| cluster.config.outlier.is_some();
        add(metric, kind, help, detects, &|cluster| get(&cluster.state.outliers));
    }
    for (metric, help, get) in RETRIES {
        // A cluster that was never used is not listed: a mesh has many more than a proxy meets.
        add(metric, Kind::Counter, help, is_used, &|cluster| {
            get(&cluster.state.retries).get()
        });
    }
    for (metric, help, get) in MIRRORS {
        let mirrored = |cluster: &Cluster| MIRRORS.iter().any(|(_, _, get)| get(&cluster.state.mirrors).get() > 0);
        add(metric, Kind::Counter, help, mirrored, &|cluster| {
            get(&cluster.state.mirrors).get()
        });
    }
    let mut ejections = Family::numbers(
        "weft_ejections_total",
        Kind::Counter,
        "Ejections of an endpoint, by cause.",
    );
    for cluster in store.live().filter(|cluster| cluster.state.outliers.enforced.sum() > 0) {
        // Workloads that share an address share its series.
        let mut counts: BTreeMap<(SocketAddr, &str), u64> = BTreeMap::new();
        for state in &cluster.state.endpoints().states {
            for cause in CAUSES {
                *counts.entry((state.address, cause.as_str())).or_default() += state.record.ejections.of(cause).get();
            }
        }
        for ((address, cause), count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            let labels = vec![
                ("cluster", cluster.config.name.to_string()),
                ("endpoint", address.to_string()),
                ("cause", cause.to_owned()),
            ];
            ejections.push(labels, count as f64);
        }
    }
    families.push(ejections);
    families
}

/// Lines of `/clusters` about one endpoint: nothing for one that is in and never was out.
pub(super) fn figures(shared: &Shared, cluster: &Cluster, endpoint: &EndpointState) -> Vec<(&'static str, String)> {
    let ejections: u64 = endpoint.record.ejections.sum();
    let mut lines = Vec::new();
    if ejections > 0 {
        lines.push(("ejections_total", ejections.to_string()));
    }
    if let Standing::Out {
        cause,
        since,
        ejections,
    } = endpoint.record.health.standing()
    {
        let outliers = &cluster.state.outliers;
        let begun = at(shared, outliers, since);
        lines.push(("ejection_cause", cause.as_str().to_owned()));
        lines.push(("ejection_number", ejections.to_string()));
        lines.push(("ejected_at", begun.map(seconds).unwrap_or_default()));
        if let Some(detection) = outliers.detection() {
            // It returns at the first sweep after this.
            let until = begun.and_then(|begun| begun.checked_add(ejection_time(&detection, ejections)));
            lines.push(("ejected_until", until.map(seconds).unwrap_or_default()));
        }
    }
    lines
}

/// The time of day at which the cluster's clock stood at `since`.
fn at(shared: &Shared, outliers: &OutlierState, since: Duration) -> Option<SystemTime> {
    let offset = outliers.started.saturating_duration_since(shared.started);
    shared.started_at.checked_add(offset.checked_add(since)?)
}

/// Unix time.
fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:.3}", since.as_secs_f64())
}
