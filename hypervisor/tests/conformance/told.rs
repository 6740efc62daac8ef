//! What units are told of a change: as little as it allows, and nothing less.

use pviommu_hypervisor::{
    abi::Bfn,
    addr::BfnRange,
    format::{Format, pages_at},
    platform::{Access, Invalidation},
    table::{Paint, SplitPaid},
};

use super::rig::Rig;

const RW: Access = Access::READ.union(Access::WRITE);

/// INV-04: over a scratch page what a unit may have cached goes, as far up as it changed; over nothing, units are told
/// what was added.
pub(crate) fn a_map_over_scratch_is_flushed_as_far_up_as_it_changed<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    let told = |rig: &Rig<F>, first, pages, flushed: fn(BfnRange) -> Invalidation| {
        let range = BfnRange::of_pages(Bfn(first), pages).unwrap();
        let expected = match rig.has_scratch() {
            true => (Some(flushed(range)), None),
            false => (None, Some(range)),
        };
        assert_eq!(rig.told(), expected, "{:?}", rig.kind);
    };
    assert_eq!(rig.map(0, 1, 1, RW), (1, None));
    assert_eq!(rig.map(5, 6, 2, RW), (2, None));
    told(rig, 5, 2, Invalidation::Leaves);
    assert_eq!(rig.map_singles(&[(9, 1), (8, 3)], RW), [true; 2]);
    told(rig, 8, 2, Invalidation::Leaves);
    if *rig.leaf_levels().end() > 0 {
        rig.map_leaf(3 * table, 1, 0, RW, SplitPaid::No).unwrap();
        told(rig, 3 * table, table, Invalidation::Tables);
        rig.unmap(3 * table, table);
    }
    for bfn in [0, 5, 6, 8, 9] {
        rig.unmap(bfn, 1);
    }
    rig.is_empty();
}

pub(crate) fn a_page_that_is_blocked_is_flushed_as_a_leaf<F: Format>(rig: &mut Rig<F>) {
    assert_eq!(rig.fill(5, 5, 2, 2), Ok(()));
    rig.paint(5, 5, Paint::Blocked);
    let page = BfnRange::single(Bfn(5));
    assert_eq!(rig.told(), (Some(Invalidation::Leaves(page)), None), "{:?}", rig.kind);
    rig.paint(5, 5, Paint::Vacant);
    rig.unmap(6, 1);
    rig.is_empty();
}

/// Each takes a table out with it.
pub(crate) fn what_there_is_no_room_for_is_left_until_after_the_flush<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    let mut left: Vec<u64> = (0..40).map(|n| n * table).collect();
    for bfn in &left {
        assert_eq!(rig.map(*bfn, 1, 1, RW), (1, None));
    }
    while !left.is_empty() {
        let done = rig.unmap_singles(&left);
        assert!(done[0], "{:?}", rig.kind);
        left = left.into_iter().zip(done).filter(|(_, done)| !done).map(|(bfn, _)| bfn).collect();
        left.iter().for_each(|bfn| rig.is_mapped(*bfn, 1, RW));
    }
    rig.is_empty();
}
