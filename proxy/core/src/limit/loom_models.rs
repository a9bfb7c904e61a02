//! Every interleaving of a few threads, as the memory model allows them:
//! `RUSTFLAGS="--cfg loom" cargo test -p weft-proxy-core --release --lib --target-dir target/loom loom_models`

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use loom::thread;

use super::Limit;

#[test]
fn no_interleaving_passes_the_limit() {
    loom::model(|| {
        let limit = Arc::new(Limit::new(1));
        let held = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (limit, held) = (limit.clone(), held.clone());
                thread::spawn(move || {
                    if let Some(permit) = limit.try_acquire() {
                        assert_eq!(held.fetch_add(1, SeqCst), 0);
                        held.fetch_sub(1, SeqCst);
                        limit.release(permit);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(limit.used(), 0);
        assert_eq!(limit.take_high_water(), 1);
    });
}

#[test]
fn once_a_limit_is_lowered_nothing_is_handed_out_above_it() {
    loom::model(|| {
        let limit = Arc::new(Limit::new(2));
        let other = limit.clone();
        let taker = thread::spawn(move || {
            let permit = other.try_acquire();
            let another = other.try_acquire();
            (permit, another)
        });
        limit.set_max(1);
        let before = limit.used();
        let (permit, another) = taker.join().unwrap();
        if before < 1 {
            assert!(another.is_none(), "one more than the lowered limit");
        }
        assert!(permit.is_some());
        [permit, another]
            .into_iter()
            .flatten()
            .for_each(|permit| limit.release(permit));
        assert_eq!(limit.used(), 0);
    });
}

#[test]
fn the_next_holder_sees_what_the_last_one_did() {
    loom::model(|| {
        let limit = Arc::new(Limit::new(1));
        let closed = Arc::new(AtomicBool::new(false));
        let permit = limit.try_acquire().unwrap();
        let (other, seen) = (limit.clone(), closed.clone());
        let next = thread::spawn(move || {
            if let Some(permit) = other.try_acquire() {
                assert!(
                    seen.load(Relaxed),
                    "a permit came back before its connection was closed"
                );
                other.release(permit);
            }
        });
        closed.store(true, Relaxed);
        limit.release(permit);
        next.join().unwrap();
    });
}

#[test]
fn a_waiter_that_announced_itself_gets_the_permit_or_is_seen() {
    loom::model(|| {
        let limit = Arc::new(Limit::new(1));
        let waiting = Arc::new(AtomicBool::new(false));
        let permit = limit.try_acquire().unwrap();
        let (other, announce) = (limit.clone(), waiting.clone());
        let waiter = thread::spawn(move || {
            announce.store(true, Relaxed);
            other.try_acquire_announced()
        });
        limit.release(permit);
        let seen = waiting.load(Relaxed);
        let got = waiter.join().unwrap();
        assert!(seen || got.is_some(), "the waiter sleeps and nobody knows");
        got.into_iter().for_each(|permit| limit.release(permit));
    });
}

#[test]
fn no_mark_is_lost_between_two_readings() {
    loom::model(|| {
        let limit = Arc::new(Limit::new(2));
        let first = limit.try_acquire().unwrap();
        let other = limit.clone();
        let taker = thread::spawn(move || {
            let permit = other.try_acquire().unwrap();
            other.release(permit);
        });
        let mark = limit.take_high_water();
        taker.join().unwrap();
        let next = limit.take_high_water();
        assert!(mark == 2 || next == 2, "two were out: {mark}, {next}");
        limit.release(first);
        assert_eq!(limit.used(), 0);
    });
}

#[test]
fn a_permit_held_beyond_a_reading_counts_in_the_next() {
    loom::model(|| {
        let limit = Arc::new(Limit::new(2));
        let first = limit.try_acquire().unwrap();
        // The mark stands at two already, so that whoever does not see it taken leaves it alone.
        let second = limit.try_acquire().unwrap();
        limit.release(second);
        let read = Arc::new(AtomicBool::new(false));
        let (other, seen) = (limit.clone(), read.clone());
        let taker = thread::spawn(move || {
            let permit = other.try_acquire().unwrap();
            let held_beyond = seen.load(Relaxed);
            other.release(permit);
            held_beyond
        });
        limit.take_high_water();
        read.store(true, Relaxed);
        let held_beyond = taker.join().unwrap();
        assert!(!held_beyond || limit.take_high_water() == 2);
        limit.release(first);
    });
}
