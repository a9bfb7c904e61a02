use std::hash::Hasher;
use std::ops::Range;

use rustc_hash::FxHasher;
use twox_hash::XxHash64;

use super::eligible::{NoEndpoint, Tier, tier};
use super::pick::Load;
use crate::cluster::{Cluster, EndpointSet, HashTable};

/// Among whom a key chooses at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashChoice {
    tier: Tier,
    table: HashTable,
    key: u64,
}

impl HashChoice {
    /// Priorities and panic are as for every balancer, but the key itself decides between priorities (Envoy:
    /// `ThreadAwareLoadBalancerBase`). `None` where the cluster does not hash.
    ///
    /// # Errors
    /// When there is no endpoint, or none that is healthy and health counts.
    pub fn new(cluster: &Cluster, set: &EndpointSet, load: &impl Load, hash: u64) -> Option<Result<Self, NoEndpoint>> {
        let crate::cluster::Balance::Hash(table) = &cluster.balance else {
            return None;
        };
        let mut below = |bound: usize| usize::try_from(hash % bound as u64).unwrap_or_default();
        let tier = match tier(set, cluster.panic_threshold_percent, load, &mut below) {
            Ok(tier) => tier,
            Err(none) => return Some(Err(none)),
        };
        let key = key(&tier, table, set, load);
        Some(Ok(Self {
            tier,
            table: table.clone(),
            key,
        }))
    }

    /// Tells apart tables over the same set of endpoints: equal numbers, equal tables.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The table. Costs in proportion to its size, so that it is kept as long as it holds. Whoever is out is not in it (Envoy
    /// builds it over healthy hosts), so that the others share what it had.
    pub fn build(&self, set: &EndpointSet, load: &impl Load) -> HashedTable {
        let members = self
            .tier
            .places
            .clone()
            .filter(|place| self.tier.allows(set, load, *place));
        let members: Vec<Member> = members.map(|place| Member::of(set, place)).collect();
        match self.table {
            HashTable::Ring { size_min, size_max } => ring(&members, size_min, size_max),
            HashTable::Maglev { size } => maglev(members, size),
        }
    }
}

fn key(tier: &Tier, table: &HashTable, set: &EndpointSet, load: &impl Load) -> u64 {
    let mut hasher = FxHasher::default();
    let Range { start, end } = tier.places;
    let (kind, least, most) = match table {
        HashTable::Ring { size_min, size_max } => (0, *size_min, *size_max),
        HashTable::Maglev { size } => (1, *size, 0),
    };
    for number in [start as u64, end as u64, u64::from(tier.panic), kind, least, most] {
        hasher.write_u64(number);
    }
    // Health in the set is part of the set.
    if !tier.panic && load.ejected() > 0 {
        let out = tier.places.clone().filter(|place| !tier.allows(set, load, *place));
        out.for_each(|place| hasher.write_usize(place));
    }
    hasher.finish()
}

/// Whom the keys belong to.
#[derive(Debug)]
pub struct HashedTable(Slots);

#[derive(Debug)]
enum Slots {
    /// In order of their hashes.
    Ring(Box<[(u64, u32)]>),
    Maglev(Box<[u32]>),
}

impl HashedTable {
    /// The place of a key's endpoint. `attempt` counts the picks for one try: each leads elsewhere.
    pub fn pick(&self, hash: u64, attempt: u32) -> Option<usize> {
        let place = match &self.0 {
            Slots::Ring(ring) => {
                let at = ring.partition_point(|(point, _)| *point < hash);
                // Beyond the last point the ring begins again.
                let at = if at == ring.len() { 0 } else { at };
                let step = usize::try_from(attempt).unwrap_or_default();
                ring.get((at + step) % ring.len().max(1))?.1
            }
            Slots::Maglev(table) => {
                let size = u64::try_from(table.len()).unwrap_or(u64::MAX);
                // Envoy: for another pick, most bits of the key change.
                let hash = match attempt {
                    0 => hash,
                    more => hash ^ (u64::MAX - u64::from(more) + 1),
                };
                let at = hash.checked_rem(size)?;
                *table.get(usize::try_from(at).ok()?)?
            }
        };
        usize::try_from(place).ok()
    }
}

/// An endpoint in a table.
struct Member {
    place: u32,
    /// `address:port`.
    name: String,
    weight: u32,
}

impl Member {
    fn of(set: &EndpointSet, place: usize) -> Self {
        let endpoint = &set.endpoints()[place];
        Self {
            place: u32::try_from(place).unwrap_or(u32::MAX),
            name: endpoint.address.to_string(),
            weight: endpoint.weight,
        }
    }
}

/// Shares of the whole, and the least or largest of them.
fn shares(members: &[Member]) -> impl Iterator<Item = f64> {
    let sum: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    members.iter().map(move |member| f64::from(member.weight) / sum as f64)
}

/// Ketama's ring (Envoy: `RingHashLoadBalancer::Ring`): the least weight gets a whole number of points, the others in proportion,
/// by running sums, so that rounding does not add up.
fn ring(members: &[Member], size_min: u64, size_max: u64) -> HashedTable {
    let least = shares(members).fold(1.0, f64::min);
    let scale = ((least * size_min as f64).ceil() / least).min(size_max as f64);
    let mut points = Vec::with_capacity(scale.ceil() as usize);
    let mut name = String::new();
    let mut target = 0.0;
    for (member, share) in members.iter().zip(shares(members)) {
        target += scale * share;
        let mut number = 0_u64;
        while (points.len() as f64) < target {
            name.clear();
            name.push_str(&member.name);
            name.push('_');
            name.push_str(&number.to_string());
            points.push((XxHash64::oneshot(0, name.as_bytes()), member.place));
            number += 1;
        }
    }
    points.sort_unstable();
    HashedTable(Slots::Ring(points.into()))
}

/// Maglev's table (Envoy: `MaglevTable`): in turn, each member takes the next free slot of its own order of slots, and a lighter
/// one misses turns.
fn maglev(mut members: Vec<Member>, size: u64) -> HashedTable {
    // The order of turns matters, and must not depend on the order of arrival.
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let largest = shares(&members).fold(0.0, f64::max);
    let mut turns: Vec<Turn> = members
        .iter()
        .zip(shares(&members))
        .map(|(member, share)| Turn {
            place: member.place,
            offset: XxHash64::oneshot(0, member.name.as_bytes()) % size,
            skip: XxHash64::oneshot(1, member.name.as_bytes()) % (size - 1) + 1,
            next: 0,
            share,
            due: 0.0,
        })
        .collect();
    const FREE: u32 = u32::MAX;
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let mut table = vec![FREE; if turns.is_empty() { 0 } else { length }];
    let mut left = table.len();
    let mut round = 1.0;
    while left > 0 {
        for turn in &mut turns {
            if left == 0 || round * turn.share < turn.due {
                continue;
            }
            turn.due += largest;
            let slot = loop {
                let slot = usize::try_from((turn.offset + turn.skip * turn.next) % size).unwrap_or_default();
                turn.next += 1;
                if table[slot] == FREE {
                    break slot;
                }
            };
            table[slot] = turn.place;
            left -= 1;
        }
        round += 1.0;
    }
    HashedTable(Slots::Maglev(table.into()))
}

struct Turn {
    place: u32,
    offset: u64,
    skip: u64,
    /// How far it has come in its order of slots.
    next: u64,
    share: f64,
    /// It misses turns until its shares add up to this.
    due: f64,
}
