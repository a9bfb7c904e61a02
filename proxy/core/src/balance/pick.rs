use super::cursor::{Cursor, Draws};
use super::eligible::{NoEndpoint, Tier, tier};
use crate::cluster::{Balance, Cluster, EndpointSet};

/// How often a random draw is repeated before the endpoints are gone through in order.
const DRAWS_MAX: usize = 16;

/// The live figures that picking reads, by place in the set.
pub trait Load {
    /// Requests in flight to an endpoint, from this proxy.
    fn active(&self, place: usize) -> u32;
    /// Whether outlier detection has taken it out.
    fn is_ejected(&self, place: usize) -> bool;
    /// How many endpoints of the set are out.
    fn ejected(&self) -> usize;
}

/// Picks the endpoint of a request: its place in the set.
///
/// # Errors
/// When there is none, or none that is healthy and health counts.
pub fn pick(
    cluster: &Cluster,
    set: &EndpointSet,
    load: &impl Load,
    rng: u64,
    cursor: &mut Cursor,
) -> Result<usize, NoEndpoint> {
    let mut draws = Draws::new(rng);
    if matches!(cluster.balance, Balance::OriginalDst) {
        return Err(NoEndpoint::OriginalDst);
    }
    let tier = tier(set, cluster.panic_threshold_percent, load, &mut |bound| {
        draws.below(bound)
    })?;
    let pool = Pool { set, tier, load };
    match &cluster.balance {
        Balance::LeastRequest { choices } if set.is_uniform() => pool.least_request(*choices, &mut draws),
        Balance::LeastRequest { .. } => pool.least_request_by_weight(&mut draws),
        Balance::RoundRobin => pool.in_turn(cursor),
        // Who hashes asks for a `HashChoice`; by lot is what a request without a key amounts to.
        Balance::Random | Balance::Hash(_) => pool.by_lot(&mut draws),
        Balance::OriginalDst => Err(NoEndpoint::OriginalDst),
    }
}

struct Pool<'a, L> {
    set: &'a EndpointSet,
    tier: Tier,
    load: &'a L,
}

impl<L: Load> Pool<'_, L> {
    fn allows(&self, place: usize) -> bool {
        self.tier.allows(self.set, self.load, place)
    }

    fn len(&self) -> usize {
        self.tier.places.len()
    }

    /// The least loaded of a few; ties go to the first.
    fn least_request(&self, choices: u32, draws: &mut Draws) -> Result<usize, NoEndpoint> {
        let first = self.by_lot(draws)?;
        if self.len() == 1 {
            return Ok(first);
        }
        let mut best = (self.load.active(first), first);
        for _ in 1..choices {
            // The others are drawn among those that are not the first: comparing it with itself would be a waste.
            let offset = 1 + draws.below(self.len() - 1);
            let start = self.tier.places.start;
            let mut place = start + (first - start + offset) % self.len();
            if !self.allows(place) {
                place = self.by_lot(draws)?;
            }
            let active = self.load.active(place);
            if active < best.0 {
                best = (active, place);
            }
        }
        Ok(best.1)
    }

    /// By lot with weight / (active + 1), by rejection: a draw by weight is kept with probability 1 / (active + 1).
    fn least_request_by_weight(&self, draws: &mut Draws) -> Result<usize, NoEndpoint> {
        let mut best: Option<(f64, usize)> = None;
        for _ in 0..DRAWS_MAX {
            let place = self.by_lot(draws)?;
            let crowd = u64::from(self.load.active(place)) + 1;
            if draws.next().is_multiple_of(crowd) {
                return Ok(place);
            }
            let strain = crowd as f64 / f64::from(self.set.endpoints()[place].weight);
            if best.is_none_or(|(least, _)| strain < least) {
                best = Some((strain, place));
            }
        }
        best.map(|(_, place)| place).ok_or(NoEndpoint::Unhealthy)
    }

    /// By lot, by weight, among those that may be used.
    fn by_lot(&self, draws: &mut Draws) -> Result<usize, NoEndpoint> {
        for _ in 0..DRAWS_MAX {
            let place = self.set.draw(&self.tier.places, draws.next());
            if self.allows(place) {
                return Ok(place);
            }
        }
        // Few are left: an exact draw among them.
        let weight = |place: usize| u64::from(self.set.endpoints()[place].weight);
        let usable = || self.tier.places.clone().filter(|place| self.allows(*place));
        let total: u64 = usable().map(weight).sum();
        let mut point = draws.below(usize::try_from(total).unwrap_or(usize::MAX).max(1)) as u64;
        for place in usable() {
            match point.checked_sub(weight(place)) {
                Some(rest) => point = rest,
                None => return Ok(place),
            }
        }
        Err(NoEndpoint::Unhealthy)
    }

    /// In turn: each gets its weight out of every total of weights, evenly spread. Those that are out are passed over.
    fn in_turn(&self, cursor: &mut Cursor) -> Result<usize, NoEndpoint> {
        let turns = self.len().max(DRAWS_MAX);
        for _ in 0..turns {
            let place = self.set.turn(&self.tier.places, cursor.advance());
            if self.allows(place) {
                return Ok(place);
            }
        }
        self.tier
            .places
            .clone()
            .find(|place| self.allows(*place))
            .ok_or(NoEndpoint::Unhealthy)
    }
}
