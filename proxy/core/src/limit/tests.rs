use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use super::{Gate, Limit, Permit};

fn fill(limit: &Limit) -> Vec<Permit> {
    std::iter::from_fn(|| limit.try_acquire()).take(1000).collect()
}

#[test]
fn as_many_permits_are_handed_out_as_the_limit_says() {
    for max in [0, 1, 2, 8, 100] {
        let limit = Limit::new(max);
        let permits = fill(&limit);
        assert_eq!(permits.len(), max as usize);
        assert_eq!((limit.used(), limit.remaining(), limit.surplus()), (max, 0, 0));
        for permit in permits {
            limit.release(permit);
        }
        assert_eq!((limit.used(), limit.remaining(), limit.max()), (0, max, max));
    }
}

#[test]
fn a_released_permit_can_be_had_again() {
    let limit = Limit::new(1);
    for _ in 0..3 {
        let permit = limit.try_acquire().unwrap();
        assert_eq!(limit.try_acquire(), None);
        assert_eq!(limit.try_acquire_announced(), None);
        limit.release(permit);
    }
    let permit = limit.try_acquire_announced().unwrap();
    assert_eq!(limit.try_acquire(), None);
    limit.release(permit);
}

#[test]
fn without_a_limit_the_largest_number_is_one() {
    let limit = Limit::new(u32::MAX);
    assert_eq!(limit.remaining(), u32::MAX);
    let permit = limit.try_acquire().unwrap();
    assert_eq!((limit.used(), limit.max()), (1, u32::MAX));
    limit.release(permit);
}

#[test]
fn a_raised_limit_hands_out_the_difference_at_once() {
    let limit = Limit::new(2);
    let mut permits = fill(&limit);
    assert_eq!(limit.set_max(5), 2);
    permits.extend(fill(&limit));
    assert_eq!(permits.len(), 5);
    permits.into_iter().for_each(|permit| limit.release(permit));
}

#[test]
fn a_lowered_limit_hands_out_nothing_until_enough_came_back() {
    let limit = Limit::new(5);
    let mut permits = fill(&limit);
    limit.set_max(2);
    assert_eq!((limit.surplus(), limit.remaining()), (3, 0));
    for surplus in [2, 1, 0] {
        assert_eq!(limit.try_acquire(), None);
        limit.release(permits.pop().unwrap());
        assert_eq!(limit.surplus(), surplus);
    }
    assert_eq!(limit.try_acquire(), None, "two are out, two are allowed");
    limit.release(permits.pop().unwrap());
    permits.push(limit.try_acquire().unwrap());
    permits.into_iter().for_each(|permit| limit.release(permit));
}

#[test]
fn a_bound_of_the_moment_stands_in_for_the_limit() {
    let limit = Limit::new(0);
    let one = limit.try_acquire_within(2).unwrap();
    let two = limit.try_acquire_within(2).unwrap();
    assert_eq!(limit.try_acquire_within(2), None);
    assert_eq!(limit.try_acquire_within(1), None);
    let three = limit.try_acquire_within(3).unwrap();
    [one, two, three].into_iter().for_each(|permit| limit.release(permit));
    assert_eq!(limit.used(), 0);
}

#[test]
fn the_high_water_mark_begins_anew_at_what_is_out() {
    let limit = Limit::new(10);
    assert_eq!(limit.take_high_water(), 0);
    let mut permits: Vec<_> = std::iter::from_fn(|| limit.try_acquire()).take(7).collect();
    for permit in permits.drain(2..) {
        limit.release(permit);
    }
    assert_eq!(limit.take_high_water(), 7);
    assert_eq!(limit.take_high_water(), 2);
    permits.push(limit.try_acquire().unwrap());
    assert_eq!(limit.take_high_water(), 3);
    permits.into_iter().for_each(|permit| limit.release(permit));
    assert_eq!((limit.take_high_water(), limit.take_high_water()), (3, 0));
}

/// Counts holders independently of the limit.
fn hammer(limit: &Limit, threads: usize, rounds: usize, check: impl Fn(u32) + Sync) {
    let held = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    if let Some(permit) = limit.try_acquire() {
                        check(held.fetch_add(1, SeqCst) + 1);
                        held.fetch_sub(1, SeqCst);
                        limit.release(permit);
                    }
                }
            });
        }
    });
    assert_eq!((limit.used(), held.load(SeqCst)), (0, 0));
}

#[test]
fn threads_together_never_hold_more_than_the_limit() {
    for max in [1, 2, 3] {
        let limit = Limit::new(max);
        hammer(&limit, 4, 20_000, |held| assert!(held <= max, "{held} of {max}"));
        assert!(limit.take_high_water() <= max);
    }
}

#[test]
fn a_limit_that_changes_under_load_is_never_passed() {
    let limit = Limit::new(4);
    thread::scope(|scope| {
        scope.spawn(|| {
            for max in (0..5).cycle().take(5000) {
                limit.set_max(max);
                // With the bound at `max` the count can only fall to it, never rise above it again.
                let mut last = limit.used();
                for _ in 0..20 {
                    let used = limit.used();
                    assert!(used <= max || used <= last, "{used} after {last}, at most {max}");
                    last = used;
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..40_000 {
                    if let Some(permit) = limit.try_acquire() {
                        limit.release(permit);
                    }
                }
            });
        }
    });
    assert_eq!(limit.used(), 0);
    assert!(limit.take_high_water() <= 4);
}

#[test]
fn nobody_gets_past_who_waits() {
    let gate = Gate::new(1);
    let permit = gate.try_acquire().unwrap();
    assert_eq!(gate.try_acquire(), None, "the limit is reached");
    let (place, is_first) = gate.enter(None, "first");
    assert!(is_first && gate.next().is_none());
    let (_, is_first) = gate.enter(None, "second");
    assert!(!is_first);
    // It has its place again, in front.
    assert_eq!(gate.leave(place), Some("first"));
    gate.enter(Some(place), "first");
    gate.limit().release(permit);
    assert_eq!(gate.try_acquire(), None, "free, but not for who comes now");
    let (waiter, permit) = gate.next().unwrap();
    assert_eq!(waiter, "first");
    let (waiter, permit) = gate.pass(permit).unwrap();
    assert_eq!(waiter, "second");
    assert_eq!(gate.pass(permit), None);
    let permit = gate.try_acquire().unwrap();
    gate.limit().release(permit);
}
