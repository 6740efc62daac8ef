//! Single pages that are mapped and unmapped with the leaf table of the last one locked.

use pviommu_hypervisor::{
    format::{Format, pages_at},
    platform::Access,
    table::SplitPaid,
};

use super::rig::Rig;

const RW: Access = Access::READ.union(Access::WRITE);

/// Pages of two leaf tables, in turns.
pub(crate) fn single_pages_are_mapped_where_tables_are_and_go_as_they_came<F: Format>(
    rig: &mut Rig<F>,
) {
    let table = pages_at::<F>(1);
    let pages: Vec<(u64, u64)> = (0..12).map(|n| (n % 2 * table + n * 7 % 13, 90 - n)).collect();
    let bfns: Vec<u64> = pages.iter().map(|(bfn, _)| *bfn).collect();
    assert_eq!(rig.map_singles(&pages[..2], RW), [false; 2], "there are no tables yet");
    for start in [0, table] {
        assert_eq!(rig.map(start + 20, 1, 1, RW), (1, None));
    }
    for access in [RW, Access::READ] {
        assert_eq!(rig.map_singles(&pages, access), [true; 12]);
        assert_eq!(rig.map_singles(&pages, access), [false; 12], "they are mapped already");
        for (bfn, mfn) in &pages {
            rig.is_mapped(*bfn, *mfn, access);
        }
        assert_eq!(rig.unmap_singles(&bfns), [true; 12]);
        assert_eq!(rig.unmap_singles(&bfns), [false; 12], "they are mapped no more");
        bfns.iter().for_each(|bfn| rig.is_vacant(*bfn));
    }
    // The last pages of their tables go, and come back while it is locked.
    assert_eq!(rig.unmap_singles(&[20, table + 20]), [true; 2]);
    assert_eq!(rig.map_singles(&[(20, 5), (21, 6)], RW), [true; 2]);
    assert_eq!(rig.unmap_singles(&[20, 21]), [true; 2]);
    rig.is_empty();
}

pub(crate) fn single_pages_are_left_alone_where_anything_is_unusual<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    assert_eq!(rig.map(0, 1, 1, RW), (1, None));
    if *rig.leaf_levels().end() > 0 {
        assert_eq!(rig.map_leaf(table, 1, 2 * table, RW, SplitPaid::No), Ok(()));
        assert_eq!(rig.unmap_singles(&[table, table + 1]), [false; 2]);
        assert_eq!(rig.map_singles(&[(table, 1)], RW), [false]);
        rig.is_mapped(table + 1, 2 * table + 1, RW);
        rig.unmap(table, table);
    }
    let beyond = rig.pages();
    assert_eq!(rig.map_singles(&[(beyond, 1), (1, 2), (beyond - 1, 1)], RW), [false, true, false]);
    rig.is_mapped(1, 2, RW);
    assert_eq!(rig.unmap_singles(&[beyond, 1, beyond - 1, 0]), [false, true, false, true]);
    rig.is_empty();
}
