use super::tests::{Figures, cluster, ejected, endpoint, weighted};
use super::*;
use crate::cluster::{Balance, EndpointSet, HashTable, Health, OVERPROVISIONING_PERCENT};

const RING: HashTable = HashTable::Ring {
    size_min: 1024,
    size_max: 8 << 20,
};
const MAGLEV: HashTable = HashTable::Maglev { size: 65_537 };
const KEYS: u64 = 10_000;

fn pick(table: &HashTable, panic: f64, set: &EndpointSet, load: &Figures, hash: u64) -> Result<usize, NoEndpoint> {
    let cluster = cluster(Balance::Hash(table.clone()), panic);
    let choice = HashChoice::new(&cluster, set, load, hash).expect("it hashes")?;
    choice.build(set, load).pick(hash, 0).ok_or(NoEndpoint::Unhealthy)
}

/// The owner of each of many keys.
fn owners(table: &HashTable, set: &EndpointSet, load: &Figures) -> Vec<usize> {
    let cluster = cluster(Balance::Hash(table.clone()), 0.0);
    let choice = HashChoice::new(&cluster, set, load, 0)
        .expect("it hashes")
        .expect("endpoints");
    let table = choice.build(set, load);
    let keys = (0..KEYS).map(|key| twox_hash::XxHash64::oneshot(0, &key.to_be_bytes()));
    keys.map(|key| table.pick(key, 0).expect("an endpoint")).collect()
}

#[test]
fn only_the_keys_of_whoever_leaves_move_and_they_return_with_it() {
    for table in [RING, MAGLEV] {
        let set = weighted(&[1; 10]);
        let before = owners(&table, &set, &Figures::default());
        let after = owners(&table, &set, &ejected(&[3]));
        let moved = before.iter().zip(&after).filter(|(one, other)| one != other).count();
        assert!(!after.contains(&3));
        // A tenth has to move; Ketama's points are few and Maglev's slots shift a little.
        assert!((800..2_200).contains(&moved), "{table:?}: {moved}");
        assert!(owners(&table, &set, &Figures::default()) == before, "{table:?}");
    }
}

#[test]
fn shares_follow_weights() {
    for (table, slack) in [(RING, 0.35), (MAGLEV, 0.08)] {
        let owners = owners(&table, &weighted(&[1, 2, 5]), &Figures::default());
        for (place, weight) in [1.0, 2.0, 5.0].into_iter().enumerate() {
            let share = owners.iter().filter(|owner| **owner == place).count() as f64 / KEYS as f64;
            let expected = weight / 8.0;
            assert!(
                (share - expected).abs() < expected * slack,
                "{table:?}: {share} for {expected}"
            );
        }
    }
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let set = |numbers: &[usize]| {
        let endpoints = numbers.iter().map(|number| endpoint(*number, 1, 0, Health::Healthy));
        EndpointSet::new(endpoints.collect(), OVERPROVISIONING_PERCENT).unwrap()
    };
    let (forwards, backwards) = (set(&[1, 2, 3, 4]), set(&[4, 3, 2, 1]));
    for table in [RING, MAGLEV] {
        let one = owners(&table, &forwards, &Figures::default());
        let other = owners(&table, &backwards, &Figures::default());
        assert!(
            one.iter().zip(&other).all(|(one, other)| *one == 3 - *other),
            "{table:?}"
        );
    }
}

#[test]
fn who_is_ill_gets_no_key_and_panic_ignores_it() {
    let set = EndpointSet::new(
        vec![
            endpoint(1, 1, 0, Health::Healthy),
            endpoint(2, 1, 0, Health::Unhealthy),
            endpoint(3, 1, 1, Health::Healthy),
        ],
        OVERPROVISIONING_PERCENT,
    )
    .unwrap();
    let calm = Figures::default();
    // Half of the first priority is healthy, which carries 70 of 100 keys; the key itself decides.
    for (hash, place) in [(0, 0), (69, 0), (70, 2), (99, 2), (170, 2)] {
        assert_eq!(pick(&RING, 0.0, &set, &calm, hash), Ok(place), "{hash}");
    }
    let ill = EndpointSet::new(
        vec![
            endpoint(1, 1, 0, Health::Unhealthy),
            endpoint(2, 1, 0, Health::Unhealthy),
        ],
        OVERPROVISIONING_PERCENT,
    )
    .unwrap();
    for table in [RING, MAGLEV] {
        assert_eq!(pick(&table, 0.0, &ill, &calm, 1), Err(NoEndpoint::Unhealthy));
        assert!(pick(&table, 50.0, &ill, &calm, 1).is_ok());
        assert_eq!(
            pick(&table, 50.0, &EndpointSet::default(), &calm, 1),
            Err(NoEndpoint::Empty)
        );
    }
}

#[test]
fn another_pick_for_one_try_leads_elsewhere() {
    for table in [RING, MAGLEV] {
        let set = weighted(&[1; 5]);
        let load = Figures::default();
        let cluster = cluster(Balance::Hash(table.clone()), 0.0);
        let choice = HashChoice::new(&cluster, &set, &load, 7).unwrap().unwrap();
        let built = choice.build(&set, &load);
        let places: std::collections::BTreeSet<_> = (0..20).filter_map(|attempt| built.pick(7, attempt)).collect();
        assert!(places.len() > 2, "{table:?}: {places:?}");
    }
}

#[test]
fn tables_are_told_apart_by_who_is_out_and_by_their_kind() {
    let set = weighted(&[1; 4]);
    let key = |table: &HashTable, load: &Figures| {
        let cluster = cluster(Balance::Hash(table.clone()), 0.0);
        HashChoice::new(&cluster, &set, load, 5).unwrap().unwrap().key()
    };
    let small = HashTable::Maglev { size: 101 };
    let keys = [
        key(&RING, &Figures::default()),
        key(&MAGLEV, &Figures::default()),
        key(&small, &Figures::default()),
        key(&RING, &ejected(&[1])),
        key(&RING, &ejected(&[2])),
    ];
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(keys[3], key(&RING, &ejected(&[1])));
}
