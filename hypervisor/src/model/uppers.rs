//! Tables above the leaf tables are unlinked on one CPU while the other works in them.

use super::*;

impl Shared {
    /// Unmaps `pages` pages at `bfn` and frees the tables that went, when nobody is inside any more: pages, and tables.
    fn unmap_and_free(&self, cpu: usize, bfn: u64, pages: u64) -> (u64, usize) {
        let inside = self.gate(cpu).enter();
        let (unmapped, _, tables) = self.unmap(bfn, pages);
        drop(inside);
        if !tables.is_empty() {
            self.gate(cpu).wait_for_others();
        }
        tables.iter().for_each(|table| self.arena.free(DomId(1), *table, Pool::Open));
        (unmapped, tables.len())
    }

    /// No table that becomes empty may stay.
    fn keep_none(&self) {
        (0..MAX_KEPT_TABLES).for_each(|_| self.beside.kept.keep_anyway());
    }
}

/// Maps at 2, in the table that the page at 0 is the last one in, while that page goes.
fn map_beside_the_last_page(shared: &Arc<Shared>, background: Option<u64>) {
    assert_eq!(shared.map(0, 10, 1, &[1, 2]).0, 1);
    shared.keep_none();
    let map = |s: &Shared| {
        let _inside = s.gate(1).enter();
        let (mut pages, _, mut stash) = s.map(2, 20, 1, &[3, 6]);
        if pages == 0 {
            // A table that it had found was unlinked; who lost a race has its frames back.
            let left: Vec<u64> =
                core::iter::from_fn(|| stash.take(Pool::Open)).map(|it| it.0).collect();
            pages = s.map(2, 20, 1, &left).0;
        }
        (pages, s.walk(2), s.walk(3))
    };
    let ((unmapped, freed), mapped) = race(shared, |s| s.unmap_and_free(0, 0, 1), map);
    assert_eq!((unmapped, mapped), (1, (1, Some(20), background)));
    assert!(
        matches!(freed, 1 | 2),
        "the leaf table, and the one above if it was the last: {freed}"
    );
    assert_eq!(
        [0, 1, 2, 3].map(|bfn| shared.walk(bfn)),
        [background, background, Some(20), background]
    );
    assert_eq!(shared.unmap(2, 1).2.len(), 2, "with the one above");
    assert_eq!([0, 2, 4].map(|bfn| shared.walk(bfn)), [background; 3]);
}

#[test]
fn loom_a_map_is_not_lost_in_an_upper_table_that_goes() {
    loom::model(|| map_beside_the_last_page(&Shared::new(3), None));
}

#[test]
fn loom_an_upper_table_gives_way_to_the_shared_one_or_to_a_map() {
    loom::model(|| map_beside_the_last_page(&Shared::with_scratch(3), Some(SCRATCH)));
}

#[test]
fn loom_the_last_of_two_tables_takes_the_one_above_along() {
    loom::model(|| {
        let shared = Shared::new(3);
        assert_eq!(shared.map(0, 10, 1, &[1, 2]).0, 1);
        assert_eq!(shared.map(2, 20, 1, &[3]).0, 1);
        shared.keep_none();
        let (a, b) = race(&shared, |s| s.unmap(0, 1), |s| s.unmap(2, 1));
        assert_eq!((a.0, b.0), (1, 1));
        let mut tables: Vec<u64> = a.2.iter().chain(&b.2).map(|it| it.0).collect();
        tables.sort_unstable();
        assert_eq!(tables, [1, 2, 3]);
        assert_eq!(shared.arena.table(Mfn(0))[0].load(Ordering::Relaxed), Tiny::EMPTY);
    });
}

/// INV-07: who walked to an upper table may go on to walk it.
#[test]
fn loom_a_freed_upper_table_is_not_read_from_inside() {
    loom::model(|| {
        let shared = Shared::new(3);
        assert_eq!(shared.map(0, 10, 1, &[1, 2]).0, 1);
        shared.keep_none();
        let reader = |s: &Shared| {
            let _inside = s.gate(1).enter();
            s.frame(0)
        };
        let (gone, seen) = race(&shared, |s| s.unmap_and_free(0, 0, 1), reader);
        assert_eq!(gone, (1, 2));
        assert!(matches!(seen, None | Some(10)), "read a freed table: {seen:x?}");
    });
}

/// A large leaf is put into a table while the last leaf table of it goes.
#[test]
fn loom_a_large_leaf_is_not_lost_in_an_upper_table_that_goes() {
    loom::model(|| {
        let shared = Shared::new(3);
        assert_eq!(shared.map(0, 10, 1, &[1, 2]).0, 1);
        shared.keep_none();
        let map = |s: &Shared| {
            let _inside = s.gate(1).enter();
            match s.map_leaves(2, 20, 1, &[3]) {
                Err(Stop::NeedTables(..)) => s.map_leaves(2, 20, 1, &[3]),
                mapped => mapped,
            }
        };
        let (gone, mapped) = race(&shared, |s| s.unmap_and_free(0, 0, 1), map);
        assert_eq!((gone.0, mapped), (1, Ok(1)));
        assert_eq!([0, 1, 2].map(|bfn| shared.walk(bfn)), [None, None, Some(20)]);
        assert_eq!(shared.unmap(2, 2).2.len(), 1, "the upper table, with its last leaf");
    });
}

/// The table that a large leaf was the last one in is kept, and counted as long as nothing is put into it.
#[test]
fn loom_a_kept_upper_table_is_counted_until_it_is_used() {
    loom::model(|| {
        let shared = Shared::new(3);
        assert_eq!(shared.map_leaves(0, 10, 1, &[1]), Ok(1));
        let (gone, mapped) = race(&shared, |s| s.unmap(0, 2), |s| s.map_leaves(2, 20, 1, &[]));
        assert_eq!((gone.0, gone.2.len(), mapped), (2, 0, Ok(1)));
        assert_eq!([0, 2].map(|bfn| shared.walk(bfn)), [None, Some(20)]);
        assert_eq!(shared.beside.kept.count(), 0);
        assert_eq!(shared.unmap(2, 2).0, 2);
        assert_eq!(shared.beside.kept.count(), 1);
        assert_eq!(shared.map(0, 30, 1, &[2]).0, 1);
        assert_eq!(shared.beside.kept.count(), 0);
    });
}
