//! A run as one HTML page that opens from disk: nothing in it is fetched from anywhere.

use std::time::Duration;

use serde_json::Value;

use super::chart::{Chart, Line};
use crate::run::Outcome;
use crate::series::Row;

const STYLE: &str = include_str!("page.css");
/// Points of the percentile curve for each tenfold of its axis.
const POINTS_PER_DECADE: u32 = 20;
/// Shortest rest after the last whole second that has a rate of its own, in seconds.
const SHORTEST_REST_S: f64 = 0.2;

/// The whole page. `result` is the run as JSON, which the page carries as data, for whoever gets only the page.
pub(crate) fn render(outcome: &Outcome, result: &Value) -> String {
    let verdict: String = outcome
        .verdict
        .invalid_because
        .iter()
        .map(|because| format!("<p class=\"invalid\">Not to be believed: {}</p>", escape(because)))
        .chain(
            outcome
                .verdict
                .notes
                .iter()
                .map(|note| format!("<p>Note: {}</p>", escape(note))),
        )
        .collect();
    let charts = [percentile_chart(outcome), latency_chart(outcome), rate_chart(outcome)];
    let charts: String = charts.iter().map(Chart::render).collect();
    page(
        &title(outcome),
        &(verdict + &figures(result)),
        &charts,
        &super::table::render(outcome),
        result,
    )
}

/// A page: what comes first, charts, a table, and the result as data. `first` and `charts` are HTML already.
pub(crate) fn page(title: &str, first: &str, charts: &str, table: &str, result: &Value) -> String {
    let title = escape(title);
    // In a script element `</script` ends the data, and `<!--` with `<script` keeps its end from ending it (HTML, "Restrictions
    // for contents of script elements"). JSON has `<` within strings only, where an escape says the same.
    let data = result.to_string().replace('<', "\\u003c");
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n{first}{charts}\n<pre>{}</pre>\n\
         <script type=\"application/json\" id=\"result\">{data}</script></body></html>\n",
        escape(table),
    )
}

fn title(outcome: &Outcome) -> String {
    let first = outcome
        .scenario
        .targets
        .first()
        .map_or("", |target| target.url.as_str());
    format!("Load on {first}")
}

/// The figures that everybody looks for first.
fn figures(result: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let milliseconds = |name: &str| match number(&result["latency_ms"][name]) {
        0.0 => "-".to_owned(),
        milliseconds => format!("{milliseconds:.3} ms"),
    };
    tiles([
        ("p50", milliseconds("p50")),
        ("p99", milliseconds("p99")),
        ("p99.9", milliseconds("p99.9")),
        ("max", milliseconds("max")),
        ("rate", format!("{:.1}/s", number(&result["rate"]["reached"]))),
        ("answered", result["requests"]["answered"].to_string()),
        ("failed", result["requests"]["failed"].to_string()),
    ])
}

/// Latency over 1/(1-quantile), on a logarithmic axis: the tail is where the interest is.
fn percentile_chart(outcome: &Outcome) -> Chart<'static> {
    let decades = (outcome.tally.latency.len().max(10) as f64).log10().floor().min(6.0) as u32;
    let curve = |histogram: &hdrhistogram::Histogram<u64>| {
        // Of nothing there are no percentiles.
        let last = if histogram.is_empty() {
            0
        } else {
            decades * POINTS_PER_DECADE + 1
        };
        (0..last)
            .map(|point| {
                let x = f64::from(point) / f64::from(POINTS_PER_DECADE);
                (x, histogram.value_at_quantile(1.0 - 10f64.powf(-x)) as f64 / 1e3)
            })
            .collect()
    };
    let marks = ["0%", "90%", "99%", "99.9%", "99.99%", "99.999%", "99.9999%"];
    Chart {
        title: "Latency by percentile",
        x_name: "percentile",
        y_name: "ms",
        x_marks: (0..=decades)
            .map(|decade| (f64::from(decade), marks[decade as usize].to_owned()))
            .collect(),
        lines: vec![
            Line {
                name: "latency, from the intended instant",
                class: "worst",
                points: curve(&outcome.tally.latency),
            },
            Line {
                name: "service time, from the actual one",
                class: "best",
                points: curve(&outcome.tally.service_time),
            },
        ],
    }
}

fn latency_chart(outcome: &Outcome) -> Chart<'static> {
    let line = |name, class, of: fn(&Row) -> u64| Line {
        name,
        class,
        points: outcome
            .series
            .iter()
            // Seconds without a measurement are left out.
            .filter(|row| row.max > 0)
            .map(|row| (f64::from(row.second), of(row) as f64 / 1e3))
            .collect(),
    };
    Chart {
        title: "Latency over time",
        x_name: "seconds",
        y_name: "ms",
        x_marks: Vec::new(),
        lines: vec![
            line("max", "worst", |row| row.max),
            line("p99", "middle", |row| row.p99),
            line("p50", "best", |row| row.p50),
        ],
    }
}

fn rate_chart(outcome: &Outcome) -> Chart<'static> {
    // The rest after the last whole second is stretched to one, unless it is too short to say anything beside others.
    let length = |row: &Row| (outcome.elapsed.as_secs_f64() - f64::from(row.second)).min(1.0);
    let rows: Vec<&Row> = outcome
        .series
        .iter()
        .filter(|row| row.second == 0 || length(row) >= SHORTEST_REST_S)
        .collect();
    let line = |name, class, of: fn(&Row) -> u64| Line {
        name,
        class,
        points: rows
            .iter()
            .map(|row| (f64::from(row.second), of(row) as f64 / length(row)))
            .collect(),
    };
    let mut lines = vec![
        line("answered", "best", |row| row.answered),
        line("of them 4xx, 5xx and gRPC errors", "middle", |row| row.refused),
        line("without an answer", "worst", |row| row.failed),
    ];
    if let Some(profile) = &outcome.settings.profile {
        let middle = |row: &Row| Duration::from_secs_f64(f64::from(row.second) + length(row) / 2.0);
        lines.push(Line {
            name: "intended",
            class: "plan",
            points: rows
                .iter()
                .map(|row| (f64::from(row.second), profile.rate_at(middle(row))))
                .collect(),
        });
    }
    Chart {
        title: "Requests over time",
        x_name: "seconds",
        y_name: "per second",
        x_marks: Vec::new(),
        lines,
    }
}

/// Tiles of names and values.
pub(crate) fn tiles<'a>(tiles: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let tiles: String = tiles
        .into_iter()
        .map(|(name, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(&value)))
        .collect();
    format!("<dl>{tiles}</dl>\n")
}

/// Text as HTML has it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_peer_says_stays_text() {
        let hostile = "<!--<script></script><img src=x onerror=\"a('b')\">&amp;";
        let result = json!({"mesh": {"reasons": {hostile: 1}}});
        let page = page(hostile, &tiles([(hostile, hostile.to_owned())]), "", hostile, &result);
        let (text, data) = page.split_once("id=\"result\">").unwrap();
        for markup in ["<!--", "<img", "<script></"] {
            assert!(!text.contains(markup), "{markup}: {text}");
        }
        let escaped = "&lt;!--&lt;script&gt;&lt;/script&gt;&lt;img src=x onerror=&quot;a('b')&quot;&gt;&amp;amp;";
        // The heading, the title, a tile's name and value, the table.
        assert_eq!(text.matches(escaped).count(), 5, "{text}");
        let (data, rest) = data.split_once("</script>").unwrap();
        assert!(!data.contains('<'), "{data}");
        assert_eq!(rest, "</body></html>\n");
        assert_eq!(serde_json::from_str::<Value>(data).unwrap(), result);
    }
}
