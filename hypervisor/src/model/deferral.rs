//! A removal that waits for its flush, and a map at the same place.

use super::*;
use crate::context::Deferred;

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

/// INV-21: what waited is given back once, whoever flushes and whoever comes for it.
#[test]
fn loom_what_waited_is_given_back_once() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 2, &[1]);
        let deferred = Arc::new(Deferred::new());
        for frame in [2, 3] {
            deferred.lock().add_room(&shared.arena, Mfn(frame));
        }
        {
            let page = BfnRange::single(Bfn(0));
            let mut record = deferred.begin(&shared.arena, page);
            let mut runs = crate::platform::Runs::new();
            let frames = MfnRange::single(Mfn(10));
            runs.push(Run { frames, kind: PageKind::Ram, access: Access::READ }).unwrap();
            record.add(&shared.arena, page, &runs);
            deferred.settle(&record);
        }
        let end = |deferred: &Deferred, s: &Shared| {
            if !deferred.is_active() {
                return 0;
            }
            let mut record = deferred.lock();
            if record.span().is_some() {
                record.flushed(&s.arena);
            }
            deferred.settle(&record);
            drop(record);
            let popped = deferred.lock().take_ready(&s.arena);
            deferred.settle(&deferred.lock());
            popped.and_then(|it| it.run).map_or(0, |run| run.frames.pages())
        };
        let other = Arc::clone(&deferred);
        let (a, b) = race(&shared, move |s| end(&other, s), |s| end(&deferred, s));
        assert_eq!(a + b, 1);
        assert!(!deferred.is_active());
    });
}
