use std::ops::Range;

use super::pick::Load;
use crate::cluster::{EndpointSet, Health, PriorityRange};

/// No endpoint may get the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The set has none.
    #[error("the cluster has no endpoints")]
    Empty,
    /// None is healthy.
    #[error("no endpoint of the cluster is healthy")]
    Unhealthy,
    /// The policy picks none: the client's own destination is used.
    #[error("the cluster uses the address that the client dialled")]
    OriginalDst,
}

/// The endpoints among which one is picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tier {
    pub(super) places: Range<usize>,
    /// Panic: health is ignored.
    pub(super) panic: bool,
}

impl Tier {
    pub(super) fn allows(&self, set: &EndpointSet, load: &impl Load, place: usize) -> bool {
        self.panic || usable(set, load, place)
    }
}

fn usable(set: &EndpointSet, load: &impl Load, place: usize) -> bool {
    set.endpoints()[place].health == Health::Healthy && !load.is_ejected(place)
}

/// Chooses the priority; `below` is a choice of a number below a bound above 0.
///
/// Envoy: a priority's health counts 1.4 times (its overprovisioning factor) and takes that share of what is left by the
/// ones before it. Only if all together cannot carry the whole load does panic count.
pub(super) fn tier(
    set: &EndpointSet,
    panic_threshold_percent: f64,
    load: &impl Load,
    below: &mut impl FnMut(usize) -> usize,
) -> Result<Tier, NoEndpoint> {
    let priorities = set.priorities();
    let first = priorities.first().ok_or(NoEndpoint::Empty)?;
    let calm = |places: &Range<usize>| Tier {
        places: places.clone(),
        panic: false,
    };
    // The usual case needs no counting: nobody is ejected and the first priority is whole.
    if load.ejected() == 0 && first.healthy == first.places.len() {
        return Ok(calm(&first.places));
    }
    let healthy = |range: &PriorityRange| match load.ejected() {
        0 => range.healthy,
        _ => range.places.clone().filter(|place| usable(set, load, *place)).count(),
    };
    let counts: Vec<usize> = priorities.iter().map(healthy).collect();
    let panics = |index: usize| {
        let share = 100.0 * counts[index] as f64 / priorities[index].places.len() as f64;
        share < panic_threshold_percent
    };
    let loads = shares(set.overprovisioning_percent(), priorities, &counts);
    let carried: usize = loads.iter().sum();
    if carried == 0 {
        if panic_threshold_percent > 0.0 {
            let places = whole(priorities, below);
            return Ok(Tier { places, panic: true });
        }
        // A share below one percent rounds to nothing; without panic the few that are left carry everything.
        let left = counts.iter().position(|healthy| *healthy > 0);
        return left
            .map(|index| calm(&priorities[index].places))
            .ok_or(NoEndpoint::Unhealthy);
    }
    let mut point = below(carried);
    for (index, load) in loads.iter().enumerate() {
        if point < *load {
            let panic = carried < 100 && panics(index);
            return Ok(Tier {
                places: priorities[index].places.clone(),
                panic,
            });
        }
        point -= load;
    }
    Err(NoEndpoint::Unhealthy)
}

/// Percent of the load for each priority; they add up to 100, or to less when all together are too ill.
fn shares(overprovisioning_percent: u32, priorities: &[PriorityRange], healthy: &[usize]) -> Vec<usize> {
    let factor = usize::try_from(overprovisioning_percent).unwrap_or(usize::MAX);
    let mut left = 100;
    priorities
        .iter()
        .zip(healthy)
        .map(|(range, healthy)| {
            let health = (healthy.saturating_mul(factor) / range.places.len()).min(100);
            let share = health.min(left);
            left -= share;
            share
        })
        .collect()
}

/// In total panic a priority is chosen by its number of endpoints.
fn whole(priorities: &[PriorityRange], below: &mut impl FnMut(usize) -> usize) -> Range<usize> {
    let all = priorities.last().map_or(0, |range| range.places.end);
    let place = below(all.max(1));
    let range = priorities.iter().find(|range| range.places.contains(&place));
    range.map_or(0..0, |range| range.places.clone())
}
