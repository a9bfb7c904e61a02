//! `/clusters`: clusters and their endpoints as they are now, in Envoy's layout.

use std::fmt::Write;

use serde_json::{Value, json};
use weft_proxy_core::cluster::Health;

use super::{breakers, outliers};
use crate::app::Main;
use crate::upstream::cluster::Cluster;
use crate::upstream::endpoint::EndpointState;

/// Lines of `cluster::address::figure::value`.
pub(crate) fn text(main: &Main) -> String {
    let mut out = String::new();
    for cluster in main.store.borrow().live() {
        let name = &cluster.config.name;
        let limits = &cluster.config.limits;
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            out,
            "{name}::default_priority::max_connections::{}",
            limits.connections_max
        );
        let _ = writeln!(
            out,
            "{name}::default_priority::max_pending_requests::{}",
            limits.pending_max
        );
        let _ = writeln!(out, "{name}::default_priority::max_requests::{}", limits.requests_max);
        let _ = writeln!(out, "{name}::default_priority::max_retries::{}", limits.retries_max);
        for (figure, value) in breakers::figures(cluster) {
            let _ = writeln!(out, "{name}::{figure}::{value}");
        }
        each(main, cluster, |endpoint| {
            for (figure, value) in &endpoint.figures {
                let _ = writeln!(out, "{name}::{}::{figure}::{value}", endpoint.address);
            }
        });
    }
    out
}

/// The same as JSON.
pub(crate) fn json(main: &Main) -> Value {
    let clusters: Vec<Value> = main
        .store
        .borrow()
        .live()
        .map(|cluster| {
            let mut endpoints = Vec::new();
            each(main, cluster, |endpoint| {
                let figures: serde_json::Map<String, Value> = endpoint
                    .figures
                    .iter()
                    .map(|(figure, value)| ((*figure).to_owned(), json!(value)))
                    .collect();
                endpoints.push(json!({ "address": endpoint.address, "figures": figures }));
            });
            let limits: serde_json::Map<String, Value> = breakers::figures(cluster)
                .into_iter()
                .map(|(figure, value)| (figure, json!(value)))
                .collect();
            json!({ "name": &*cluster.config.name, "limits": limits, "endpoints": endpoints })
        })
        .collect();
    json!({ "clusters": clusters })
}

struct Figures {
    address: String,
    figures: Vec<(&'static str, String)>,
}

fn each(main: &Main, cluster: &Cluster, mut see: impl FnMut(Figures)) {
    // Addresses that clients dialled have the least of what is known of others.
    for state in cluster.state.original.states() {
        let mut figures = counts(&state);
        figures.push(("health_flags", "healthy".to_owned()));
        see(Figures {
            address: state.address.to_string(),
            figures,
        });
    }
    let live = cluster.state.endpoints();
    for (endpoint, state) in live.set.endpoints().iter().zip(&live.states) {
        let health = match endpoint.health {
            Health::Healthy => "healthy",
            Health::Unhealthy => "/failed_eds_health",
            Health::Draining => "/eds_status_draining",
        };
        let health = match (state.is_ejected(), endpoint.health) {
            (false, _) => health.to_owned(),
            (true, Health::Healthy) => "/failed_outlier_check".to_owned(),
            (true, Health::Unhealthy | Health::Draining) => ["/failed_outlier_check", health].concat(),
        };
        let mut figures = counts(state);
        figures.extend([
            ("health_flags", health),
            ("weight", endpoint.weight.to_string()),
            ("priority", endpoint.priority.to_string()),
            ("region", endpoint.locality.region.to_string()),
            ("zone", endpoint.locality.zone.to_string()),
            ("sub_zone", endpoint.locality.sub_zone.to_string()),
        ]);
        figures.extend(outliers::figures(&main.shared, cluster, state));
        see(Figures {
            address: state.address.to_string(),
            figures,
        });
    }
}

fn counts(state: &EndpointState) -> Vec<(&'static str, String)> {
    vec![
        ("cx_total", state.counters.connects.get().to_string()),
        ("cx_connect_fail", state.counters.connect_failures.get().to_string()),
        ("rq_active", state.active().to_string()),
        ("rq_total", state.counters.requests.get().to_string()),
        ("rq_error", state.counters.failures.get().to_string()),
    ]
}
