use super::*;

/// How often each destination is picked by the indexes of a range.
fn counts(pattern: &SplitPattern, destinations: usize, from: u64, length: u64) -> Vec<u64> {
    let mut counts = vec![0; destinations];
    for index in from..from + length {
        counts[pattern.pick(index)] += 1;
    }
    counts
}

/// Checks every window of 100 that begins in a range of indexes: each destination has ⌊share⌋ or ⌈share⌉.
fn check_windows(weights: &[u32], from: u64, windows: u64) {
    let pattern = SplitPattern::new(weights).unwrap();
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let bounds: Vec<(u64, u64)> = weights
        .iter()
        .map(|weight| {
            let share = BLOCK * u64::from(*weight);
            (share / total, share.div_ceil(total))
        })
        .collect();
    let mut window = counts(&pattern, weights.len(), from, BLOCK);
    for start in from..from + windows {
        for (index, (least, most)) in bounds.iter().enumerate() {
            assert!(
                (*least..=*most).contains(&window[index]),
                "weights {weights:?}, window at {start}: destination {index} has {} of {least}..={most}",
                window[index]
            );
        }
        window[pattern.pick(start)] -= 1;
        window[pattern.pick(start + BLOCK)] += 1;
    }
}

#[test]
fn any_hundred_in_a_row_are_within_one_of_every_share() {
    let named: [&[u32]; 14] = [
        &[1],
        &[50, 50],
        &[37, 33, 30],
        &[1, 1, 1],
        &[1, 1, 2],
        &[1, 999],
        &[333_333, 333_333, 333_334],
        &[1, 2, 3, 4, 5, 6, 7],
        &[u32::MAX, 1],
        &[u32::MAX, u32::MAX, u32::MAX - 1],
        &[99, 1, 1],
        &[101, 101, 1],
        &[66, 67, 67],
        &[999_983, 2, 999_979],
    ];
    for weights in named {
        check_windows(weights, 0, 3000);
    }
    check_windows(&[3; 50], 0, 3000);
    check_windows(&[7; 150], 0, 3000);
}

#[test]
fn any_weights_keep_the_rule() {
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..3000 {
        let destinations = rng.usize(1..=if round % 10 == 0 { 120 } else { 9 });
        let limit = [3, 20, 100, 1000, 1_000_000, u32::MAX][rng.usize(0..6)];
        let weights: Vec<u32> = (0..destinations).map(|_| rng.u32(1..=limit)).collect();
        check_windows(&weights, 0, 300);
        // The property holds anywhere, also where a random start has put the sequence.
        check_windows(&weights, rng.u64(..u64::MAX / 2), 300);
    }
}

#[test]
fn over_a_whole_period_every_share_is_exact() {
    let mut rng = fastrand::Rng::with_seed(11);
    for _ in 0..200 {
        let weights: Vec<u32> = (0..rng.usize(2..6)).map(|_| rng.u32(1..=60)).collect();
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let pattern = SplitPattern::new(&weights).unwrap();
        let counted = counts(&pattern, weights.len(), 0, BLOCK * total);
        for (weight, count) in weights.iter().zip(counted) {
            assert_eq!(count, BLOCK * u64::from(*weight), "weights {weights:?}");
        }
    }
}

#[test]
fn picks_are_spread_inside_a_block() {
    let pattern = SplitPattern::new(&[50, 50]).unwrap();
    for index in 0..100 {
        assert_ne!(pattern.pick(index), pattern.pick(index + 1), "halves take turns");
    }
    let pattern = SplitPattern::new(&[90, 10]).unwrap();
    for start in 0..100 {
        assert_eq!(counts(&pattern, 2, start, 10)[1], 1, "a tenth comes once in ten");
    }
}

#[test]
fn a_destination_without_weight_gets_nothing() {
    let key = SplitKey::Rule {
        object: "VirtualService/ns/a".into(),
        rule: 0,
    };
    let state = Arc::new(SplitState::starting_at(3));
    let split = WeightedSplit::new(vec![to("a", 0), to("b", 5)], key.clone(), state.clone()).unwrap();
    assert!((0..200).all(|_| &*split.destinations()[split.choose()].cluster.name == "b"));
    let nothing = WeightedSplit::new(vec![to("a", 0), to("b", 0)], key, state);
    assert_eq!(nothing.err(), Some(SplitError::NoWeight));
}

#[test]
fn the_sequence_of_a_rule_is_shared_and_survives_new_tables() {
    let mut bindings = Bindings::new(42);
    let key = SplitKey::Rule {
        object: "VirtualService/ns/a".into(),
        rule: 1,
    };
    let weights = || vec![to("a", 37), to("b", 33), to("c", 30)];
    let first = WeightedSplit::new(weights(), key.clone(), bindings.split(&key)).unwrap();
    let begun = first.state().peek();
    for _ in 0..150 {
        first.choose();
    }
    let second = WeightedSplit::new(weights(), key.clone(), bindings.split(&key)).unwrap();
    drop(first);
    bindings.sweep();
    assert_eq!(second.state().peek(), begun + 150);
    assert_eq!(bindings.split(&key).peek(), begun + 150);
    let other = SplitKey::Rule {
        object: "VirtualService/ns/a".into(),
        rule: 2,
    };
    assert!(!Arc::ptr_eq(&bindings.split(&other), second.state()));
    drop(second);
    bindings.sweep();
    assert_eq!(
        bindings.split(&key).peek(),
        begun,
        "forgotten with its last table, it starts where it began"
    );
}

#[test]
fn threads_share_one_exact_sequence() {
    let key = SplitKey::Rule {
        object: "VirtualService/ns/a".into(),
        rule: 0,
    };
    let state = Arc::new(SplitState::starting_at(77));
    let split = WeightedSplit::new(vec![to("a", 37), to("b", 33), to("c", 30)], key, state).unwrap();
    let counted: Vec<[u32; 3]> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut counted = [0; 3];
                    for _ in 0..2500 {
                        match &*split.destinations()[split.choose()].cluster.name {
                            "a" => counted[0] += 1,
                            "b" => counted[1] += 1,
                            _ => counted[2] += 1,
                        }
                    }
                    counted
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let sum = |index: usize| counted.iter().map(|one| one[index]).sum::<u32>();
    assert_eq!([sum(0), sum(1), sum(2)], [3700, 3300, 3000]);
}

#[test]
fn slots_are_stable_and_never_given_twice() {
    let mut bindings = Bindings::new(0);
    let a = bindings.cluster("a").unwrap();
    let b = bindings.cluster("b").unwrap();
    assert_ne!(a.slot, b.slot);
    assert_eq!(bindings.cluster("a").unwrap(), a);
    assert_eq!(bindings.slots(), 2);
}
