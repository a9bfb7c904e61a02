//! `/stats/prometheus`: Istio's standard metrics and weft's own.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use tokio::time::Instant;

use super::{breakers, outliers};
use crate::app::Main;
use crate::bootstrap;
use crate::telemetry::family::{Family, Kind};
use crate::telemetry::{native, standard, text};
use crate::worker::Scrape;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    /// Protobuf, with native histograms.
    Native,
}

impl Format {
    /// By the `accept` header: a scraper that wants native histograms names the protobuf type.
    pub(crate) fn asked_for(accept: &str) -> Self {
        let wants = accept.split(',').any(|kind| {
            kind.trim().starts_with("application/vnd.google.protobuf")
                && kind.contains("io.prometheus.client.MetricFamily")
        });
        if wants { Self::Native } else { Self::Text }
    }
}

/// Media type and body.
pub(crate) async fn render(main: &Main, format: Format) -> (&'static str, Vec<u8>) {
    let parts = main.scrape().await;
    let totals = main.totals.borrow();
    let mut families = standard::families(&main.own, &totals);
    families.extend(process(main, &parts, totals.dropped));
    families.extend(xds(main));
    families.extend(endpoints(main));
    families.extend(breakers::families(main));
    families.extend(outliers::families(main));
    families.retain(|family| !family.series.is_empty());
    match format {
        Format::Text => (text::CONTENT_TYPE, text::encode(&families).into_bytes()),
        Format::Native => (native::CONTENT_TYPE, native::encode(&families)),
    }
}

fn single(name: &'static str, kind: Kind, help: &'static str, value: f64) -> Family<'static> {
    let mut family = Family::numbers(name, kind, help);
    family.push(Vec::new(), value);
    family
}

fn process(main: &Main, parts: &HashMap<usize, Scrape>, dropped: u64) -> Vec<Family<'static>> {
    let mut build = Family::numbers("istio_build", Kind::Gauge, "Version of the proxy.");
    build.push(
        vec![
            ("component", "proxy".to_owned()),
            ("tag", env!("CARGO_PKG_VERSION").to_owned()),
        ],
        1.0,
    );
    let by_worker = |name, kind, help, get: fn(&Scrape) -> f64| {
        let mut family = Family::numbers(name, kind, help);
        let mut workers: Vec<_> = parts.iter().collect();
        workers.sort_by_key(|(index, _)| **index);
        for (index, scrape) in workers {
            family.push(vec![("worker", index.to_string())], get(scrape));
        }
        family
    };
    let uptime = main.shared.started.elapsed().as_secs_f64();
    vec![
        build,
        single(
            "weft_bug_total",
            Kind::Counter,
            "Broken invariants: each ended one task.",
            bootstrap::panics() as f64,
        ),
        single(
            "weft_process_uptime_seconds",
            Kind::Gauge,
            "Time since the start.",
            uptime,
        ),
        by_worker(
            "weft_downstream_connections",
            Kind::Gauge,
            "Open connections of clients.",
            |s| s.connections as f64,
        ),
        by_worker(
            "weft_downstream_connections_total",
            Kind::Counter,
            "Accepted connections of clients.",
            |s| s.connections_total as f64,
        ),
        by_worker(
            "weft_downstream_connections_refused_total",
            Kind::Counter,
            "Connections closed at once because of the limit.",
            |s| s.connections_refused_total as f64,
        ),
        by_worker(
            "weft_upstream_idle_connections",
            Kind::Gauge,
            "Pooled connections to upstreams.",
            |s| s.idle_upstream_connections as f64,
        ),
        by_worker(
            "weft_worker_lag_microseconds",
            Kind::Gauge,
            "How late the worker's last timer ran.",
            |s| s.lag_us as f64,
        ),
        single(
            "weft_telemetry_dropped_samples_total",
            Kind::Counter,
            "Requests not counted because there were too many series.",
            dropped as f64,
        ),
    ]
}

fn xds(main: &Main) -> Vec<Family<'static>> {
    let status = main.xds.borrow();
    let store = main.store.borrow();
    let age = status
        .last_update
        .map(|at| Instant::now().saturating_duration_since(at).as_secs_f64());
    let mut held = Family::numbers("weft_xds_resources", Kind::Gauge, "Resources in force, by type.");
    for (kind, count) in [
        ("CDS", store.clusters.len()),
        ("EDS", store.endpoints.len()),
        ("LDS", store.listeners.len()),
        ("RDS", store.routes.len()),
    ] {
        held.push(vec![("type", kind.to_owned())], count as f64);
    }
    let mut families = vec![
        single(
            "weft_xds_connected",
            Kind::Gauge,
            "1 while there is a stream.",
            f64::from(u8::from(status.connected)),
        ),
        single(
            "weft_xds_updates_total",
            Kind::Counter,
            "Responses received.",
            status.updates as f64,
        ),
        single(
            "weft_xds_rejects_total",
            Kind::Counter,
            "Resources refused.",
            status.rejects as f64,
        ),
        single(
            "weft_xds_ignored_total",
            Kind::Counter,
            "Parts of resources that were not known.",
            store.ignored as f64,
        ),
        held,
    ];
    families.extend(age.map(|age| {
        single(
            "weft_xds_config_age_seconds",
            Kind::Gauge,
            "Time since the last change.",
            age,
        )
    }));
    families
}

fn endpoints(main: &Main) -> Vec<Family<'static>> {
    let store = main.store.borrow();
    let mut active = Family::numbers(
        "weft_upstream_active_requests",
        Kind::Gauge,
        "Requests in flight to an endpoint.",
    );
    let mut connects = Family::numbers("weft_upstream_connects_total", Kind::Counter, "Connections dialled.");
    let mut failures = Family::numbers(
        "weft_upstream_connect_failures_total",
        Kind::Counter,
        "Dials that failed.",
    );
    for cluster in store.live() {
        // Workloads that share an address share its series.
        let mut by_address: BTreeMap<SocketAddr, [u64; 3]> = BTreeMap::new();
        for state in &cluster.state.endpoints().states {
            // What was never used is not listed: a mesh has many more endpoints than a proxy meets.
            if state.counters.connects.get() == 0 {
                continue;
            }
            let sums = by_address.entry(state.address).or_default();
            sums[0] += u64::from(state.active());
            sums[1] += state.counters.connects.get();
            sums[2] += state.counters.connect_failures.get();
        }
        for (address, sums) in by_address {
            for (family, sum) in [&mut active, &mut connects, &mut failures].into_iter().zip(sums) {
                let labels = vec![
                    ("cluster", cluster.config.name.to_string()),
                    ("endpoint", address.to_string()),
                ];
                family.push(labels, sum as f64);
            }
        }
    }
    vec![active, connects, failures]
}
