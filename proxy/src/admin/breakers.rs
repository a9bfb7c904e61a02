//! Circuit breakers as people read them: lines of `/clusters`, families under Envoy's names and under our own.

use weft_proxy_core::limit::Limit;

use crate::app::Main;
use crate::telemetry::family::{Family, Kind};
use crate::upstream::admit::Figures;
use crate::upstream::cluster::Cluster;

type Get = fn(&Cluster) -> f64;

/// Envoy's counters and gauges of a cluster. An overflow of requests is one of pending requests, too, as Envoy counts it.
const ENVOY: [(&str, Kind, &str, Get); 14] = [
    (
        "envoy_cluster_upstream_cx_overflow",
        Kind::Counter,
        "Times that a connection was wanted at the limit.",
        |cluster| cluster.state.admission.refused.connections.get() as f64,
    ),
    (
        "envoy_cluster_upstream_rq_pending_overflow",
        Kind::Counter,
        "Requests refused because of a limit.",
        |cluster| overflows(cluster) as f64,
    ),
    (
        "envoy_cluster_upstream_rq_retry_overflow",
        Kind::Counter,
        "Retries not made because of the limit.",
        |cluster| cluster.state.admission.refused.retries.get() as f64,
    ),
    (
        "envoy_cluster_upstream_cx_active",
        Kind::Gauge,
        "Open connections.",
        |cluster| used(limits(cluster).connections),
    ),
    (
        "envoy_cluster_upstream_rq_active",
        Kind::Gauge,
        "Requests in flight.",
        |cluster| used(limits(cluster).requests),
    ),
    (
        "envoy_cluster_upstream_rq_pending_active",
        Kind::Gauge,
        "Requests that wait for a connection.",
        |cluster| used(limits(cluster).pending),
    ),
    (
        "envoy_cluster_circuit_breakers_default_cx_open",
        Kind::Gauge,
        "1 while the connection limit is reached.",
        |cluster| is_reached(limits(cluster).connections),
    ),
    (
        "envoy_cluster_circuit_breakers_default_rq_pending_open",
        Kind::Gauge,
        "1 while the limit of pending requests is reached.",
        |cluster| is_reached(limits(cluster).pending),
    ),
    (
        "envoy_cluster_circuit_breakers_default_rq_open",
        Kind::Gauge,
        "1 while the request limit is reached.",
        |cluster| is_reached(limits(cluster).requests),
    ),
    (
        "envoy_cluster_circuit_breakers_default_rq_retry_open",
        Kind::Gauge,
        "1 while the retry limit is reached.",
        |cluster| is_reached(limits(cluster).retries),
    ),
    (
        "envoy_cluster_circuit_breakers_default_remaining_cx",
        Kind::Gauge,
        "Connections that may be opened.",
        |cluster| remaining(limits(cluster).connections),
    ),
    (
        "envoy_cluster_circuit_breakers_default_remaining_pending",
        Kind::Gauge,
        "Requests that may wait.",
        |cluster| remaining(limits(cluster).pending),
    ),
    (
        "envoy_cluster_circuit_breakers_default_remaining_rq",
        Kind::Gauge,
        "Requests that may be sent.",
        |cluster| remaining(limits(cluster).requests),
    ),
    (
        "envoy_cluster_circuit_breakers_default_remaining_retries",
        Kind::Gauge,
        "Retries that may be made.",
        |cluster| remaining(limits(cluster).retries),
    ),
];

const OWN: [(&str, Kind, &str, Get); 4] = [
    (
        "weft_upstream_waiters",
        Kind::Gauge,
        "Requests in the queue at the connection limit.",
        |cluster| limits(cluster).waiters as f64,
    ),
    (
        "weft_upstream_lent_connections_total",
        Kind::Counter,
        "Open connections handed to a request that waited.",
        |cluster| cluster.state.admission.lent.get() as f64,
    ),
    (
        "weft_upstream_reused_connections_total",
        Kind::Counter,
        "Requests sent on a connection that was idle.",
        |cluster| cluster.state.admission.reused.get() as f64,
    ),
    (
        "weft_upstream_request_overflow_total",
        Kind::Counter,
        "Requests refused because too many were in flight.",
        |cluster| cluster.state.admission.refused.requests.get() as f64,
    ),
];

fn limits(cluster: &Cluster) -> Figures<'_> {
    cluster.state.admission.figures()
}

fn overflows(cluster: &Cluster) -> u64 {
    let refused = &cluster.state.admission.refused;
    refused.pending.get() + refused.requests.get()
}

fn used(limit: &Limit) -> f64 {
    f64::from(limit.used())
}

fn remaining(limit: &Limit) -> f64 {
    f64::from(limit.remaining())
}

fn is_reached(limit: &Limit) -> f64 {
    f64::from(u8::from(limit.remaining() == 0))
}

/// What a scrape shows. Reading it begins the high-water marks anew.
pub(super) fn families(main: &Main) -> Vec<Family<'static>> {
    let store = main.store.borrow();
    // A cluster that was never used is not listed: a mesh has many more than a proxy meets.
    let clusters: Vec<_> = store.live().filter(|cluster| is_used(cluster)).collect();
    let mut families: Vec<_> = ENVOY
        .iter()
        .chain(&OWN)
        .map(|(name, kind, help, get)| {
            let mut family = Family::numbers(name, *kind, help);
            for cluster in &clusters {
                family.push(vec![("cluster_name", cluster.config.name.to_string())], get(cluster));
            }
            family
        })
        .collect();
    let mut marks = Family::numbers(
        "weft_upstream_high_water",
        Kind::Gauge,
        "Most permits of a limit that were out at once since the last scrape.",
    );
    for cluster in &clusters {
        for (limit, permits) in by_name(cluster) {
            let labels = vec![
                ("cluster_name", cluster.config.name.to_string()),
                ("limit", limit.to_owned()),
            ];
            marks.push(labels, f64::from(permits.take_high_water()));
        }
    }
    families.push(marks);
    families
}

/// Lines of `/clusters`, after the cluster's name.
pub(super) fn figures(cluster: &Cluster) -> Vec<(String, u64)> {
    let mut lines = Vec::new();
    for (name, limit) in by_name(cluster) {
        lines.push((format!("default_priority::active_{name}"), u64::from(limit.used())));
        lines.push((
            format!("default_priority::remaining_{name}"),
            u64::from(limit.remaining()),
        ));
        lines.push((
            format!("default_priority::high_water_{name}"),
            u64::from(limit.high_water()),
        ));
    }
    let admission = &cluster.state.admission;
    let own = [
        ("waiters", limits(cluster).waiters as u64),
        ("cx_overflow", admission.refused.connections.get()),
        ("rq_pending_overflow", admission.refused.pending.get()),
        ("rq_overflow", admission.refused.requests.get()),
        ("rq_retry_overflow", admission.refused.retries.get()),
        ("cx_lent", admission.lent.get()),
        ("cx_reused", admission.reused.get()),
    ];
    lines.extend(own.map(|(name, value)| (name.to_owned(), value)));
    lines
}

fn by_name(cluster: &Cluster) -> [(&'static str, &Limit); 4] {
    let limits = limits(cluster);
    [
        ("connections", limits.connections),
        ("pending_requests", limits.pending),
        ("requests", limits.requests),
        ("retries", limits.retries),
    ]
}

/// Whether anything ever went to it.
pub(super) fn is_used(cluster: &Cluster) -> bool {
    let endpoints = cluster.state.endpoints();
    overflows(cluster) > 0 || endpoints.states.iter().any(|state| state.counters.connects.get() > 0)
}
