//! Looks at the proxies on the way: what each counts, and what has changed since the look before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use http::Method;

use super::fetch::{FetchError, fetch};
use super::findings::Ejection;
use super::metrics::{self, Counts};
use crate::clock;

/// How often proxies are asked for ejections.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Changes of ejections that are kept.
const EJECTIONS_MAX: usize = 1000;
/// Clusters that an error names.
const NAMED_MAX: usize = 8;

/// Why a look shows nothing. Each is one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A line of the metrics makes no sense.
    #[error("{url}: has a line that cannot be read: {line}")]
    Unreadable { url: String, line: String },
    /// The proxy has no such cluster.
    #[error("{url}: no cluster's name contains {wanted:?}; there are {there}")]
    NoCluster { url: String, wanted: String, there: String },
    /// What is counted there is something else.
    #[error("{url}: counts nothing of circuit breakers, such as envoy_cluster_upstream_rq_pending_overflow")]
    NoCount { url: String },
    /// The proxy has begun anew meanwhile.
    #[error("{url}: counts less for {cluster} than before: was it started again?")]
    Less { url: String, cluster: String },
}

/// Whom to ask for what.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    /// Addresses of their metrics.
    pub(super) metrics: Vec<String>,
    /// Part of the clusters' names.
    pub(super) cluster: String,
}

/// What all proxies count at one time, by metrics address and cluster.
pub(super) type Look = BTreeMap<(String, String), Counts>;

/// What proxies counted between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Between {
    pub(super) overflow: u64,
    pub(super) retries: u64,
    pub(super) ejections: u64,
}

impl Proxies {
    /// Asks all of them.
    pub(super) async fn look(&self) -> Result<Look, LookError> {
        let mut look = Look::new();
        for url in &self.metrics {
            let bytes = fetch(Method::GET, url).await?;
            let text = String::from_utf8_lossy(&bytes);
            let read = metrics::read(&text, &self.cluster).map_err(|line| LookError::Unreadable {
                url: url.clone(),
                line: line.chars().take(200).collect(),
            })?;
            if read.clusters.is_empty() {
                return Err(self.nothing(url, read.named.iter().map(String::as_str).collect()));
            }
            let clusters = read.clusters.into_iter();
            look.extend(clusters.map(|(cluster, counts)| ((url.clone(), cluster), counts)));
        }
        Ok(look)
    }

    fn nothing(&self, url: &str, named: Vec<&str>) -> LookError {
        let url = url.to_owned();
        if named.is_empty() || named.iter().any(|name| name.contains(&self.cluster)) {
            return LookError::NoCount { url };
        }
        let more = named.len().saturating_sub(NAMED_MAX);
        let mut there = named[..named.len() - more].join(", ");
        if more > 0 {
            there += &format!(" and {more} more");
        }
        LookError::NoCluster {
            url,
            wanted: self.cluster.clone(),
            there,
        }
    }
}

/// What was counted between two looks. A cluster that was not listed before had counted nothing: proxies list those that they use.
///
/// # Errors
/// When nobody counts refusals, or a count has fallen.
pub(super) fn between(before: &Look, after: &Look) -> Result<Between, LookError> {
    let mut sums = Between::default();
    let mut counted = false;
    for ((url, cluster), now) in after {
        let then = before.get(&(url.clone(), cluster.clone())).copied().unwrap_or_default();
        for (sum, then, now) in [
            (&mut sums.overflow, then.overflow, now.overflow),
            (&mut sums.retries, then.retries, now.retries),
            (&mut sums.ejections, then.ejections, now.ejections),
        ] {
            let (then, now) = (then.unwrap_or_default(), now.unwrap_or(then.unwrap_or_default()));
            *sum += now.checked_sub(then).ok_or_else(|| LookError::Less {
                url: url.clone(),
                cluster: cluster.clone(),
            })?;
        }
        counted |= now.overflow.is_some();
    }
    let url = || after.keys().next().map(|(url, _)| url.clone()).unwrap_or_default();
    counted.then_some(sums).ok_or_else(|| LookError::NoCount { url: url() })
}

/// What is noticed between the steps and within them.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    pub(super) ejections: Vec<Ejection>,
    last: Look,
}

impl Noticed {
    /// Begins with what is so already: that is no event.
    pub(super) fn new(first: Look) -> Self {
        Self {
            ejections: Vec::new(),
            last: first,
        }
    }

    /// Notes which clusters have more or fewer endpoints out than in the look before.
    fn note(&mut self, look: Look, at_s: f64) {
        for ((proxy, cluster), now) in &look {
            let then = self.last.get(&(proxy.clone(), cluster.clone())).copied();
            let then = then.unwrap_or_default();
            let out = |counts: Counts| counts.ejected.unwrap_or_default();
            let so_far = |counts: Counts| counts.ejections.unwrap_or_default();
            let changed = out(*now) != out(then) || so_far(*now) != so_far(then);
            if changed && self.ejections.len() < EJECTIONS_MAX {
                self.ejections.push(Ejection {
                    at_s,
                    proxy: proxy.clone(),
                    cluster: cluster.clone(),
                    ejected: out(*now),
                    more: so_far(*now).saturating_sub(so_far(then)),
                });
            }
        }
        self.last = look;
    }
}

/// Notes when endpoints are taken out and come back, until it is dropped. `begun` is the instant from which times count.
pub(super) async fn watch(proxies: Proxies, noticed: Rc<RefCell<Noticed>>, begun: u64) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let at_s = (clock::now() - begun) as f64 / clock::SECOND as f64;
        // Between two looks a proxy may be too busy to answer; the next one tells.
        if let Ok(look) = proxies.look().await {
            noticed.borrow_mut().note(look, at_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(overflow: Option<u64>, ejected: u64, ejections: u64) -> Look {
        let counts = Counts {
            overflow,
            retries: None,
            ejected: Some(ejected),
            ejections: Some(ejections),
        };
        Look::from([(("http://a/".to_owned(), "web".to_owned()), counts)])
    }

    #[test]
    fn only_what_was_counted_meanwhile_counts() {
        let overflow = |before: &Look, after: &Look| between(before, after).map(|sums| sums.overflow);
        assert_eq!(overflow(&look(Some(5), 0, 0), &look(Some(7), 0, 0)).unwrap(), 2);
        // weft lists a cluster once it has been used, and counts overflows only then.
        assert_eq!(overflow(&look(None, 0, 0), &look(Some(7), 0, 0)).unwrap(), 7);
        assert_eq!(overflow(&Look::new(), &look(Some(7), 0, 0)).unwrap(), 7);
        let less = overflow(&look(Some(7), 0, 0), &look(Some(1), 0, 0)).unwrap_err();
        assert!(less.to_string().contains("started again"), "{less}");
        assert!(matches!(
            overflow(&Look::new(), &look(None, 0, 0)),
            Err(LookError::NoCount { .. })
        ));
    }

    #[test]
    fn what_was_out_before_is_no_event_and_a_short_ejection_is_one() {
        let mut noticed = Noticed::new(look(None, 1, 1));
        noticed.note(look(None, 1, 1), 0.25);
        assert_eq!(noticed.ejections, []);
        noticed.note(look(None, 2, 2), 0.5);
        noticed.note(look(None, 0, 2), 0.75);
        // Out and back between two looks.
        noticed.note(look(None, 0, 3), 1.0);
        let events = noticed.ejections.iter();
        let events: Vec<_> = events.map(|event| (event.at_s, event.ejected, event.more)).collect();
        assert_eq!(events, [(0.5, 2, 1), (0.75, 0, 0), (1.0, 0, 1)]);
    }

    #[test]
    fn a_cluster_that_is_not_there_is_named_with_those_that_are() {
        let proxies = Proxies {
            metrics: Vec::new(),
            cluster: "shop".to_owned(),
        };
        let names: Vec<String> = (0..NAMED_MAX + 3).map(|number| format!("c{number}")).collect();
        let error = proxies.nothing("http://a/", names.iter().map(String::as_str).collect());
        let line = error.to_string();
        assert!(
            line.contains("contains \"shop\"; there are c0, c1") && line.ends_with("and 3 more"),
            "{line}"
        );
        let other = proxies.nothing("http://a/", vec!["shop.web"]);
        assert!(matches!(other, LookError::NoCount { .. }));
    }
}
