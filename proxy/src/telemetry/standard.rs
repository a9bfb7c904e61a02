//! Istio's standard metrics and weft's own about requests, as families.

use super::family::{Distribution, Family, Kind, Series, Value};
use super::labels::{OwnLabels, ends, security_policy};
use super::totals::{Quantity, Total, TotalKey, Totals};

/// Microseconds in a millisecond.
const MICROSECONDS: f64 = 1000.0;

/// All families about requests.
pub(crate) fn families<'a>(own: &OwnLabels, totals: &'a Totals) -> Vec<Family<'a>> {
    let all = totals.sorted();
    let mut requests = Family::numbers("istio_requests_total", Kind::Counter, "Requests, by their end.");
    let mut failures = Family::numbers(
        "weft_request_failures_total",
        Kind::Counter,
        "Requests and opaque connections that failed, by weft's one reason for each.",
    );
    for (key, total) in &all {
        requests.push(labels(own, key), total.requests as f64);
    }
    for ((service, reason), count) in &totals.failures {
        let labels = vec![
            ("destination_service", service.to_string()),
            ("reason", (*reason).to_owned()),
        ];
        failures.push(labels, *count as f64);
    }
    let distributions = |name, help, kind, scale, get: fn(&Total) -> &Quantity| Family {
        name,
        help,
        kind,
        series: all
            .iter()
            .map(|(key, total)| distribution(labels(own, key), get(total), scale))
            .collect(),
    };
    let mut families = vec![
        requests,
        failures,
        distributions(
            "istio_request_duration_milliseconds",
            "From the head of a request to the end of its reply.",
            Kind::Histogram,
            MICROSECONDS,
            |total| &total.duration_us,
        ),
        distributions(
            "weft_request_duration_milliseconds",
            "The same as quantiles, exact to 1%.",
            Kind::Summary,
            MICROSECONDS,
            |total| &total.duration_us,
        ),
        distributions(
            "istio_request_bytes",
            "Size of requests with their headers.",
            Kind::Histogram,
            1.0,
            |total| &total.request_bytes,
        ),
        distributions(
            "istio_response_bytes",
            "Size of replies with their headers.",
            Kind::Histogram,
            1.0,
            |total| &total.response_bytes,
        ),
    ];
    families.extend(totals.tcp.families(own));
    families
}

fn distribution<'a>(labels: Vec<(&'static str, String)>, quantity: &'a Quantity, scale: f64) -> Series<'a> {
    Series {
        labels,
        value: Value::Distribution(Distribution {
            values: &quantity.values,
            sum: quantity.sum,
            scale,
        }),
    }
}

/// Istio's labels in Istio's order.
fn labels(own: &OwnLabels, key: &TotalKey) -> Vec<(&'static str, String)> {
    let mut labels = ends(own, key.reporter, &key.destination);
    labels.extend([
        ("request_protocol", if key.grpc { "grpc" } else { "http" }.to_owned()),
        ("response_code", key.code.to_string()),
        (
            "grpc_response_status",
            key.grpc_status.map(|status| status.to_string()).unwrap_or_default(),
        ),
        ("response_flags", key.flags.to_string()),
        ("connection_security_policy", security_policy(key.reporter).to_owned()),
    ]);
    labels
}
