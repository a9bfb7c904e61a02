//! What proxies count, out of their metrics (the text format of Prometheus).

/// Figures of all proxies together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Refusals for want of a place: `upstream_rq_pending_overflow`, and `upstream_rq_active_overflow` of newer Envoys.
    pub(super) overflow: u64,
    /// Endpoints that are out.
    pub(super) ejected: u64,
    /// Ejections so far.
    pub(super) ejections: u64,
}

/// Adds what `text` counts for clusters whose labels contain `cluster`.
pub(super) fn add(figures: &mut Figures, text: &str, cluster: &str) {
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(cluster))
    {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let sum = match &line[..end] {
            "envoy_cluster_upstream_rq_pending_overflow" | "envoy_cluster_upstream_rq_active_overflow" => {
                &mut figures.overflow
            }
            "envoy_cluster_outlier_detection_ejections_active" => &mut figures.ejected,
            "envoy_cluster_outlier_detection_ejections_enforced_total" => &mut figures.ejections,
            _ => continue,
        };
        // Labels may hold spaces; a value never does. A timestamp after it is not exported by any proxy we know.
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        *sum += value.unwrap_or_default() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_clusters_in_question_are_summed() {
        let text = "# TYPE envoy_cluster_upstream_rq_pending_overflow counter\n\
            envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"outbound|80||a\"} 5\n\
            envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"outbound|80||b\"} 7\n\
            envoy_cluster_upstream_rq_active_overflow{cluster_name=\"outbound|80||a\"} 1\n\
            envoy_cluster_outlier_detection_ejections_active{cluster_name=\"outbound|80||a\"} 2\n\
            envoy_cluster_upstream_rq_pending_overflow_other{cluster_name=\"outbound|80||a\"} 9\n";
        let mut figures = Figures::default();
        add(&mut figures, text, "||a");
        let wanted = Figures {
            overflow: 6,
            ejected: 2,
            ejections: 0,
        };
        assert_eq!(figures, wanted);
    }
}
