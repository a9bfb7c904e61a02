use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, EndpointError, EndpointSet, Health, Locality, Workload};

/// Addresses that are taken of the answer for one name.
pub const ADDRESSES_PER_NAME_MAX: usize = 256;
/// No answer is asked for again sooner, whatever it says of itself (Envoy: the floor of refreshes by TTL).
const REFRESH_MIN: Duration = Duration::from_secs(5);

/// Names that the proxy resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The names.
    pub names: Box<[Name]>,
    /// Only the first record of an answer is used.
    pub first_record: bool,
    /// Which records are asked for.
    pub family: Family,
    /// When they are asked for again.
    pub refresh: Refresh,
    /// As that of [`EndpointSet`].
    pub overprovisioning_percent: u32,
}

/// A name and what is known of whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name, or an address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// Share of each of its addresses.
    pub weight: u32,
    /// What the control plane knows about its health.
    pub health: Health,
    /// Failover tier.
    pub priority: u32,
    /// Where it runs.
    pub locality: Arc<Locality>,
    /// Whose it is.
    pub workload: Option<Arc<Workload>>,
    /// What its endpoints are called where that is another name.
    pub hostname: Option<Arc<str>>,
}

/// Which addresses of a name are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv6, and IPv4 where there is none.
    Ipv6Preferred,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// IPv4, and IPv6 where there is none.
    Ipv4Preferred,
    /// Both.
    Both,
}

/// When a name is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Refresh {
    /// After an answer that does not say, or is not asked, how long it holds.
    pub rate: Duration,
    /// Answers are held for as long as they say.
    pub by_ttl: bool,
    /// Each wait is longer by a random part of this.
    pub jitter: Duration,
    /// After a failure: the first wait, doubled with each further one, and the longest.
    pub failure: (Duration, Duration),
}

/// What became of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// There are addresses, which hold for so long.
    Found(Vec<IpAddr>, Duration),
    /// The name has none (Envoy: an authoritative answer without records is one, and takes the endpoints away).
    Nothing,
    /// Nobody could say: what was known stays.
    Failed,
}

impl Refresh {
    /// The wait before the next look-up; `failures` in a row, this one included.
    pub fn after(&self, looked: &Looked, failures: u32, rng: u64) -> Duration {
        let wait = match looked {
            Looked::Found(_, ttl) if self.by_ttl && !ttl.is_zero() => (*ttl).max(REFRESH_MIN),
            Looked::Found(..) | Looked::Nothing => self.rate,
            Looked::Failed => {
                let (base, max) = self.failure;
                base.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max)
            }
        };
        // In nanoseconds: a jitter of 18 s and more would overflow the product otherwise.
        let part = (u128::from(rng) * self.jitter.as_nanos()) >> 64;
        wait + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

impl Names {
    /// The endpoints that answers make, name by name.
    ///
    /// # Errors
    /// For sets beyond their limits.
    pub fn endpoints<'a>(&self, answers: impl IntoIterator<Item = &'a [IpAddr]>) -> Result<EndpointSet, EndpointError> {
        let used = match self.first_record {
            true => 1,
            false => ADDRESSES_PER_NAME_MAX,
        };
        let mut endpoints = Vec::new();
        for (name, addresses) in self.names.iter().zip(answers) {
            endpoints.extend(addresses.iter().take(used).map(|ip| Endpoint {
                address: SocketAddr::new(*ip, name.port),
                weight: name.weight,
                health: name.health,
                priority: name.priority,
                locality: name.locality.clone(),
                workload: name.workload.clone(),
                hostname: Some(name.hostname.clone().unwrap_or_else(|| name.host.as_ref().into())),
            }));
        }
        EndpointSet::new(endpoints, self.overprovisioning_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_holds_as_long_as_it_says_and_a_failure_waits_longer_and_longer() {
        let by_ttl = Refresh {
            rate: 60 * SECOND,
            by_ttl: true,
            jitter: Duration::ZERO,
            failure: (2 * SECOND, 10 * SECOND),
        };
        let found = |ttl| Looked::Found(vec![IpAddr::from([10, 0, 0, 1])], ttl * SECOND);
        for (refresh, looked, failures, seconds) in [
            (by_ttl, found(30), 0, 30),
            (by_ttl, found(1), 0, 5),
            (by_ttl, found(0), 0, 60),
            (
                Refresh {
                    by_ttl: false,
                    ..by_ttl
                },
                found(30),
                0,
                60,
            ),
            (by_ttl, Looked::Nothing, 0, 60),
            (by_ttl, Looked::Failed, 1, 2),
            (by_ttl, Looked::Failed, 2, 4),
            (by_ttl, Looked::Failed, 40, 10),
        ] {
            let wait = refresh.after(&looked, failures, u64::MAX);
            assert_eq!(wait, seconds * SECOND, "{looked:?} {failures}");
        }
        let jitter = 100 * Duration::from_millis(1);
        let spread = Refresh { jitter, ..by_ttl };
        assert_eq!(spread.after(&found(30), 0, 0), 30 * SECOND);
        let latest = spread.after(&found(30), 0, u64::MAX);
        assert!(latest > 30 * SECOND && latest <= 30 * SECOND + jitter, "{latest:?}");
    }

    #[test]
    fn all_records_are_endpoints_or_only_the_first_of_each_name() {
        let name = |host: &str, weight| Name {
            host: host.into(),
            port: 80,
            weight,
            health: Health::Healthy,
            priority: 0,
            locality: Arc::default(),
            workload: None,
            hostname: None,
        };
        let strict = Names {
            names: [name("a.test", 1), name("b.test", 3)].into(),
            first_record: false,
            family: Family::Ipv4,
            refresh: Refresh {
                rate: SECOND,
                by_ttl: true,
                jitter: Duration::ZERO,
                failure: (SECOND, SECOND),
            },
            overprovisioning_percent: 140,
        };
        let a: Vec<IpAddr> = (1..=300_u32)
            .map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()))
            .collect();
        let b = [IpAddr::from([10, 9, 0, 1])];
        let made = strict.endpoints([a.as_slice(), b.as_slice()]).unwrap();
        assert_eq!(made.endpoints().len(), ADDRESSES_PER_NAME_MAX + 1);
        assert_eq!(
            made.endpoints().last().map(|one| (one.weight, one.hostname.as_deref())),
            Some((3, Some("b.test")))
        );
        let logical = Names {
            first_record: true,
            ..strict
        };
        let made = logical.endpoints([a.as_slice(), &[]]).unwrap();
        assert_eq!(made.endpoints().len(), 1);
        assert_eq!(made.endpoints()[0].address, "10.0.0.1:80".parse().unwrap());
    }
}
