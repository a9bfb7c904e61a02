//! What a proxy's `/stats/prometheus` says, line by line.

use std::collections::BTreeMap;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of the text format; lines that are none are passed over.
pub(super) fn parse(text: &str) -> Vec<Sample> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(sample)
        .collect()
}

/// The sum of a counter over the series of one cluster.
pub(super) fn of_cluster(samples: &[Sample], name: &str, cluster: &str) -> u64 {
    let named = samples.iter().filter(|sample| sample.name == name);
    let sum: f64 = named
        .filter(|sample| sample.labels.values().any(|value| value == cluster))
        .map(|s| s.value)
        .sum();
    // Counters are whole and far below 2^53.
    sum as u64
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, rest) = series.split_once('{').unwrap_or((series, ""));
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    while let Some((label, after)) = rest.split_once("=\"") {
        let (text, end) = quoted(after)?;
        labels.insert(label.trim_start_matches(',').to_owned(), text);
        rest = after.get(end..)?;
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}

/// A label's value up to its closing quote, and where the text goes on behind that.
fn quoted(text: &str) -> Option<(String, usize)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, character) in text.char_indices() {
        match (escaped, character) {
            (true, 'n') => value.push('\n'),
            (true, other) => value.push(other),
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (false, '"') => return Some((value, at + 1)),
            (false, other) => value.push(other),
        }
        escaped = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# HELP a b\na 3\nb{x=\"1\",y=\"q\\\"{,}\"} 0.5\nb{x=\"2\",y=\"\"} 2\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 3);
        assert_eq!((samples[0].name.as_str(), samples[0].value), ("a", 3.0));
        assert_eq!((samples[1].label("y"), samples[1].value), ("q\"{,}", 0.5));
        assert_eq!((of_cluster(&samples, "b", "2"), of_cluster(&samples, "b", "3")), (2, 0));
    }
}
