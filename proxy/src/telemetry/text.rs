//! The text exposition format of Prometheus, version 0.0.4.

use std::fmt::Write;

use super::family::{BUCKETS, Distribution, Family, Kind, QUANTILES, Series, Value};

/// Media type of [`encode`]'s result.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families as text.
pub(crate) fn encode(families: &[Family<'_>]) -> String {
    let mut out = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        // Writing to a `String` cannot fail.
        let _ = write!(out, "# HELP {0} {1}\n# TYPE {0} {2}\n", family.name, family.help, kind);
        for series in &family.series {
            encode_series(&mut out, family, series);
        }
    }
    out
}

fn encode_series(out: &mut String, family: &Family<'_>, series: &Series<'_>) {
    match &series.value {
        Value::Number(value) => line(out, family.name, "", &series.labels, None, *value),
        Value::Distribution(values) if family.kind == Kind::Summary => {
            for quantile in QUANTILES {
                let value = values.values.value_at_quantile(quantile) as f64 / values.scale;
                line(
                    out,
                    family.name,
                    "",
                    &series.labels,
                    Some(("quantile", quantile.to_string())),
                    value,
                );
            }
            sum_and_count(out, family.name, series, values);
        }
        Value::Distribution(values) => {
            for (bound, count) in BUCKETS.iter().zip(values.cumulative()) {
                line(
                    out,
                    family.name,
                    "_bucket",
                    &series.labels,
                    Some(("le", bound.to_string())),
                    count as f64,
                );
            }
            line(
                out,
                family.name,
                "_bucket",
                &series.labels,
                Some(("le", "+Inf".to_owned())),
                values.values.len() as f64,
            );
            sum_and_count(out, family.name, series, values);
        }
    }
}

fn sum_and_count(out: &mut String, name: &str, series: &Series<'_>, values: &Distribution<'_>) {
    line(
        out,
        name,
        "_sum",
        &series.labels,
        None,
        values.sum as f64 / values.scale,
    );
    line(out, name, "_count", &series.labels, None, values.values.len() as f64);
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&'static str, String)],
    extra: Option<(&str, String)>,
    value: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    let all = labels
        .iter()
        .map(|(name, value)| (*name, value))
        .chain(extra.as_ref().map(|(name, value)| (*name, value)));
    for (index, (label, text)) in all.enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        for character in text.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() || extra.is_some() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[test]
    fn values_that_differ_by_a_tenth_have_different_quantiles_and_buckets_start_below_a_millisecond() {
        let mut values = Histogram::<u64>::new(2).unwrap();
        values.record(3000).unwrap();
        values.record(3000).unwrap();
        values.record(90).unwrap();
        let series = |value| Series {
            labels: vec![("a", "x\"y".to_owned())],
            value,
        };
        let distribution = Distribution {
            values: &values,
            sum: 6090,
            scale: 1000.0,
        };
        let family = |kind, name| Family {
            name,
            help: "h",
            kind,
            series: vec![series(Value::Distribution(distribution.clone()))],
        };
        let text = encode(&[family(Kind::Histogram, "d"), family(Kind::Summary, "s")]);
        for wanted in [
            "d_bucket{a=\"x\\\"y\",le=\"0.1\"} 1\n",
            "d_bucket{a=\"x\\\"y\",le=\"1\"} 1\n",
            "d_bucket{a=\"x\\\"y\",le=\"5\"} 3\n",
            "d_bucket{a=\"x\\\"y\",le=\"+Inf\"} 3\n",
            "d_sum{a=\"x\\\"y\"} 6.09\n",
            "d_count{a=\"x\\\"y\"} 3\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        let p50 = text.lines().find(|line| line.contains("quantile=\"0.5\"")).unwrap();
        let value: f64 = p50.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((2.97..3.03).contains(&value), "{p50}");
    }
}
