use crate::balance::Load;
use crate::cluster::{EndpointSet, Health};
use crate::route::RetryPolicy;

/// Picks for a retry: as long as the pick was tried before, it is repeated, `host_selection_attempts` times at most. The last
/// pick is used in any case, so that a cluster with one endpoint is retried as well.
///
/// # Errors
/// Those of the pick.
pub fn pick_untried<T, E>(
    policy: &RetryPolicy,
    is_tried: impl Fn(&T) -> bool,
    mut pick: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut picked = pick()?;
    if !policy.avoid_previous_hosts {
        return Ok(picked);
    }
    for _ in 0..policy.host_selection_attempts {
        if !is_tried(&picked) {
            break;
        }
        picked = pick()?;
    }
    Ok(picked)
}

/// The load of a set in which endpoints that were tried count as out: what [`pick_untried`] could not find by luck, since an
/// endpoint that refuses connections has the least load and is picked again and again.
#[derive(Debug)]
pub struct Untried<'a, L, F> {
    load: &'a L,
    is_tried: F,
}

impl<'a, L: Load, F: Fn(usize) -> bool> Untried<'a, L, F> {
    /// `None` when every endpoint that is of use was tried, or the policy does not mind.
    pub fn new(policy: &RetryPolicy, set: &EndpointSet, load: &'a L, is_tried: F) -> Option<Self> {
        let untried = Self { load, is_tried };
        let usable = |place: usize| set.endpoints()[place].health == Health::Healthy && !untried.is_ejected(place);
        let is_of_use = policy.avoid_previous_hosts && (0..set.endpoints().len()).any(usable);
        is_of_use.then_some(untried)
    }
}

impl<L: Load, F: Fn(usize) -> bool> Load for Untried<'_, L, F> {
    fn active(&self, place: usize) -> u32 {
        self.load.active(place)
    }

    fn is_ejected(&self, place: usize) -> bool {
        self.load.is_ejected(place) || (self.is_tried)(place)
    }

    fn ejected(&self) -> usize {
        // As above: with 0 a pick would not ask for single endpoints.
        self.load.ejected().max(1)
    }
}

/// Which priorities the next try avoids, from those of all tries so far in their order. The list is brought up to date every
/// `avoid_previous_priorities` tries: in between, a retry stays with the priorities that the try before it had.
pub fn avoided_priorities<'a>(policy: &RetryPolicy, tried: &'a [u32]) -> &'a [u32] {
    let Some(every) = policy.avoid_previous_priorities else {
        return &[];
    };
    // 0 would mean never up to date.
    let every = usize::try_from(every.max(1)).unwrap_or(usize::MAX);
    &tried[..tried.len() - tried.len() % every]
}

/// The load of a set in which some priorities count as if all of their endpoints were out.
#[derive(Debug)]
pub struct Avoiding<'a, L> {
    set: &'a EndpointSet,
    load: &'a L,
    priorities: &'a [u32],
}

impl<'a, L: Load> Avoiding<'a, L> {
    /// `None` when there is nothing to avoid, or nothing would be left.
    pub fn new(set: &'a EndpointSet, load: &'a L, priorities: &'a [u32]) -> Option<Self> {
        let avoiding = Self { set, load, priorities };
        let usable = |place: usize| set.endpoints()[place].health == Health::Healthy && !avoiding.is_ejected(place);
        let is_of_use = !priorities.is_empty() && (0..set.endpoints().len()).any(usable);
        is_of_use.then_some(avoiding)
    }
}

impl<L: Load> Load for Avoiding<'_, L> {
    fn active(&self, place: usize) -> u32 {
        self.load.active(place)
    }

    fn is_ejected(&self, place: usize) -> bool {
        self.load.is_ejected(place) || self.priorities.contains(&self.set.endpoints()[place].priority)
    }

    fn ejected(&self) -> usize {
        // Only whether it is 0 matters to a pick: with 0 it would not ask for single endpoints.
        self.load.ejected().max(1)
    }
}
