//! Step 5: how long every service took, as the proxies in front of it have counted.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use weft_bookinfo::pods::PODS;

use crate::demo::metrics::{Sample, parse};
use crate::demo::run::Play;
use crate::demo::{admin, rules};

const QUANTILES: [(&str, &str); 4] = [("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99"), ("0.999", "p99.9")];
const DURATION: &str = "weft_request_duration_milliseconds";

/// One line: who called whom, and how long it took.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    caller: String,
    service: String,
    version: String,
    workload: String,
    requests: u64,
    quantiles: [f64; QUANTILES.len()],
}

pub(super) async fn step(play: &Play, figures: &mut Value) -> Result<()> {
    let mut rows = Vec::new();
    for process in play.stage.proxies() {
        rows.extend(rows_of(&parse(
            &admin::text(process.address, "/stats/prometheus").await?,
        )));
    }
    rows.sort_by_key(|row| {
        let place = PODS
            .iter()
            .position(|pod| pod.service == row.service)
            .unwrap_or(PODS.len());
        (place, row.workload.clone(), row.caller.clone())
    });
    let say = |line: String| play.view.say(&line);
    say(format!(
        "   {:<12} {:<15} {:<15} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "service", "answered by", "called by", "requests", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"
    ));
    for row in &rows {
        let [p50, p90, p99, p999] = row.quantiles;
        say(format!(
            "   {:<12} {:<15} {:<15} {:>8} {p50:>9.2} {p90:>9.2} {p99:>9.2} {p999:>9.2}",
            row.service, row.workload, row.caller, row.requests
        ));
    }
    say("   (replies with status 200; the tail of details is the delay of step 3)".to_owned());
    *figures = rows.iter().map(figure).collect();
    for pod in PODS {
        let is_used = pod.service != "reviews" || is_in_the_rules(play, pod.version)?;
        let found = rows
            .iter()
            .any(|row| row.service == pod.service && row.version == pod.version);
        ensure!(
            found || !is_used,
            "no proxy has a histogram of {} {}",
            pod.service,
            pod.version
        );
    }
    Ok(())
}

/// Whether anybody was sent to that version of reviews in the steps before.
fn is_in_the_rules(play: &Play, version: &str) -> Result<bool> {
    let users = [None, Some("jason")];
    let met: Vec<rules::Shares> = users.into_iter().map(|user| play.shares(user)).collect::<Result<_>>()?;
    Ok(met.iter().any(|shares| shares.contains_key(version)))
}

fn figure(row: &Row) -> Value {
    let quantiles = QUANTILES
        .iter()
        .zip(row.quantiles)
        .map(|((_, name), value)| ((*name).to_owned(), json!(value)));
    json!({
        "service": row.service,
        "version": row.version,
        "answered_by": row.workload,
        "called_by": row.caller,
        "requests": row.requests,
        "milliseconds": quantiles.collect::<serde_json::Map<_, _>>(),
    })
}

/// The rows of one proxy: what went out of it to a service of the demo and came back with 200.
fn rows_of(samples: &[Sample]) -> Vec<Row> {
    let counts = samples
        .iter()
        .filter(|sample| sample.name == format!("{DURATION}_count"));
    let counts = counts.filter(|sample| {
        // Each request is counted on both sides; the caller's also has what the way cost.
        let is_meant = sample.label("reporter") == "source" && sample.label("response_code") == "200";
        is_meant
            && PODS
                .iter()
                .any(|pod| pod.service == sample.label("destination_service_name"))
    });
    let row = |count: &Sample| {
        let quantiles = QUANTILES.map(|(quantile, _)| {
            let is_meant = |sample: &&Sample| {
                sample.name == DURATION
                    && sample.label("quantile") == quantile
                    && count.labels.iter().all(|(name, value)| sample.label(name) == value)
            };
            samples.iter().find(is_meant).map_or(0.0, |sample| sample.value)
        });
        Row {
            caller: count.label("source_workload").to_owned(),
            service: count.label("destination_service_name").to_owned(),
            version: count.label("destination_version").to_owned(),
            workload: count.label("destination_workload").to_owned(),
            // Counts are whole.
            requests: count.value as u64,
            quantiles,
        }
    };
    counts.map(row).filter(|row| row.requests > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_went_out_to_a_service_and_came_back_well() {
        let series = |reporter: &str, code: u16| {
            let labels = [
                ("reporter", reporter),
                ("source_workload", "productpage-v1"),
                ("destination_service_name", "details"),
                ("destination_version", "v1"),
                ("destination_workload", "d"),
                ("response_code", &code.to_string()),
            ];
            let labels = labels.map(|(name, value)| format!("{name}=\"{value}\"")).join(",");
            let quantile =
                |quantile: &str, value: f64| format!("{DURATION}{{{labels},quantile=\"{quantile}\"}} {value}\n");
            [
                quantile("0.5", 1.5),
                quantile("0.999", 9.0),
                format!("{DURATION}_count{{{labels}}} 7\n"),
            ]
            .concat()
        };
        let text = [series("source", 200), series("source", 503), series("destination", 200)].concat();
        let rows = rows_of(&parse(&text));
        let expected = Row {
            caller: "productpage-v1".to_owned(),
            service: "details".to_owned(),
            version: "v1".to_owned(),
            workload: "d".to_owned(),
            requests: 7,
            quantiles: [1.5, 0.0, 0.0, 9.0],
        };
        assert_eq!(rows, [expected]);
    }
}
