//! What the rule files say, read by the decoder that the control plane uses: every expectation of the play comes from here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weft_policies::kind::destination_rule::{DestinationRule, TrafficPolicy};
use weft_policies::kind::string_match::StringMatch;
use weft_policies::kind::virtual_service::{HttpAction, HttpMatch, HttpRoute};
use weft_policies::yaml::parse;
use weft_policies::{AnyObject, read_all};

/// The header by which the page says who is signed in.
const USER: &str = "end-user";
/// The label of a pod that tells versions apart.
const VERSION: &str = "version";

/// Shares by version, in percent; they sum up to 100.
pub(super) type Shares = BTreeMap<String, f64>;

/// Limits of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Breaker {
    pub(super) connections: u32,
    pub(super) pending: u32,
}

/// When an endpoint is left out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outliers {
    pub(super) errors: u32,
    pub(super) interval: Duration,
    pub(super) base: Duration,
}

/// All objects of a file.
///
/// # Errors
/// If one of them would be refused.
pub(super) fn objects(file: &str, text: &str) -> Result<Vec<AnyObject>> {
    let (documents, mut findings) = parse(file, text);
    let (objects, more) = read_all(&documents);
    findings.extend(more);
    match findings.iter().find(|finding| finding.is_error()) {
        Some(error) => bail!("{error}"),
        None => Ok(objects),
    }
}

/// Which versions of `service` a user meets, and how often, by the first rule that takes the user's requests.
pub(super) fn shares(objects: &[AnyObject], service: &str, user: Option<&str>) -> Result<Shares> {
    let rules = objects.iter().find_map(|object| match object {
        AnyObject::VirtualService(found) if found.spec.hosts.iter().any(|host| host == service) => Some(found),
        _ => None,
    });
    let rules = rules.with_context(|| format!("there is no VirtualService of {service}"))?;
    for rule in &rules.spec.http {
        if takes(rule, user)? {
            return weights(rule, objects, service);
        }
    }
    bail!(
        "no rule of {service} takes the requests of {}",
        user.unwrap_or("nobody in particular")
    )
}

fn takes(rule: &HttpRoute, user: Option<&str>) -> Result<bool> {
    let mut takes = rule.matches.is_empty();
    for condition in &rule.matches {
        takes |= holds(condition, user)?;
    }
    Ok(takes)
}

fn holds(condition: &HttpMatch, user: Option<&str>) -> Result<bool> {
    let only_the_user = HttpMatch {
        headers: condition
            .headers
            .iter()
            .filter(|(name, _)| *name == USER)
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect(),
        name: condition.name.clone(),
        ..HttpMatch::default()
    };
    if *condition != only_the_user {
        bail!("the demo only knows what to expect of conditions on the header `{USER}`");
    }
    Ok(condition.headers.values().all(|wanted| match (wanted, user) {
        (_, None) => false,
        (StringMatch::Exact(name), Some(user)) => name == user,
        (StringMatch::Prefix(start), Some(user)) => user.starts_with(start.as_str()),
        (StringMatch::Present, Some(_)) => true,
        // Regular expressions belong to the proxy.
        (StringMatch::Regex(_), Some(_)) => false,
    }))
}

fn weights(rule: &HttpRoute, objects: &[AnyObject], service: &str) -> Result<Shares> {
    let HttpAction::Route(destinations) = &rule.action else {
        bail!("a rule of {service} does not forward");
    };
    let alone = destinations.len() == 1;
    let weight = |weight: u32| if alone { 1.0 } else { f64::from(weight) };
    let total: f64 = destinations.iter().map(|to| weight(to.weight)).sum();
    let mut shares = Shares::new();
    for to in destinations.iter().filter(|to| alone || to.weight > 0) {
        if to.destination.host != service {
            bail!("a rule of {service} leads to {}", to.destination.host);
        }
        let subset = to.destination.subset.as_deref();
        let subset = subset.with_context(|| format!("a rule of {service} names no subset"))?;
        *shares.entry(version(objects, service, subset)?).or_default() += 100.0 * weight(to.weight) / total;
    }
    Ok(shares)
}

fn version(objects: &[AnyObject], service: &str, subset: &str) -> Result<String> {
    let rules = destination_rules(objects, service);
    let found = rules.flat_map(|rule| &rule.subsets).find(|known| known.name == subset);
    let label = found.and_then(|known| known.labels.get(VERSION));
    label
        .cloned()
        .with_context(|| format!("no DestinationRule of {service} has a subset {subset} with a version"))
}

fn destination_rules<'a>(objects: &'a [AnyObject], service: &'a str) -> impl Iterator<Item = &'a DestinationRule> {
    objects.iter().filter_map(move |object| match object {
        AnyObject::DestinationRule(rule) if rule.spec.host == service => Some(&rule.spec),
        _ => None,
    })
}

fn policy<'a>(objects: &'a [AnyObject], service: &'a str) -> Result<&'a TrafficPolicy> {
    let found = destination_rules(objects, service).find_map(|rule| rule.traffic_policy.as_ref());
    found.with_context(|| format!("no DestinationRule of {service} has a trafficPolicy"))
}

/// The limits on calls of `service`.
pub(super) fn breaker(objects: &[AnyObject], service: &str) -> Result<Breaker> {
    let pool = policy(objects, service)?.connection_pool.as_ref();
    let limits = pool.and_then(|pool| {
        Some(Breaker {
            connections: pool.tcp.as_ref()?.max_connections?,
            pending: pool.http.as_ref()?.http1_max_pending_requests?,
        })
    });
    limits.with_context(|| format!("{service} has no maxConnections and http1MaxPendingRequests"))
}

/// When endpoints of `service` are left out.
pub(super) fn outliers(objects: &[AnyObject], service: &str) -> Result<Outliers> {
    use weft_policies::defaults;
    let detection = policy(objects, service)?.outlier_detection.as_ref();
    let detection = detection.with_context(|| format!("{service} has no outlierDetection"))?;
    Ok(Outliers {
        errors: detection.consecutive_5xx_errors.unwrap_or(defaults::CONSECUTIVE_5XX),
        interval: detection.interval.unwrap_or(defaults::OUTLIER_INTERVAL),
        base: detection.base_ejection_time.unwrap_or(defaults::BASE_EJECTION_TIME),
    })
}

/// Where the first server of the first Gateway listens.
pub(super) fn way_in(objects: &[AnyObject]) -> Result<SocketAddr> {
    let server = objects.iter().find_map(|object| match object {
        AnyObject::Gateway(gateway) => gateway.spec.servers.first(),
        _ => None,
    });
    let server = server.context("there is no Gateway with a server")?;
    let port = u16::try_from(server.port.number).context("the Gateway's port")?;
    let bound = server.bind.as_deref().and_then(|bind| bind.parse::<IpAddr>().ok());
    let address = bound.filter(|address| !address.is_unspecified());
    Ok(SocketAddr::new(address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port))
}

#[cfg(test)]
mod tests {
    use weft_bookinfo::files::RULES;

    use super::*;

    fn text(name: &str) -> String {
        let (_, text) = RULES.into_iter().find(|(known, _)| *known == name).unwrap();
        text.to_owned()
    }

    fn of(texts: &[String]) -> Vec<AnyObject> {
        objects("rules.yaml", &texts.join("\n---\n")).unwrap()
    }

    fn expected(shares: &[(&str, f64)]) -> Shares {
        shares
            .iter()
            .map(|(version, share)| ((*version).to_owned(), *share))
            .collect()
    }

    #[test]
    fn shares_are_those_of_the_file() {
        let half = text("reviews-50-50.yaml");
        let edited = half
            .replacen("weight: 50", "weight: 80", 1)
            .replacen("weight: 50", "weight: 20", 1);
        let thirds = half
            .replacen("weight: 50", "weight: 2", 1)
            .replacen("weight: 50", "weight: 1", 1);
        for (rules, wanted) in [
            (text("reviews-v1.yaml"), vec![("v1", 100.0)]),
            (half.clone(), vec![("v1", 50.0), ("v3", 50.0)]),
            (edited, vec![("v1", 80.0), ("v3", 20.0)]),
            (thirds, vec![("v1", 200.0 / 3.0), ("v3", 100.0 / 3.0)]),
            (half.replacen("weight: 50", "weight: 0", 1), vec![("v3", 100.0)]),
        ] {
            let objects = of(&[rules.clone(), text("subsets.yaml")]);
            assert_eq!(shares(&objects, "reviews", None).unwrap(), expected(&wanted), "{rules}");
        }
    }

    #[test]
    fn a_user_is_told_apart_by_the_file() {
        let objects = of(&[text("reviews-jason.yaml"), text("subsets.yaml")]);
        for (user, wanted) in [
            (Some("jason"), vec![("v2", 100.0)]),
            (Some("anna"), vec![("v1", 50.0), ("v3", 50.0)]),
            (None, vec![("v1", 50.0), ("v3", 50.0)]),
        ] {
            assert_eq!(
                shares(&objects, "reviews", user).unwrap(),
                expected(&wanted),
                "{user:?}"
            );
        }
        let paths = text("reviews-jason.yaml").replace("- headers:", "- uri: {exact: /}\n          headers:");
        let objects = of(&[paths, text("subsets.yaml")]);
        assert!(
            shares(&objects, "reviews", Some("jason")).is_err(),
            "nothing is guessed"
        );
    }

    #[test]
    fn limits_and_times_are_those_of_the_files() {
        let limits = of(&[text("details-breaker.yaml").replace("maxConnections: 1", "maxConnections: 7")]);
        assert_eq!(
            breaker(&limits, "details").unwrap(),
            Breaker {
                connections: 7,
                pending: 1
            }
        );
        let out = of(&[text("ratings-outliers.yaml").replace("Errors: 3", "Errors: 4")]);
        let (interval, base) = (Duration::from_millis(500), Duration::from_secs(2));
        assert_eq!(
            outliers(&out, "ratings").unwrap(),
            Outliers {
                errors: 4,
                interval,
                base
            }
        );
        let gateway = of(&[text("gateway.yaml").replace("number: 8080", "number: 8443")]);
        assert_eq!(way_in(&gateway).unwrap(), "127.0.0.1:8443".parse().unwrap());
    }

    #[test]
    fn a_file_that_would_be_refused_is_no_expectation() {
        let broken = text("reviews-50-50.yaml").replacen("weight: 50", "wieght: 50", 1);
        assert!(
            objects("reviews-50-50.yaml", &broken)
                .unwrap_err()
                .to_string()
                .contains("reviews-50-50.yaml")
        );
    }
}
