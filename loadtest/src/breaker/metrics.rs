//! What a proxy counts, out of its metrics (the text format of Prometheus), by cluster.

use std::collections::{BTreeMap, BTreeSet};

/// Labels that name the cluster: Envoy's and weft's.
const NAME_LABELS: [&str; 2] = ["envoy_cluster_name", "cluster_name"];
/// All families that are looked at begin so.
const FAMILIES: &str = "envoy_cluster_";

/// What a proxy counts for a cluster; `None` where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Refusals for want of a place: `upstream_rq_pending_overflow`, and `upstream_rq_active_overflow` of newer Envoys.
    pub(super) overflow: Option<u64>,
    /// Requests that were tried again: a refusal among them is the proxy's, and not the caller's.
    pub(super) retries: Option<u64>,
    /// Endpoints that are out.
    pub(super) ejected: Option<u64>,
    /// Ejections so far.
    pub(super) ejections: Option<u64>,
}

/// A proxy's metrics.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metrics {
    /// Clusters that were asked for and of which anything is counted.
    pub(super) clusters: BTreeMap<String, Counts>,
    /// All clusters that it names.
    pub(super) named: BTreeSet<String>,
}

/// Reads what `text` counts for clusters whose name contains `wanted`.
///
/// # Errors
/// The line that cannot be read.
pub(super) fn read<'a>(text: &'a str, wanted: &str) -> Result<Metrics, &'a str> {
    let mut metrics = Metrics::default();
    for line in text.lines().filter(|line| line.starts_with(FAMILIES)) {
        let (family, name, value) = sample(line).ok_or(line)?;
        let is_wanted = name.contains(wanted);
        if !name.is_empty() && !metrics.named.contains(&name) {
            metrics.named.insert(name.clone());
        }
        let get: fn(&mut Counts) -> &mut Option<u64> = match family.strip_prefix(FAMILIES).unwrap_or_default() {
            "upstream_rq_pending_overflow" | "upstream_rq_active_overflow" => |counts| &mut counts.overflow,
            "upstream_rq_retry" => |counts| &mut counts.retries,
            "outlier_detection_ejections_active" => |counts| &mut counts.ejected,
            "outlier_detection_ejections_enforced_total" => |counts| &mut counts.ejections,
            _ => continue,
        };
        if is_wanted {
            let value = number(value).ok_or(line)?;
            let sum = get(metrics.clusters.entry(name).or_default());
            *sum = Some(sum.unwrap_or_default() + value);
        }
    }
    Ok(metrics)
}

/// Family, cluster (empty where none is named) and value of a line.
fn sample(line: &str) -> Option<(&str, String, &str)> {
    let end = line.find(['{', ' ', '\t'])?;
    let (family, mut rest) = line.split_at(end);
    let mut name = String::new();
    if let Some(labels) = rest.strip_prefix('{') {
        rest = labels;
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if NAME_LABELS.contains(&label.trim()) {
                name = value;
            }
            rest = after;
        }
    }
    // A timestamp may follow.
    Some((family, name, rest.split_whitespace().next()?))
}

/// The text up to the quote that ends it, and what comes behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            _ => value.push(char),
        }
    }
    None
}

/// Counts are whole and not negative, but written as any number is.
fn number(text: &str) -> Option<u64> {
    let number = text.parse::<f64>().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overflow_of(text: &str, wanted: &str) -> Vec<(String, Option<u64>)> {
        let metrics = read(text, wanted).unwrap();
        let clusters = metrics.clusters.into_iter();
        clusters.map(|(name, counts)| (name, counts.overflow)).collect()
    }

    #[test]
    fn a_cluster_is_known_by_its_label_in_envoys_and_in_wefts_metrics() {
        let weft = "# TYPE envoy_cluster_upstream_rq_pending_overflow counter\n\
            envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"outbound|80||a\"} 5\n\
            envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"outbound|80||b\"} 7\n\
            envoy_cluster_upstream_rq_pending_overflow_other{cluster_name=\"outbound|80||a\"} 9\n";
        assert_eq!(overflow_of(weft, "||a"), [("outbound|80||a".to_owned(), Some(5))]);
        let envoy = "envoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name=\"a}\\\"b\"} 3\n\
            envoy_cluster_upstream_rq_active_overflow{envoy_cluster_name=\"a}\\\"b\"} 1 1700000000000\n";
        assert_eq!(overflow_of(envoy, ""), [("a}\"b".to_owned(), Some(4))]);
        // Neither the name of a metric nor another label is the cluster's name.
        for wanted in ["overflow", "eastern"] {
            let text = "envoy_cluster_upstream_rq_pending_overflow{zone=\"eastern\",cluster_name=\"a\"} 1\n";
            assert_eq!(overflow_of(text, wanted), [], "{wanted}");
            assert!(read(text, wanted).unwrap().named.contains("a"));
        }
    }

    #[test]
    fn every_known_count_has_its_place_and_what_is_not_counted_is_not_0() {
        let text = "envoy_cluster_outlier_detection_ejections_active{cluster_name=\"a\"} 2\n\
            envoy_cluster_outlier_detection_ejections_enforced_total{cluster_name=\"a\"} 3\n\
            envoy_cluster_upstream_rq_retry{cluster_name=\"a\"} 4\n\
            envoy_cluster_membership_total{cluster_name=\"b\"} 1\n";
        let wanted = Counts {
            overflow: None,
            retries: Some(4),
            ejected: Some(2),
            ejections: Some(3),
        };
        let metrics = read(text, "").unwrap();
        assert_eq!(metrics.clusters, BTreeMap::from([("a".to_owned(), wanted)]));
        assert_eq!(metrics.named, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_and_not_0() {
        for line in [
            "envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"a\"} NaN",
            "envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"a\"} -1",
            "envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"a\"} many",
            "envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"a\"}",
            "envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"a} 1",
            "envoy_cluster_upstream_rq_pending_overflow",
        ] {
            assert_eq!(read(line, ""), Err(line));
        }
    }
}
