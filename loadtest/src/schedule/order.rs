//! Which of a run's sends a thread makes, without asking another.

/// Which sends of a run are a thread's: those at some places of a round that repeats.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    /// Its places in a round, in order.
    places: Vec<u64>,
    /// Places of a round.
    round: u64,
    taken: u64,
}

impl Turns {
    /// How many of the run's first `count` sends are this thread's, from the one that was taken last.
    pub(super) fn left_before(&self, count: u64) -> u64 {
        let begun = self.places.partition_point(|place| *place < count % self.round);
        let all = count / self.round * self.places.len() as u64 + begun as u64;
        (all + 1).saturating_sub(self.taken)
    }
}

/// Deals a round out in proportion to `lanes`.
pub(super) fn turns(lanes: &[usize]) -> Vec<Turns> {
    let divisor = lanes
        .iter()
        .fold(0, |divisor, count| common_divisor(divisor, *count))
        .max(1);
    let shares: Vec<u64> = lanes.iter().map(|count| (count / divisor) as u64).collect();
    // Of a thread with n places in a round, each belongs into the middle of an n-th of it: at (2k + 1) / 2n.
    let mut wishes: Vec<(u64, usize)> = (0..shares.len())
        .flat_map(|thread| (0..shares[thread]).map(move |k| (2 * k + 1, thread)))
        .collect();
    wishes.sort_by(|(a, one), (b, other)| (a * shares[*other]).cmp(&(b * shares[*one])).then(one.cmp(other)));
    let mut places = vec![Vec::new(); shares.len()];
    for (place, (_, thread)) in (0u64..).zip(&wishes) {
        places[*thread].push(place);
    }
    let round = wishes.len() as u64;
    let turns = |places| Turns {
        places,
        round,
        taken: 0,
    };
    places.into_iter().map(turns).collect()
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Whose turn it is.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Turns(Turns),
    /// Distances are drawn; `step` is their mean, in sends of the whole run.
    Random {
        random: fastrand::Rng,
        step: f64,
    },
}

impl Order {
    /// Number of the thread's next send among those of the run; `last` is the one before, 0 at the start.
    pub(super) fn after(&mut self, last: f64) -> f64 {
        match self {
            Self::Turns(turns) => {
                let places = turns.places.len() as u64;
                let number = turns.taken / places * turns.round + turns.places[(turns.taken % places) as usize];
                turns.taken += 1;
                number as f64
            }
            // Time is stretched by the rate, so that one law serves constant and changing rates alike. The start is no
            // event: the first distance is drawn, too.
            Self::Random { random, step } => last - *step * (1.0 - random.f64()).ln(),
        }
    }
}
