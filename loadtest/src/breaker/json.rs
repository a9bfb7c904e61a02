//! The findings as JSON. Fields stay; new ones may come.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::findings::{Ejection, Findings, Step};

/// The whole report.
pub(super) fn render(findings: &Findings) -> Value {
    let invalid_because = findings.invalid_because();
    json!({
        "schema": 1, "url": findings.url, "valid": invalid_because.is_empty(), "invalid_because": invalid_because,
        "interrupted": findings.interrupted,
        "steps": findings.steps.iter().map(step).collect::<Vec<_>>(), "opens_at_callers": findings.opens_at(),
        "expected_limit": findings.expected_limit, "limit_of": findings.limit_of.name(),
        "highest_at_once": findings.highest(),
        "ejections": findings.ejections.iter().map(ejection).collect::<Vec<_>>(),
        "recovery_s": findings.recovery_s, "unread": findings.unread, "notes": findings.notes,
        "held": findings.held(), "broken": findings.broken(),
    })
}

fn step(step: &Step) -> Value {
    let quantiles = |quantiles: Option<(f64, f64)>| quantiles.map(|(p50, p99)| json!({"p50": p50, "p99": p99}));
    let shares: BTreeMap<&str, f64> = step.reasons().fold(BTreeMap::new(), |mut shares, (reason, count)| {
        *shares.entry(reason).or_default() += step.share(count);
        shares
    });
    json!({
        "callers": step.callers, "begun_s": step.begun_s, "requests": step.requests, "served": step.served,
        "refused": step.refused, "rejected_otherwise": step.rejected,
        "other_errors": step.other_errors, "failed": step.failed, "abandoned": step.abandoned,
        "served_share": step.share(step.served), "refused_share": step.share(step.refusals()),
        "rejected_share_by_reason": shares,
        "served_ms": quantiles(step.served_ms), "refused_ms": quantiles(step.refused_ms),
        "proxies_overflow": step.overflow, "proxies_retries": step.retries,
        "upstream_connections_highest": step.connections_highest,
        "upstream_in_flight_highest": step.in_flight_highest,
        "valid": step.invalid_because.is_empty(),
    })
}

fn ejection(ejection: &Ejection) -> Value {
    json!({
        "at_s": ejection.at_s, "proxy": ejection.proxy, "cluster": ejection.cluster,
        "ejected": ejection.ejected, "more": ejection.more,
    })
}
