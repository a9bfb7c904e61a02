use super::Summary;
pub(crate) fn render(summary: &Summary) -> String {
    let t = &summary.tally;
    let q = |h: &hdrhistogram::Histogram<u64>| serde_json::json!({"p50": h.value_at_quantile(0.5) as f64/1e3, "p99": h.value_at_quantile(0.99) as f64/1e3,"p99.9": h.value_at_quantile(0.999) as f64/1e3, "max": h.max() as f64/1e3});
    serde_json::json!({"latency_ms": q(&t.latency), "service_time_ms": q(&t.service_time), "pacing_ms": q(&t.pacing), "reached": t.answered() as f64 / (summary.elapsed as f64/1e9),
      "cpu_us_per_request": summary.cpu as f64 / 1e3 / t.answered().max(1) as f64, "held_up_ms": summary.held_up as f64/1e6, "unsent": t.unsent, "failed": t.failed(), "opened": t.opened, "codes": t.codes().map(|(c,n)| (c.to_string(), n)).collect::<std::collections::BTreeMap<_,_>>()}).to_string()
}
