//! Passes over a whole table, piece by piece.

use pviommu_hypervisor::{
    format::{Format, pages_at},
    platform::Access,
    table::{Cursor, Paint, Prune, Pruned, SplitPaid},
};

use super::rig::{Rig, pieces};

const RW: Access = Access::READ.union(Access::WRITE);

/// INV-30: a table is not empty in which anything is blocked.
pub(crate) fn what_is_blocked_stays_when_empty_tables_go<F: Format>(rig: &mut Rig<F>) {
    for level in 0..rig.levels() - 1 {
        let pages = pages_at::<F>(level);
        rig.paint(pages, 2 * pages - 1, Paint::Blocked);
        pieces(|from| rig.prune(Prune::EmptyTables, from, u64::MAX));
        assert_eq!(rig.device(pages), None, "{:?}", rig.kind);
        rig.is_vacant(0);
        rig.paint(pages, 2 * pages - 1, Paint::Vacant);
        rig.is_empty();
    }
}

/// Wherever a piece goes on, also behind the only thing in a table.
pub(crate) fn a_piece_takes_no_table_with_what_is_before_it<F: Format>(rig: &mut Rig<F>) {
    assert_eq!(rig.map(0, 7, 1, RW), (1, None));
    for level in 0..rig.levels() - 1 {
        let pruned = rig.prune(Prune::EmptyTables, Cursor(pages_at::<F>(level)), u64::MAX);
        assert_eq!(pruned, Pruned::Finished);
        rig.is_mapped(0, 7, RW);
    }
    rig.unmap(0, 1);
    rig.is_empty();
}

pub(crate) fn a_piece_takes_out_no_more_pages_than_it_may<F: Format>(rig: &mut Rig<F>) {
    assert_eq!(rig.map(1, 0x10, 5, RW), (5, None));
    assert_eq!(rig.prune(Prune::Everything, Cursor::default(), 2), Pruned::More(Cursor(3)));
    rig.is_vacant(2);
    rig.is_mapped(3, 0x12, RW);
    pieces(|from| rig.prune(Prune::Everything, from, 2));
    rig.is_empty();
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        for n in 0..3 {
            rig.map_leaf(n * pages, level, n * pages, RW, SplitPaid::Yes).unwrap();
        }
        let pruned = rig.prune(Prune::Everything, Cursor::default(), 1);
        assert_eq!(pruned, Pruned::More(Cursor(pages)));
        rig.is_vacant(0);
        rig.is_mapped(pages, pages, RW);
        pieces(|from| rig.prune(Prune::Everything, from, 1));
        rig.is_empty();
    }
}

/// What is in a leaf table is known without a look at its pages: else each would be a large part of a piece.
pub(crate) fn a_pass_for_empty_tables_looks_at_no_pages<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    for n in 0..40 {
        assert_eq!(rig.map(n * table, n, 1, RW), (1, None));
    }
    let pruned = rig.prune(Prune::EmptyTables, Cursor::default(), u64::MAX);
    assert_eq!(pruned, Pruned::Finished);
    for n in 0..40 {
        rig.is_mapped(n * table, n, RW);
        rig.unmap(n * table, 1);
    }
    rig.is_empty();
}
