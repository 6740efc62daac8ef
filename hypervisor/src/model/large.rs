//! Large leaves: who changes one holds the lock of its table, and nobody else's entry is disturbed.

use super::*;
use crate::table::SplitPaid;

impl Shared {
    /// Maps leaves of two pages at `bfn` and after, to frames from `frame` on.
    pub(super) fn map_leaves(
        &self,
        bfn: u64,
        frame: u64,
        leaves: u64,
        tables: &[u64],
    ) -> Result<u64, Stop> {
        let (mut stash, mut room) = (Stash::new(), FlushRoom::new());
        for table in tables {
            stash.put(Mfn(*table), Pool::Open).unwrap();
        }
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let frames = MfnRange::of_pages(Mfn(frame), leaves * 2).unwrap();
        let run = Run { frames, kind: PageKind::Ram, access: Access::READ };
        let how = (Maker::Guest, SplitPaid::No);
        self.table().map_large(Bfn(bfn), 1, AlikeRuns::from(&run), leaves, how, &mut edit)
    }

    fn frames(&self) -> [Option<u64>; 4] {
        [0, 1, 2, 3].map(|bfn| self.walk(bfn))
    }
}

#[test]
fn loom_one_of_two_large_leaves_at_one_place_goes_in() {
    loom::model(|| {
        let shared = Shared::new(2);
        let (a, b) =
            race(&shared, |s| s.map_leaves(0, 10, 2, &[]), |s| s.map_leaves(2, 20, 1, &[]));
        match (a, b) {
            (Ok(2), Err(Stop::Occupied)) => {
                assert_eq!(shared.frames(), [Some(10), Some(10), Some(12), Some(12)]);
            }
            (Ok(1), Ok(1)) => {
                assert_eq!(shared.frames(), [Some(10), Some(10), Some(20), Some(20)]);
            }
            other => unreachable!("{other:?}"),
        }
    });
}

/// INV-21: the references of a leaf are given back once, however many leaves one lock serves.
#[test]
fn loom_large_leaves_go_once_whoever_takes_them_out() {
    loom::model(|| {
        let shared = Shared::new(2);
        assert_eq!(shared.map_leaves(0, 10, 2, &[]), Ok(2));
        let (a, b) = race(&shared, |s| s.unmap(0, 4), |s| s.unmap(2, 2));
        assert_eq!((a.0, b.0), (a.1, b.1));
        assert_eq!(a.0 + b.0, 4);
        assert_eq!(shared.frames(), [None; 4]);
    });
}

/// A leaf table is linked, and later unlinked, beside leaves that are changed under one lock.
#[test]
fn loom_a_leaf_table_comes_and_goes_beside_large_leaves() {
    loom::model(|| {
        let shared = Shared::new(2);
        (0..MAX_KEPT_TABLES).for_each(|_| shared.beside.kept.keep_anyway());
        let (small, large) = race(
            &shared,
            |s| {
                let mapped = s.map(2, 20, 1, &[1]).0;
                let seen = s.walk(2);
                (mapped, seen, s.unmap(2, 1))
            },
            |s| s.map_leaves(0, 10, 2, &[]),
        );
        match (small, large) {
            // The page had no place beside the second leaf; or the leaf none until the table had gone, if then.
            ((0, Some(12), (0, 0, tables)), Ok(2)) => assert_eq!(tables, []),
            ((1, Some(20), (1, 1, tables)), Ok(1 | 2)) => assert_eq!(tables, [Mfn(1)]),
            other => unreachable!("{other:?}"),
        }
        assert_eq!(shared.walk(0), Some(10));
    });
}

/// The table that both need is linked once, and both find their place in it.
#[test]
fn loom_a_large_leaf_and_a_leaf_table_go_into_one_new_table() {
    loom::model(|| {
        let shared = Shared::new(3);
        let (small, large) =
            race(&shared, |s| s.map(0, 20, 1, &[1, 2]), |s| s.map_leaves(2, 10, 1, &[3]));
        // Both need the table above; who lost that race has his frames back and asks again.
        let small = match small.1 {
            Some(Stop::NeedTables(..)) => shared.map(0, 20, 1, &[1, 2]).0,
            _ => small.0,
        };
        let large = match large {
            Err(Stop::NeedTables(..)) => shared.map_leaves(2, 10, 1, &[]),
            large => large,
        };
        assert_eq!((small, large), (1, Ok(1)));
        assert_eq!(shared.frames(), [Some(20), None, Some(10), Some(10)]);
    });
}
