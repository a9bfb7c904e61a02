//! How load balancers are read and checked.

use std::collections::BTreeMap;

use super::{
    ConsistentHash, CookieAttribute, HashAlgorithm, HashCookie, HashKey, LbPolicy, LoadBalancer, LocalityDistribute,
    LocalityFailover, LocalityLb, Warmup, ZoneAwareLb,
};
use crate::codes;
use crate::decode::{Field, Fields, Span};
use crate::percent::Finite;

/// Size that Maglev tables must stay below (Envoy).
const MAGLEV_TABLE_SIZE_MAX: u64 = 5_000_011;
/// Points of a hash ring (Envoy's limit).
const RING_SIZE_MAX: u64 = 8 * 1024 * 1024;

/// The words of `simple`, which may be spelt in two ways.
#[derive(Clone, Copy, PartialEq)]
enum Simple {
    Unspecified,
    LeastConn,
    LeastRequest,
    RoundRobin,
    Random,
    Passthrough,
}

impl LoadBalancer {
    /// `ejects`: outlier detection stands beside, without which failover never happens.
    pub(super) fn read(field: &Field<'_>, ejects: bool) -> Option<Self> {
        let mut fields = field.fields()?;
        let simple = fields.field("simple");
        let hash = fields.field("consistentHash");
        if simple.is_some() && hash.is_some() {
            field.error("has both `simple` and `consistentHash`", "keep one of them");
        }
        if let Some(utilization) = fields.old("backendUtilization") {
            utilization.warn(codes::NO_EFFECT, "is not implemented", "use `simple`");
        }
        let policy = match (simple, hash) {
            (_, Some(hash)) => read_hash(&hash).map_or(LbPolicy::Unspecified, LbPolicy::ConsistentHash),
            (Some(simple), None) => read_simple(&simple),
            (None, None) => LbPolicy::Unspecified,
        };
        let locality = fields.field("localityLbSetting");
        let zone = fields.field("zoneAwareLbSetting");
        if locality.is_some() && zone.is_some() {
            field.error(
                "has both `localityLbSetting` and `zoneAwareLbSetting`",
                "keep one of them",
            );
        }
        let balancer = Self {
            locality_lb_setting: locality.and_then(|f| LocalityLb::read(&f, ejects)),
            zone_aware_lb_setting: zone.and_then(|f| ZoneAwareLb::read(&f)),
            warmup: read_warmup(&mut fields, &policy),
            policy,
        };
        fields.finish();
        Some(balancer)
    }
}

fn read_simple(field: &Field<'_>) -> LbPolicy {
    let words = [
        ("UNSPECIFIED", Simple::Unspecified),
        ("LEAST_CONN", Simple::LeastConn),
        ("LEAST_REQUEST", Simple::LeastRequest),
        ("ROUND_ROBIN", Simple::RoundRobin),
        ("RANDOM", Simple::Random),
        ("PASSTHROUGH", Simple::Passthrough),
    ];
    match field.word(&words).unwrap_or(Simple::Unspecified) {
        Simple::Unspecified => LbPolicy::Unspecified,
        Simple::LeastConn => {
            field.info(codes::OLD_FIELD, "is an old name", "write `LEAST_REQUEST`");
            LbPolicy::LeastRequest
        }
        Simple::LeastRequest => LbPolicy::LeastRequest,
        Simple::RoundRobin => LbPolicy::RoundRobin,
        Simple::Random => LbPolicy::Random,
        Simple::Passthrough => LbPolicy::Passthrough,
    }
}

fn read_warmup(fields: &mut Fields<'_>, policy: &LbPolicy) -> Option<Warmup> {
    let old = fields.old("warmupDurationSecs");
    let new = fields.field("warmup");
    let given = new.as_ref().or(old.as_ref())?.clone();
    if matches!(
        policy,
        LbPolicy::Random | LbPolicy::Passthrough | LbPolicy::ConsistentHash(_)
    ) {
        given.warn(
            codes::NO_EFFECT,
            "has no effect with this algorithm",
            "use ROUND_ROBIN or LEAST_REQUEST",
        );
    }
    if let Some(old) = &old {
        old.info(codes::OLD_FIELD, "is an old name", "write `warmup.duration`");
    }
    let Some(new) = new else {
        let duration = old?.duration(Span::Positive)?;
        return Some(Warmup {
            duration,
            minimum_percent: None,
            aggression: None,
        });
    };
    let mut fields = new.fields()?;
    let duration = fields.required("duration", "give the time until a new endpoint has its full share");
    let duration = duration.and_then(|f| f.duration(Span::Positive));
    let minimum_percent = fields.percent("minimumPercent");
    let aggression = fields.field("aggression").and_then(|f| {
        let number = f.number()?;
        if number <= 0.0 {
            f.error(format!("is {number}"), "must be above 0");
        }
        Finite::new(number)
    });
    fields.finish();
    Some(Warmup {
        duration: duration?,
        minimum_percent,
        aggression,
    })
}

fn read_hash(field: &Field<'_>) -> Option<ConsistentHash> {
    let mut fields = field.fields()?;
    let mut keys = Vec::new();
    keys.extend(fields.filled("httpHeaderName").map(HashKey::Header));
    keys.extend(
        fields
            .field("httpCookie")
            .and_then(|f| HashCookie::read(&f))
            .map(HashKey::Cookie),
    );
    keys.extend(fields.flag("useSourceIp").then_some(HashKey::SourceIp));
    keys.extend(fields.filled("httpQueryParameterName").map(HashKey::QueryParameter));
    let ring = fields.field("ringHash");
    let maglev = fields.field("maglev");
    let old = fields.old("minimumRingSize");
    if ring.is_some() && maglev.is_some() {
        field.error("has both `ringHash` and `maglev`", "keep one of them");
    }
    if let Some(old) = &old {
        old.warn(
            codes::SCHEMA_WARNING,
            "is deprecated",
            "write `ringHash.minimumRingSize`",
        );
        if ring.is_some() || maglev.is_some() {
            old.error("stands beside `ringHash` or `maglev`", "remove it");
        }
    }
    let algorithm = if let Some(maglev) = maglev {
        HashAlgorithm::Maglev {
            table_size: read_table_size(&maglev),
        }
    } else {
        let size = |f: Field<'_>| {
            f.integer(0..=RING_SIZE_MAX as i64)
                .and_then(|n| u64::try_from(n).ok())
                .filter(|n| *n > 0)
        };
        let minimum_ring_size = match ring {
            Some(ring) => ring.fields().and_then(|mut fields| {
                let least = fields.field("minimumRingSize").and_then(size);
                fields.finish();
                least
            }),
            None => old.and_then(size),
        };
        HashAlgorithm::RingHash { minimum_ring_size }
    };
    fields.finish();
    if keys.len() != 1 {
        let fix = "give exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName";
        field.error(
            if keys.is_empty() {
                "names no key"
            } else {
                "names several keys"
            },
            fix,
        );
    }
    Some(ConsistentHash {
        key: keys.into_iter().next()?,
        algorithm,
    })
}

fn read_table_size(field: &Field<'_>) -> Option<u64> {
    let mut fields = field.fields()?;
    let size = fields.required("tableSize", "give a prime, such as 65537");
    fields.finish();
    let size = size?;
    let number = u64::try_from(size.integer(1..=MAGLEV_TABLE_SIZE_MAX as i64 - 1)?).ok()?;
    if !is_prime(number) {
        size.error(format!("is {number}"), "must be a prime, such as 65537");
    }
    Some(number)
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d))
}

impl HashCookie {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let name = fields.required("name", "name the cookie").and_then(|f| {
            let name = f.text()?;
            if name.is_empty() {
                f.error("is empty", "name the cookie");
            }
            Some(name.to_owned())
        });
        let mut names = Vec::new();
        let items = fields.items("attributes");
        let attributes = items.iter().filter_map(|f| {
            let mut fields = f.fields()?;
            let name = fields.string("name").unwrap_or_default();
            let value = fields.string("value").unwrap_or_default();
            fields.finish();
            if name.is_empty() || names.contains(&name) {
                f.error("has no name of its own", "give each attribute a name, once");
            }
            names.push(name.clone());
            Some(CookieAttribute { name, value })
        });
        let attributes = attributes.collect();
        let cookie = Self {
            name: name.unwrap_or_default(),
            path: fields.filled("path"),
            ttl: fields.duration("ttl", Span::ZeroOrPositive),
            attributes,
        };
        fields.finish();
        Some(cookie)
    }
}

impl LocalityLb {
    pub(crate) fn read(field: &Field<'_>, ejects: bool) -> Option<Self> {
        let mut fields = field.fields()?;
        let setting = Self {
            distribute: fields.list("distribute", LocalityDistribute::read),
            failover: fields.list("failover", LocalityFailover::read),
            failover_priority: fields.strings("failoverPriority"),
            enabled: fields.bool("enabled"),
        };
        fields.finish();
        let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
        if !setting.distribute.is_empty() && fails_over {
            field.error("has both `distribute` and a failover", "keep one of them");
        }
        if fails_over && !ejects {
            field.warn(
                codes::SCHEMA_WARNING,
                "has a failover without outlierDetection, so it never happens",
                "add `outlierDetection`",
            );
        }
        check_topology(field, &setting.failover_priority, !setting.failover.is_empty());
        for (i, one) in setting.distribute.iter().enumerate() {
            if setting.distribute[..i]
                .iter()
                .any(|other| locality_covers(&one.from, &other.from) || locality_covers(&other.from, &one.from))
            {
                field.error(format!("has two entries for `{}`", one.from), "make them disjoint");
            }
        }
        Some(setting)
    }
}

fn check_topology(field: &Field<'_>, priority: &[String], refused: bool) {
    let topology = [crate::labels::REGION, crate::labels::ZONE, crate::labels::SUBZONE];
    if refused && priority.iter().any(|label| topology.contains(&label.as_str())) {
        field.error(
            "ranks by region, zone or subzone beside a failover by region",
            "remove those labels from failoverPriority",
        );
    }
}

impl LocalityDistribute {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let from = fields.required("from", "give a locality").and_then(|f| {
            let text = f.text()?;
            check_locality(&f, text);
            Some(text.to_owned())
        });
        let mut to = BTreeMap::new();
        if let Some(shares) = fields.required("to", "give shares by locality") {
            for (locality, share) in shares.entries() {
                check_locality(&share, locality);
                if to
                    .keys()
                    .any(|other: &String| locality_covers(other, locality) || locality_covers(locality, other))
                {
                    share.error(
                        format!("`{locality}` overlaps with another entry"),
                        "make them disjoint",
                    );
                }
                to.extend(share.u32(1..=100).map(|n| (locality.to_owned(), n)));
            }
            let sum: u32 = to.values().sum();
            if sum != 100 {
                shares.error(format!("has shares that add up to {sum}"), "must add up to 100");
            }
        }
        fields.finish();
        Some(Self {
            from: from.unwrap_or_default(),
            to,
        })
    }
}

/// `region[/zone[/subzone]]`, with `*` only at the end.
fn check_locality(field: &Field<'_>, text: &str) {
    let parts: Vec<&str> = text.split('/').collect();
    let star = parts.iter().position(|p| p.contains('*'));
    let star_is_last = star.is_none_or(|at| at + 1 == parts.len() && parts[at] == "*");
    if parts.len() > 3 || parts.iter().any(|p| p.is_empty()) || !star_is_last {
        field.error(
            format!("`{text}` is no locality"),
            "write `region/zone/subzone`, with `*` only at the end",
        );
    }
}

fn locality_covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('/');
    wide.split('/').all(|part| part == "*" || narrow.next() == Some(part))
}

impl LocalityFailover {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let mut region = |name| {
            fields.required(name, "name a region").and_then(|f| {
                let text = f.text()?;
                if text.contains(['/', '*']) {
                    f.error(format!("is `{text}`"), "must be a region only");
                }
                Some(text.to_owned())
            })
        };
        let (from, to) = (region("from"), region("to"));
        fields.finish();
        if from.is_some() && from == to {
            field.error("fails over to the same region", "name another region");
        }
        Some(Self { from: from?, to: to? })
    }
}

impl ZoneAwareLb {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let zone = Self {
            enabled: fields.bool("enabled"),
            failover: fields.list("failover", LocalityFailover::read),
            failover_priority: fields.strings("failoverPriority"),
            min_cluster_size: fields.u64("minClusterSize"),
        };
        fields.finish();
        check_topology(field, &zone.failover_priority, true);
        field.warn(
            codes::NO_EFFECT,
            "is treated as plain locality failover",
            "use `localityLbSetting`",
        );
        Some(zone)
    }
}
