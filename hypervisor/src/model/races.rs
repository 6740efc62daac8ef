//! Two CPUs in one table, over a background that faults.

use super::*;

#[test]
fn loom_one_of_two_maps_of_one_page_wins() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(1, 9, 1, &[1]);
        let (a, b) = race(&shared, |s| s.map(0, 10, 1, &[]).0, |s| s.map(0, 20, 1, &[]).0);
        assert_eq!(a + b, 1);
        assert_eq!(shared.frame(0), Some(if a == 1 { 10 } else { 20 }));
        assert_eq!(shared.frame(1), Some(9));
    });
}

/// INV-21: the reference of a page is given back once.
#[test]
fn loom_one_of_two_unmaps_of_one_page_gets_its_reference() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 2, &[1]);
        let (a, b) = race(&shared, |s| s.unmap(0, 1), |s| s.unmap(0, 1));
        assert_eq!((a.0 + b.0, a.1 + b.1), (1, 1));
        assert_eq!((shared.frame(0), shared.frame(1)), (None, Some(11)));
    });
}

#[test]
fn loom_a_map_and_an_unmap_in_one_leaf_table_do_not_disturb_each_other() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 1, &[1]);
        let (mapped, unmapped) = race(&shared, |s| s.map(1, 20, 1, &[]).0, |s| s.unmap(0, 1));
        assert_eq!((mapped, unmapped.0, unmapped.1), (1, 1, 1));
        assert_eq!((shared.frame(0), shared.frame(1)), (None, Some(20)));
        assert_eq!(shared.beside.kept.count(), 0);
        // The record still names an entry that is present: unmapping it empties the table.
        assert_eq!(shared.unmap(1, 1).1, 1);
        assert_eq!(shared.beside.kept.count(), 1);
    });
}

/// INV-21: the same where a lock is held for several pages.
#[test]
fn loom_single_pages_go_once_and_come_once_whoever_has_the_lock() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 2, &[1]);
        let (a, b) = race(&shared, |s| s.unmap_singles(&[0, 1]), |s| s.unmap(0, 1));
        // Who finds the lock taken by another leaves all pages to a call that waits.
        let gone = [0, 1].map(|bfn| u64::from(shared.frame(bfn).is_none()));
        assert_eq!(a.0 + b.0, gone[0] + gone[1]);
        assert_eq!((a.0, b.0), (a.1, b.1));
        let kept = shared.beside.kept.count();
        assert_eq!(kept, u32::from(a.0 + b.0 == 2));
    });
}

#[test]
fn loom_a_table_that_was_empty_is_filled_by_one_lock_beside_another() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 1, &[1]);
        shared.unmap(0, 1);
        assert_eq!(shared.beside.kept.count(), 1);
        let (a, b) = race(&shared, |s| s.map_singles(&[0, 1], 20), |s| s.map(1, 30, 1, &[]).0);
        let there = [0, 1].map(|bfn| shared.frame(bfn));
        // Who finds the lock taken by another leaves a page to a call that waits.
        assert_eq!(a + b, there.iter().flatten().count() as u64);
        assert!(there[1] == Some(if b == 1 { 30 } else { 21 }), "{a} {b} {there:?}");
        assert_eq!(shared.beside.kept.count(), 0);
    });
}

#[test]
fn loom_tables_for_neighbours_are_linked_once() {
    loom::model(|| {
        let shared = Shared::new(3);
        let (a, b) = race(&shared, |s| s.map(0, 10, 1, &[1, 2]), |s| s.map(2, 20, 1, &[3, 4]));
        // Who lost a race has its frames back and may ask again.
        for (bfn, frame, (pages, stop, mut stash)) in [(0, 10, a), (2, 20, b)] {
            if pages == 0 {
                assert_eq!(stop, Some(Stop::NeedTables(2, Pool::Open)));
                let mut left = Vec::new();
                while let Some(frame) = stash.take(Pool::Open) {
                    left.push(frame.0);
                }
                assert_eq!(left.len(), 2);
                assert_eq!(shared.map(bfn, frame, 1, &left).0, 1);
            }
        }
        assert_eq!((shared.frame(0), shared.frame(2)), (Some(10), Some(20)));
        assert_eq!((shared.frame(1), shared.frame(3)), (None, None));
    });
}

/// INV-07: a leaf table is freed only after every CPU that may read it has left.
#[test]
fn loom_a_freed_leaf_table_is_not_read_from_inside() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 1, &[1]);
        (0..MAX_KEPT_TABLES).for_each(|_| shared.beside.kept.keep_anyway());
        let reader = |s: &Shared| {
            let _inside = s.gate(0).enter();
            s.frame(0)
        };
        let (seen, ()) = race(&shared, reader, |s| {
            let inside = s.gate(1).enter();
            let (_, _, tables) = s.unmap(0, 1);
            drop(inside);
            assert_eq!(tables, [Mfn(1)]);
            s.gate(1).wait_for_others();
            s.arena.free(DomId(1), Mfn(1), Pool::Open);
        });
        assert!(matches!(seen, None | Some(10)), "read a freed table: {seen:x?}");
    });
}

/// A pass that needs the table for itself has it: what it unlinks, nobody fills meanwhile.
#[test]
fn loom_a_trim_does_not_lose_a_map() {
    loom::model(|| {
        let shared = Shared::new(2);
        let context = Arc::new(Context::new());
        let frames = BfnRange::new(Bfn(0), Bfn(3)).unwrap();
        context.set_up(TableRoot { frame: Mfn(0), levels: 2 }, frames);
        context.open();
        shared.map(0, 10, 1, &[1]);
        shared.unmap(0, 1);
        assert_eq!(shared.beside.kept.count(), 1);
        let epoch = context.facts().epoch;
        let mapper = Arc::clone(&context);
        let map = move |s: &Shared| match mapper.enter(s.gate(0), epoch) {
            Ok(_inside) => Some(s.map(0, 20, 1, &[2]).0),
            Err(_) => None,
        };
        let (mapped, ()) = race(&shared, map, |s| {
            let mut room = FlushRoom::new();
            let mut pending = PendingFlush::new(&mut room);
            context.exclusively(s.gate(1), || {
                let _ = s.table().prune(Prune::EmptyTables, Cursor::default(), 256, &mut pending);
            });
            let (_, tables) = complete(pending);
            s.gate(1).wait_for_others();
            for table in tables {
                s.arena.free(DomId(1), table, Pool::Open);
            }
        });
        match mapped {
            Some(pages) => assert_eq!((pages, shared.frame(0)), (1, Some(20))),
            None => assert_eq!(shared.frame(0), None),
        }
        assert_eq!(shared.beside.kept.count(), 0);
    });
}
