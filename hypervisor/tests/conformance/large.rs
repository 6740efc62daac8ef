//! Many leaves by one call.

use pviommu_hypervisor::{
    format::{Format, pages_at},
    platform::Access,
    table::Stop,
};

use super::rig::Rig;

const RW: Access = Access::READ.union(Access::WRITE);

pub(crate) fn leaves_of_one_call_end_with_their_table_and_at_what_is_in_the_way<F: Format>(
    rig: &mut Rig<F>,
) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        let first = ((1 << F::INDEX_BITS) - 3) * pages;
        // None follows the one before.
        let frames = [0x40, 0x30, 0x20, 0x10].map(|n| n * pages);
        assert_eq!(rig.map_leaves(first, level, &frames), Ok(3));
        for (n, frame) in (0..3).zip(frames) {
            for page in [0, pages - 1] {
                rig.is_mapped(first + n * pages + page, frame + page, RW);
            }
        }
        assert_eq!(rig.map_leaves(first, level, &frames), Err(Stop::Occupied));
        assert_eq!(rig.map_leaves(first - pages, level, &frames), Ok(1));
        rig.is_vacant(first - pages - 1);
        rig.unmap(first - pages, 4 * pages);
        rig.is_vacant(first);
        rig.is_empty();
    }
}

pub(crate) fn a_run_is_filled_with_the_largest_leaves_that_fit<F: Format>(rig: &mut Rig<F>) {
    let (small, largest) = (pages_at::<F>(1), pages_at::<F>(*rig.leaf_levels().end()));
    // From shortly before the end of a leaf of the largest size, over one, to a little into the next but one.
    let first = largest - 5;
    let pages = 5 + largest + small + 7;
    // In pieces, frames with the same numbers.
    assert_eq!(rig.fill(first, first, pages, 100), Ok(()));
    for (page, leaf) in [(0, 1), (5, largest), (5 + largest, small), (pages - 1, 1)] {
        rig.is_mapped(first + page, first + page, RW);
        assert_eq!(rig.leaf_of(first + page), leaf, "page {page} of {:?}", rig.kind);
    }
    rig.is_vacant(first - 1);
    rig.is_vacant(first + pages);
    rig.unmap(first, pages);
    rig.is_empty();

    assert_eq!(rig.map(first + 3, 0x40, 1, RW), (1, None));
    assert_eq!(rig.fill(first, first, pages, 100), Err(Stop::Occupied));
    rig.is_mapped(first + 2, first + 2, RW);
    rig.is_mapped(first + 3, 0x40, RW);
    rig.is_vacant(first + 4);
    rig.unmap(first, 4);
    rig.is_empty();
}

pub(crate) fn leaves_that_follow_each_other_go_by_one_call<F: Format>(rig: &mut Rig<F>) {
    if *rig.leaf_levels().end() == 0 {
        return;
    }
    let pages = pages_at::<F>(1);
    let frames = [3, 1, 2].map(|n| n * pages);
    assert_eq!(rig.map_leaves(pages, 1, &frames), Ok(3));
    assert_eq!(rig.unmap_once(pages, 2 * pages), (2 * pages, None));
    rig.is_vacant(2 * pages);
    rig.is_mapped(3 * pages, 2 * pages, RW);
    assert_eq!(rig.unmap_once(3 * pages, 9 * pages), (pages, None));
    rig.is_empty();
}

/// Also if more pages are to go than it has.
pub(crate) fn what_is_before_an_unmap_in_its_leaf_stays<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        assert_eq!(rig.map_leaves(0, level, &[3 * pages, pages]), Ok(2));
        rig.unmap(1, 2 * pages - 1);
        rig.is_mapped(0, 3 * pages, RW);
        rig.is_vacant(1);
        rig.is_vacant(2 * pages - 1);
        rig.unmap(0, 1);
        rig.is_empty();
    }
}
