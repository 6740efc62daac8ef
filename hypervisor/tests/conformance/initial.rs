//! The map that a domain starts with, and what takes its place.

use pviommu_hypervisor::{
    abi::Bfn,
    addr::{BfnRange, Mfn, MfnRange},
    format::{Format, pages_at},
    platform::{Access, PageKind, Pool, Run},
    table::{Filled, Maker, Paint, SplitPaid, Stop},
};

use super::rig::Rig;

const RW: Access = Access::READ.union(Access::WRITE);

pub(crate) fn no_larger_leaf_is_filled_in_than_frames_are_aligned_to<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    for (first, mfn) in [(table, 3), (3, table), (table + 1, table + 2)] {
        assert_eq!(rig.fill(first, mfn, table + 9, u64::MAX), Ok(()));
        for page in [0, table, table + 8] {
            rig.is_mapped(first + page, mfn + page, RW);
            assert_eq!(rig.leaf_of(first + page), 1);
        }
        rig.unmap(first, table + 9);
        rig.is_empty();
    }
}

/// However many are at hand.
pub(crate) fn filling_links_no_table_for_what_comes_after<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    let before = rig.arena.live();
    let frames = MfnRange::of_pages(Mfn(1), 2 * table).unwrap();
    let run = Run { frames, kind: PageKind::Ram, access: RW };
    let filled = rig.once(10, |here, edit| here.fill(Bfn(0), &run, Maker::HostMap, table, edit));
    assert_eq!(filled, Ok(Filled { pages: table, leaves: table }));
    assert_eq!(rig.arena.live() - before, usize::from(rig.levels()) - 1, "{:?}", rig.kind);
    rig.unmap(0, table);
    rig.is_empty();
}

/// But not of its own.
pub(crate) fn a_guests_leaf_takes_the_place_of_one_it_started_with<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        // The same size, and parts.
        for part in 1..=level {
            let (size, frame) = (pages_at::<F>(part), 0x40 * pages);
            let at = pages - size;
            assert_eq!(rig.fill(0, 0, pages, 1), Ok(()));
            assert_eq!(rig.map_leaf(at, part, frame, Access::READ, SplitPaid::No), Ok(()));
            rig.is_mapped(pages - 1, frame + size - 1, Access::READ);
            if at > 0 {
                rig.is_mapped(at - 1, at - 1, RW);
            }
            let again = rig.map_leaf(at, part, frame, RW, SplitPaid::No);
            assert_eq!(again, Err(Stop::Occupied));
            rig.unmap(0, pages);
            rig.is_empty();

            rig.map_leaf(0, level, frame, RW, SplitPaid::No).unwrap();
            assert_eq!(rig.map_leaf(at, part, 0, RW, SplitPaid::No), Err(Stop::Occupied));
            assert_eq!(rig.leaf_of(at), pages, "it is not split for nothing");
            rig.unmap(0, pages);
            rig.is_empty();
        }
    }
}

pub(crate) fn a_part_that_is_blocked_takes_only_what_was_paid_for<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        rig.map_leaf_for(Maker::GuestMap, 0, level, 0, RW, SplitPaid::Yes).unwrap();
        let part = BfnRange::new(Bfn(1), Bfn(2)).unwrap();
        let painted = rig.once(0, |table, edit| table.paint(part, Paint::Blocked, edit));
        assert_eq!(painted, Err(Stop::NeedTables(1, Pool::Reserved)));
        rig.is_mapped(1, 1, RW);
        rig.paint(1, 2, Paint::Blocked);
        assert_eq!(rig.device(2), None);
        rig.is_mapped(3, 3, RW);
        rig.unmap(0, 1);
        rig.unmap(3, pages - 3);
        rig.paint(1, 2, Paint::Vacant);
        rig.is_empty();
    }
}
