//! A unit that is late, or never answers, is never taken for one that is done.

use std::{
    sync::{
        Mutex as StdMutex,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread,
};

use proptest::prelude::*;

use super::*;

mod fake;

use fake::{Fake, Manner, work};

fn words(number: usize) -> Vec<AtomicU64> {
    (0..number).map(|_| AtomicU64::new(0)).collect()
}

/// Patience for so many looks.
fn looks(number: usize) -> impl FnMut() -> bool {
    let mut left = number;
    move || {
        left = left.saturating_sub(1);
        left > 0
    }
}

/// Patience without end, as far as the unit should ever need it.
fn endless() -> impl FnMut() -> bool {
    let mut asked = 0;
    move || {
        asked += 1;
        assert!(asked < 10_000, "it is waited for what cannot come");
        true
    }
}

/// A queue of so many entries for so many CPUs, and its fake unit.
macro_rules! queue {
    ($ring:ident, $status:ident, $unit:ident, $queue:ident = $entries:expr, $cpus:expr) => {
        let ($ring, $status) = (words(2 * $entries), words($cpus));
        let $unit = Fake::new(&$ring, &$status);
        let $queue = Queue::new(&$ring, &$status).unwrap();
    };
}

#[test]
fn what_is_submitted_is_done_in_order() {
    queue!(ring, status, unit, queue = 16, 1);
    queue.submit(&unit, &[work(1), work(2)], looks(9)).unwrap();
    queue.submit(&unit, &[work(3)], looks(9)).unwrap();
    assert_eq!(unit.done(), [1, 2, 3]);
}

/// INV-13: whatever one call asks for, it keeps the others out for a share of the ring at a time.
#[test]
fn the_queue_is_held_for_a_share_of_the_ring_at_most() {
    for (entries, cpus, share) in [(16, 1, 15), (64, 4, 15), (257, 128, 2), (9, 4, 2)] {
        queue!(ring, status, unit, queue = entries, cpus);
        let commands: Vec<_> = (0..100).map(work).collect();
        queue.submit(&unit, &commands, endless()).unwrap();
        assert_eq!(unit.done().len(), 100);
        assert_eq!(unit.longest(), share.min(101), "{entries} entries for {cpus}");
        queue.submit(&unit, &[work(1)], endless()).unwrap();
    }
}

/// INV-11.
#[test]
fn a_unit_that_never_answers_is_an_error_after_a_bounded_wait() {
    queue!(ring, status, unit, queue = 16, 1);
    unit.set(Manner::Never);
    assert_eq!(queue.submit(&unit, &[work(1)], looks(50)), Err(UnitError));
    assert!(queue.has_failed());
}

/// INV-12.
#[test]
fn a_late_completion_satisfies_no_later_wait() {
    queue!(ring, status, unit, queue = 16, 2);
    unit.set(Manner::Never);
    assert_eq!(queue.submit(&unit, &[work(1)], looks(50)), Err(UnitError));
    unit.set(Manner::AtOnce);
    unit.run();
    assert_eq!(unit.done(), [1], "late, and all the same");
    for _ in 0..40 {
        assert_eq!(queue.submit(&unit, &[work(2)], looks(50)), Err(UnitError));
    }
    assert_eq!(unit.done(), [1], "a queue that failed takes nothing more");
}

/// INV-12: the status word still has what the wait before left there, and both commands look alike.
#[test]
fn each_wait_has_a_cookie_of_its_own() {
    queue!(ring, status, unit, queue = 16, 1);
    for _ in 0..40 {
        queue.submit(&unit, &[work(1)], looks(9)).unwrap();
    }
    let mut cookies = unit.cookies();
    cookies.sort_unstable();
    cookies.dedup();
    assert_eq!(cookies.len(), 40);
    // What any earlier wait was to be told ends no later one.
    unit.set(Manner::Stale);
    assert_eq!(queue.submit(&unit, &[work(1)], looks(50)), Err(UnitError));
}

/// INV-12.
#[test]
fn a_cookie_that_wraps_around_is_never_what_a_word_without_one_says() {
    queue!(ring, status, unit, queue = 16, 1);
    queue.end.lock().cookie = u32::MAX;
    for _ in 0..4 {
        queue.submit(&unit, &[work(1)], looks(9)).unwrap();
    }
    assert_eq!(unit.cookies(), [u32::MAX, 2, 3, 4]);
}

#[test]
fn a_unit_that_is_late_but_in_time_is_waited_for() {
    queue!(ring, status, unit, queue = 16, 1);
    for late in 0..20 {
        unit.set(Manner::After(late));
        queue.submit(&unit, &[work(late)], looks(40)).unwrap();
    }
    assert_eq!(unit.done().len(), 20);
}

/// A CPU that did not run for longer than anyone is patient must find what was done meanwhile.
#[test]
fn it_is_looked_once_more_when_patience_has_ended() {
    queue!(ring, status, unit, queue = 16, 1);
    unit.set(Manner::Never);
    let mut asked = 0;
    let patience = || {
        asked += 1;
        if asked == 2 {
            unit.run_now();
        }
        asked < 2
    };
    assert_eq!(queue.submit(&unit, &[work(1)], patience), Ok(()));
}

/// INV-11: no room is never success, and nothing is overwritten.
#[test]
fn a_full_queue_is_an_error_after_a_bounded_wait() {
    // One entry is left, in which a command would have no room with its wait.
    queue!(ring, status, unit, queue = 6, 2);
    unit.set(Manner::HeadStuck);
    queue.submit(&unit, &[work(1)], looks(9)).unwrap();
    queue.submit(&unit, &[work(2)], looks(9)).unwrap();
    let before: Vec<u64> = ring.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    assert_eq!(queue.submit(&unit, &[work(3)], looks(50)), Err(UnitError));
    let after: Vec<u64> = ring.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    assert_eq!((before, unit.done()), (after, vec![1, 2]));
    assert!(queue.has_failed());
}

/// INV-11.
#[test]
fn an_error_that_the_unit_reports_ends_the_queue_at_once() {
    queue!(ring, status, unit, queue = 16, 1);
    unit.set(Manner::Broken);
    assert_eq!(queue.submit(&unit, &[work(1)], endless()), Err(UnitError));
    unit.set(Manner::AtOnce);
    assert_eq!(queue.submit(&unit, &[work(2)], endless()), Err(UnitError));
}

#[test]
fn a_head_that_is_no_entry_is_an_error() {
    queue!(ring, status, unit, queue = 16, 1);
    unit.set(Manner::Gone);
    assert_eq!(queue.submit(&unit, &[work(1)], endless()), Err(UnitError));
}

#[test]
fn what_is_longer_than_the_ring_goes_in_pieces() {
    queue!(ring, status, unit, queue = 8, 3);
    let all: Vec<_> = (0..100).map(work).collect();
    queue.submit(&unit, &all, endless()).unwrap();
    assert_eq!(unit.done(), (0..100).collect::<Vec<_>>());
    // A third of the seven entries that may be full is a command and its wait.
    assert_eq!(unit.cookies().len(), 100, "one CPU took the share of another");
}

#[test]
fn nothing_to_do_is_nothing_to_wait_for() {
    queue!(ring, status, unit, queue = 8, 3);
    unit.set(Manner::Never);
    queue.submit(&unit, &[], looks(1)).unwrap();
}

/// INV-11: whoever waits when the queue fails is told so, although its patience has no end.
#[test]
fn who_waits_while_another_gives_up_is_told_so() {
    queue!(ring, status, unit, queue = 16, 2);
    unit.set(Manner::Never);
    let waiting = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            queue.submit(&unit, &[work(1)], || {
                waiting.store(true, Ordering::Relaxed);
                true
            })
        });
        while !waiting.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        assert_eq!(queue.submit(&unit, &[work(2)], looks(50)), Err(UnitError));
        assert_eq!(other.join().unwrap(), Err(UnitError));
    });
}

/// INV-12: nobody is told that it is done before its own commands are.
#[test]
fn of_several_cpus_each_waits_for_its_own() {
    const CPUS: usize = 4;
    queue!(ring, status, unit, queue = entries_for(CPUS), CPUS);
    unit.set(Manner::Thread);
    let stop = AtomicBool::new(false);
    let running = AtomicUsize::new(CPUS);
    let failed = StdMutex::new(None);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                unit.run_now();
                thread::yield_now();
            }
        });
        for cpu in 0..CPUS {
            let (queue, unit, stop, running, failed) = (&queue, &unit, &stop, &running, &failed);
            scope.spawn(move || {
                for step in 0..500 {
                    let own = cpu * 1000 + step;
                    let patience = || {
                        thread::yield_now();
                        true
                    };
                    let told = queue.submit(unit, &[work(own)], patience);
                    if told.is_err() || !unit.has_done(own) {
                        *failed.lock().unwrap() = Some((own, told));
                        break;
                    }
                }
                if running.fetch_sub(1, Ordering::Relaxed) == 1 {
                    stop.store(true, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(*failed.lock().unwrap(), None);
}

/// INV-11: what such a unit has done before it dropped the wait may not have drained, so it does it again.
#[test]
fn a_wait_that_the_unit_drops_is_submitted_again_with_its_commands() {
    queue!(ring, status, unit, queue = 16, 1);
    unit.set(Manner::DropsOneWait);
    queue.submit(&unit, &[work(1), work(2)], endless()).unwrap();
    assert_eq!((unit.done(), unit.cookies().len()), (vec![1, 2, 1, 2], 2));
    queue.submit(&unit, &[work(3)], endless()).unwrap();
    assert_eq!(unit.done(), [1, 2, 1, 2, 3]);
}

#[test]
fn what_is_posted_is_not_waited_for_and_done_before_the_next() {
    queue!(ring, status, unit, queue = 16, 1);
    unit.set(Manner::Thread);
    assert!(queue.post(&unit, &[work(1), work(2)]));
    assert_eq!((unit.done().len(), unit.cookies().len()), (0, 0));
    unit.set(Manner::AtOnce);
    queue.submit(&unit, &[work(3)], looks(9)).unwrap();
    assert_eq!(unit.done(), [1, 2, 3]);
}

/// INV-59: an interrupt that posts may have interrupted somebody who has the lock.
#[test]
fn nothing_is_posted_while_somebody_stores() {
    queue!(ring, status, unit, queue = 16, 1);
    let end = queue.end.lock();
    assert!(!queue.post(&unit, &[work(1)]));
    drop(end);
    assert!(queue.post(&unit, &[work(1)]));
}

#[test]
fn what_has_no_room_is_not_posted() {
    queue!(ring, status, unit, queue = 4, 1);
    unit.set(Manner::Thread);
    let posted: Vec<bool> = (0..5).map(|number| queue.post(&unit, &[work(number)])).collect();
    assert_eq!(posted, [true, true, true, false, false]);
    unit.run_now();
    assert_eq!(unit.done(), [0, 1, 2]);
    unit.set(Manner::Broken);
    assert!(!queue.post(&unit, &[work(1), work(2), work(3)]), "nor where the unit has stopped");
}

#[test]
fn a_queue_that_has_failed_takes_nothing_that_is_posted() {
    queue!(ring, status, unit, queue = 16, 1);
    unit.set(Manner::Never);
    assert_eq!(queue.submit(&unit, &[work(1)], looks(5)), Err(UnitError));
    unit.set(Manner::AtOnce);
    assert!(!queue.post(&unit, &[work(2)]));
}

/// INV-12: cookies go on, so that what the unit wrote before is told from what it writes now.
#[test]
fn after_the_unit_was_switched_off_and_on_both_begin_at_the_first_entry() {
    queue!(ring, status, unit, queue = 16, 2);
    queue.submit(&unit, &[work(1)], looks(9)).unwrap();
    unit.restart();
    queue.restart();
    queue.submit(&unit, &[work(2)], looks(9)).unwrap();
    assert_eq!((unit.done(), unit.cookies()), (vec![1, 2], vec![2, 3]));
    unit.set(Manner::Never);
    assert_eq!(queue.submit(&unit, &[work(3)], looks(5)), Err(UnitError));
    queue.restart();
    assert!(queue.has_failed(), "what failed stays so");
}

/// INV-13: with a smaller one, a CPU would wait for room and might never get it.
#[test]
fn a_ring_in_which_not_every_cpu_finds_room_is_refused() {
    for cpus in 1..20 {
        let (small, enough) = (words(2 * entries_for(cpus) - 1), words(2 * entries_for(cpus)));
        let status = words(cpus);
        let needed = 2 * cpus + 1;
        assert_eq!(Queue::new(&small, &status).err(), Some(RingTooSmall { needed }));
        assert!(Queue::new(&enough, &status).is_ok());
    }
    assert!(Queue::new(&words(512), &[]).is_err(), "nobody could wait");
    assert_eq!(entries_for(usize::MAX), usize::MAX);
}

proptest! {
    /// INV-13: whatever the size of the ring, and wherever its end stands, all CPUs find room for as
    /// much as they may submit at once, before the unit has done anything.
    #[test]
    fn every_cpu_always_finds_room_for_its_share(
        cpus in 1usize..9, more in 0usize..24, before in 0usize..40,
    ) {
        queue!(ring, status, unit, queue = entries_for(cpus) + more, cpus);
        for number in 0..before {
            queue.submit(&unit, &[work(number)], looks(9)).unwrap();
        }
        unit.set(Manner::Never);
        let most: Vec<_> = (0..queue.share - 1).map(work).collect();
        prop_assert!(!most.is_empty());
        for cpu in 0..cpus {
            let wait = queue.put(&unit, &most).unwrap();
            prop_assert!(wait.is_some(), "CPU {cpu} of {cpus} finds no room");
        }
        prop_assert!(queue.put(&unit, &most).unwrap().is_none(), "one CPU more than there are");
        unit.run_now();
        prop_assert_eq!(unit.done().len(), before + cpus * most.len());
    }
}
