use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::golden::golden_step;

/// Endpoints of one cluster: more than any service has, few enough that a pick by index stays cheap in memory.
pub const ENDPOINTS_MAX: usize = 100_000;

/// Priorities of one cluster; Envoy has the same bound.
pub const PRIORITIES_MAX: u32 = 128;

/// Envoy's default: a priority carries up to 1.4 times the share of its healthy endpoints.
pub const OVERPROVISIONING_PERCENT: u32 = 140;

/// One address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share; at least 1.
    pub weight: u32,
    /// What the control plane knows about its health.
    pub health: Health,
    /// Failover tier; 0 is the first.
    pub priority: u32,
    /// Where it runs.
    pub locality: Arc<Locality>,
    /// Whose it is.
    pub workload: Option<Arc<Workload>>,
    /// Name of the host, where it is known by one.
    pub hostname: Option<Arc<str>>,
}

/// Health as the control plane states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Gets traffic.
    Healthy,
    /// Counts as an endpoint, gets no traffic.
    Unhealthy,
    /// Gets no new traffic, is about to go.
    Draining,
}

/// Where something runs. Empty parts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Region.
    pub region: Box<str>,
    /// Zone.
    pub zone: Box<str>,
    /// Part of the zone.
    pub sub_zone: Box<str>,
}

/// Whose an endpoint is, for metrics and for the identity of its health record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Name of the workload.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its canonical service.
    pub canonical_name: Box<str>,
    /// Its canonical revision.
    pub canonical_revision: Box<str>,
    /// Its Kubernetes cluster.
    pub cluster: Box<str>,
}

/// Endpoints of a cluster, checked and in order of priority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSet {
    endpoints: Box<[Endpoint]>,
    priorities: Box<[PriorityRange]>,
    /// Sum of the weights up to and including each endpoint; empty when all weights are the same.
    sums: Box<[u64]>,
    overprovisioning_percent: u32,
}

/// The endpoints of one priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorityRange {
    /// The priority.
    pub priority: u32,
    /// Their places in the set.
    pub places: Range<usize>,
    /// How many of them the control plane calls healthy.
    pub healthy: usize,
    /// In turn, the weights are walked in steps of this size, coprime to their sum.
    step: u64,
}

/// Endpoints that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Too many.
    #[error("more than {ENDPOINTS_MAX} endpoints")]
    TooMany,
    /// A priority beyond the bound.
    #[error("priority {0} is above {PRIORITIES_MAX}")]
    Priority(u32),
    /// A weight of 0.
    #[error("endpoint {0} has weight 0")]
    Weight(SocketAddr),
    /// The weights do not fit.
    #[error("the weights of the endpoints add up to more than {}", u32::MAX)]
    WeightSum,
}

impl EndpointSet {
    /// Checks endpoints. The same address of the same workload twice is one endpoint with summed weight.
    ///
    /// # Errors
    /// For sets beyond their limits.
    pub fn new(endpoints: Vec<Endpoint>, overprovisioning_percent: u32) -> Result<Self, EndpointError> {
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(EndpointError::TooMany);
        }
        let mut merged: Vec<Endpoint> = Vec::with_capacity(endpoints.len());
        let mut places = FxHashMap::default();
        for endpoint in endpoints {
            if endpoint.weight == 0 {
                return Err(EndpointError::Weight(endpoint.address));
            }
            if endpoint.priority > PRIORITIES_MAX {
                return Err(EndpointError::Priority(endpoint.priority));
            }
            match places.get(&endpoint.address) {
                Some(place) => {
                    let first: &mut Endpoint = &mut merged[*place];
                    first.weight = first
                        .weight
                        .checked_add(endpoint.weight)
                        .ok_or(EndpointError::WeightSum)?;
                }
                None => {
                    places.insert(endpoint.address, merged.len());
                    merged.push(endpoint);
                }
            }
        }
        merged
            .iter()
            .try_fold(0_u32, |sum, one| sum.checked_add(one.weight))
            .ok_or(EndpointError::WeightSum)?;
        merged.sort_by_key(|endpoint| endpoint.priority);
        let uniform = merged.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let mut sum = 0;
        let running = merged.iter().map(|endpoint| {
            sum += u64::from(endpoint.weight);
            sum
        });
        Ok(Self {
            sums: if uniform { Box::default() } else { running.collect() },
            priorities: ranges(&merged),
            endpoints: merged.into(),
            overprovisioning_percent,
        })
    }

    /// All endpoints, by priority.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Priorities that have endpoints, the first first.
    pub fn priorities(&self) -> &[PriorityRange] {
        &self.priorities
    }

    /// How much more than its share of healthy endpoints a priority may carry, in percent.
    pub fn overprovisioning_percent(&self) -> u32 {
        self.overprovisioning_percent
    }

    /// Whether all weights are the same.
    pub fn is_uniform(&self) -> bool {
        self.sums.is_empty()
    }

    /// The endpoint of a range, not empty, on which a random number falls.
    pub(crate) fn draw(&self, places: &Range<usize>, rng: u64) -> usize {
        let scaled = |bound: u64| u64::try_from((u128::from(rng) * u128::from(bound)) >> 64).unwrap_or_default();
        if self.is_uniform() {
            return places.start + usize::try_from(scaled(places.len() as u64)).unwrap_or_default();
        }
        let (below, total) = self.weights(places);
        self.owner(places, below + scaled(total))
    }

    /// The endpoint of a range, not empty, whose turn it is.
    pub(crate) fn turn(&self, places: &Range<usize>, turn: u64) -> usize {
        if self.is_uniform() {
            return places.start + usize::try_from(turn % places.len() as u64).unwrap_or_default();
        }
        let (below, total) = self.weights(places);
        let step = self
            .priorities
            .iter()
            .find(|range| range.places == *places)
            .map_or(1, |range| range.step);
        let point = u128::from(turn % total) * u128::from(step) % u128::from(total);
        self.owner(places, below + u64::try_from(point).unwrap_or_default())
    }

    /// The weight before a range and inside it.
    fn weights(&self, places: &Range<usize>) -> (u64, u64) {
        let below = places.start.checked_sub(1).map_or(0, |before| self.sums[before]);
        (below, self.sums[places.end - 1] - below)
    }

    fn owner(&self, places: &Range<usize>, point: u64) -> usize {
        places.start + self.sums[places.clone()].partition_point(|sum| *sum <= point)
    }
}

fn ranges(endpoints: &[Endpoint]) -> Box<[PriorityRange]> {
    let mut ranges: Vec<PriorityRange> = Vec::new();
    for (place, endpoint) in endpoints.iter().enumerate() {
        let healthy = usize::from(endpoint.health == Health::Healthy);
        match ranges.last_mut() {
            Some(last) if last.priority == endpoint.priority => {
                last.places.end = place + 1;
                last.healthy += healthy;
            }
            _ => ranges.push(PriorityRange {
                priority: endpoint.priority,
                places: place..place + 1,
                healthy,
                step: 1,
            }),
        }
    }
    for range in &mut ranges {
        let total = endpoints[range.places.clone()]
            .iter()
            .map(|endpoint| u64::from(endpoint.weight))
            .sum();
        range.step = golden_step(total, total);
    }
    ranges.into()
}
