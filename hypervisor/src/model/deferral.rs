//! A removal that waits for its flush, and a map at the same place.

use super::*;
use crate::{context::Deferred, platform::Runs};

/// A map that took the place of a page whose flush is still to come knows that it has to flush:
/// else its device would go on with the old page after the map had returned.
#[test]
fn loom_a_map_over_a_removal_that_waits_sees_that_it_waits() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 2, &[1]);
        let deferred = Arc::new(Deferred::new());
        for frame in [2, 3] {
            deferred.lock().add_room(&shared.arena, Mfn(frame));
        }
        let waiting = Arc::clone(&deferred);
        let page = BfnRange::single(Bfn(0));
        let unmap = move |s: &Shared| {
            let record = waiting.begin(&s.arena, page);
            let unmapped = s.unmap(0, 1).0;
            drop(record);
            unmapped
        };
        let (unmapped, flushes) = race(&shared, unmap, |s| {
            let mapped = s.map(0, 20, 1, &[]).0 == 1;
            mapped.then(|| deferred.is_active() && deferred.lock().may_hold(&s.arena, page))
        });
        assert_eq!(unmapped, 1);
        assert!(flushes != Some(false), "mapped before the flush, and does not know");
    });
}

/// Frames with room for one run each.
struct Wide([[AtomicU64; 3]; 2]);

// SAFETY: `table` is the same memory for ever, and nothing is handed out.
unsafe impl TableFrames for Wide {
    fn alloc(&self, _: DomId, _: Pool) -> Option<Mfn> {
        None
    }

    fn free(&self, _: DomId, _: Mfn, _: Pool) {}

    fn reserve(&self, _: DomId, _: u32) -> bool {
        false
    }

    fn unreserve(&self, _: DomId, _: u32) {}

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        &self.0[usize::try_from(frame.0).unwrap()]
    }

    fn first_table(&self, _: MfnRange) -> Option<Mfn> {
        None
    }
}

/// Flushes what waits, and takes what may be given back; how many pages that is.
fn end_wait(deferred: &Deferred, frames: &Wide) -> u64 {
    if !deferred.is_active() {
        return 0;
    }
    {
        let mut record = deferred.lock();
        if record.span().is_some() {
            record.flushed(frames);
        }
        deferred.settle(&record);
    }
    let mut record = deferred.lock();
    let popped = record.take_ready(frames);
    deferred.settle(&record);
    popped.and_then(|it| it.run).map_or(0, |run| run.frames.pages())
}

/// INV-21: what waited is given back once, whoever flushes and whoever comes for it.
#[test]
fn loom_what_waited_is_given_back_once() {
    loom::model(|| {
        let zeroed = |_| core::array::from_fn(|_| AtomicU64::new(0));
        let shared = Arc::new((Deferred::new(), Wide(core::array::from_fn(zeroed))));
        let (deferred, frames) = &*shared;
        for frame in [0, 1] {
            deferred.lock().add_room(frames, Mfn(frame));
        }
        let page = BfnRange::single(Bfn(0));
        let mut runs = Runs::new();
        let run =
            Run { frames: MfnRange::single(Mfn(10)), kind: PageKind::Ram, access: Access::READ };
        runs.push(run).unwrap();
        let mut record = deferred.begin(frames, page);
        record.add(frames, page, &runs);
        deferred.settle(&record);
        drop(record);
        let other = Arc::clone(&shared);
        let handle = thread::spawn(move || end_wait(&other.0, &other.1));
        let here = end_wait(deferred, frames);
        assert_eq!(handle.join().unwrap() + here, 1);
        assert!(!deferred.is_active());
    });
}
