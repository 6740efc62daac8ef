//! Two CPUs in one table, over a scratch page.

use super::*;

/// Two CPUs map in one region that nobody mapped in: both find the shared table there, one replaces
/// it, and at no instant does a device find anything but a mapping or the scratch page.
#[test]
fn loom_two_maps_replace_a_shared_scratch_table_once() {
    loom::model(|| {
        let shared = Shared::with_scratch(2);
        let map = |bfn: u64, frame: u64, table: u64| {
            move |s: &Shared| {
                let mapped = s.map(bfn, frame, 1, &[table]).0;
                (mapped, s.walk(bfn), s.walk(1 - bfn))
            }
        };
        let (a, b) = race(&shared, map(0, 10, 1), map(1, 20, 2));
        assert_eq!((a.0, a.1, b.0, b.1), (1, Some(10), 1, Some(20)));
        assert!(matches!(a.2, Some(SCRATCH | 20)) && matches!(b.2, Some(SCRATCH | 10)));
        assert_eq!((shared.walk(2), shared.walk(3)), (Some(SCRATCH), Some(SCRATCH)));
        assert_eq!((shared.frame(0), shared.frame(1), shared.frame(2)), (Some(10), Some(20), None));
    });
}

/// INV-72: an unmap puts the scratch page back, whatever a neighbour does.
#[test]
fn loom_an_unmap_restores_scratch_beside_a_map() {
    loom::model(|| {
        let shared = Shared::with_scratch(2);
        assert_eq!(shared.map(0, 10, 1, &[1]).0, 1);
        let (unmapped, mapped) = race(
            &shared,
            |s| (s.unmap(0, 1).1, s.walk(0)),
            |s| (s.map(1, 20, 1, &[2]).0, s.walk(1)),
        );
        assert_eq!((unmapped, mapped), ((1, Some(SCRATCH)), (1, Some(20))));
        assert_eq!(shared.unmap(1, 1).1, 1);
        assert_eq!(shared.walk(1), Some(SCRATCH));
        assert_eq!(shared.beside.kept.count(), 1);
    });
}

/// A shared table is never written, even when two CPUs unlink and replace private ones.
#[test]
fn loom_an_emptied_table_gives_way_to_the_shared_one() {
    loom::model(|| {
        let shared = Shared::with_scratch(2);
        shared.map(0, 10, 1, &[1]);
        (0..MAX_KEPT_TABLES).for_each(|_| shared.beside.kept.keep_anyway());
        let (freed, mapped) = race(
            &shared,
            |s| s.unmap(0, 1).2,
            |s| {
                let _inside = s.gate(1).enter();
                s.map(1, 20, 1, &[2]).0
            },
        );
        assert_eq!(mapped, 1);
        // Either the table was emptied first and replaced, or the map kept it.
        assert!(freed.is_empty() || freed == [Mfn(1)]);
        assert_eq!((shared.walk(0), shared.walk(1)), (Some(SCRATCH), Some(20)));
        assert_eq!((shared.walk(2), shared.walk(3)), (Some(SCRATCH), Some(SCRATCH)));
    });
}
