//! What is mapped is found where it is, at every level and boundary, and nothing beside it.

use std::collections::BTreeSet;

use pviommu_hypervisor::{
    abi::Bfn,
    addr::{Mfn, MfnRange},
    format::{Format, pages_at},
    platform::{Access, PageKind, Run},
    table::{Maker, Mapped, SplitPaid, Stop},
};

use super::rig::Rig;

const RW: Access = Access::all();

/// The first and the last page of an entry of each level, at both ends of the table.
fn corners<F: Format>(rig: &Rig<F>) -> BTreeSet<u64> {
    let top = rig.pages();
    let spans = (0..rig.levels()).map(pages_at::<F>);
    let near = spans.flat_map(|span| [span - 1, span, top - span, (top - span).saturating_sub(1)]);
    near.chain([0, top - 1]).filter(|bfn| *bfn < top).collect()
}

pub(crate) fn pages_at_all_corners_are_found_and_nothing_beside_them<F: Format>(rig: &mut Rig<F>) {
    let corners = corners(rig);
    let frame = |bfn: u64| 0x1000 + bfn % 0xfff;
    for bfn in &corners {
        assert_eq!(rig.map(*bfn, frame(*bfn), 1, Access::READ), (1, None));
    }
    let beside = corners.iter().flat_map(|bfn| [bfn.saturating_sub(1), (bfn + 1) % rig.pages()]);
    for bfn in beside.chain([rig.pages() / 2 + 1]) {
        match corners.contains(&bfn) {
            true => rig.is_mapped(bfn, frame(bfn), Access::READ),
            false => rig.is_vacant(bfn),
        }
    }
    for bfn in &corners {
        rig.is_mapped(*bfn, frame(*bfn), Access::READ);
        assert_eq!(rig.map(*bfn, 1, 1, RW), (0, Some(Stop::Occupied)));
        rig.unmap(*bfn, 1);
        rig.is_vacant(*bfn);
    }
    rig.is_empty();
}

pub(crate) fn leaves_of_all_sizes_are_found_and_go_as_they_came<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        let last = rig.pages() - pages;
        for (access, frame) in [(Access::READ, 0), (Access::WRITE, 3 * pages), (RW, 0x40 * pages)] {
            for bfn in [0, last] {
                rig.map_leaf(bfn, level, frame, access, SplitPaid::No).unwrap();
                for page in [0, 1, pages / 2, pages - 1] {
                    rig.is_mapped(bfn + page, frame + page, access);
                }
                let again = rig.map_leaf(bfn, level, 0, RW, SplitPaid::No);
                assert_eq!(again, Err(Stop::Occupied));
            }
            rig.unmap(0, pages);
            rig.is_vacant(pages / 2);
            rig.unmap(last, pages);
            rig.is_empty();
        }
    }
}

pub(crate) fn runs_of_all_lengths_go_on_in_the_next_table<F: Format>(rig: &mut Rig<F>) {
    let table = pages_at::<F>(1);
    for length in (1..20).chain([table - 1, table, table + 1, 2 * table + 1]) {
        for first in [0, table - 1, table - 9, 3 * table - length % 8] {
            assert_eq!(rig.map(first, 0x7000, length, RW), (length, None));
            for page in [0, length / 2, length - 1] {
                rig.is_mapped(first + page, 0x7000 + page, RW);
            }
            rig.is_vacant(first + length);
            rig.unmap(first, length);
            rig.is_vacant(first + length - 1);
        }
    }
    rig.is_empty();
}

/// INV-30: no page beyond the end is taken for one inside.
pub(crate) fn nothing_is_mapped_beyond_the_table<F: Format>(rig: &mut Rig<F>) {
    let top = rig.pages();
    for bfn in [top, top + 1, 2 * top, u64::MAX >> 12] {
        assert_eq!(rig.map(bfn, 1, 1, RW), (0, Some(Stop::BadTable)));
    }
    assert_eq!(rig.map(top - 1, 0x77, 2, RW), (1, Some(Stop::BadTable)));
    rig.is_mapped(top - 1, 0x77, RW);
    rig.is_vacant(0);
    rig.unmap(top - 1, 1);
    rig.is_empty();
}

pub(crate) fn a_map_says_what_it_ended_at<F: Format>(rig: &mut Rig<F>) {
    assert_eq!(rig.map(3, 0x33, 1, RW), (1, None));
    let frames = MfnRange::of_pages(Mfn(0x10), 5).unwrap();
    let run = Run { frames, kind: PageKind::Ram, access: RW };
    let map =
        |at| rig.once(0, |table, edit| table.map(Bfn(at), (&run).into(), 5, Maker::HostMap, edit));
    let stop = Some(Stop::Occupied);
    assert_eq!(map(3), Mapped { pages: 0, stop });
    rig.unmap(3, 1);
    assert_eq!(rig.map(9, 0x39, 1, RW), (1, None));
    assert_eq!(map(6), Mapped { pages: 3, stop });
    rig.unmap(6, 4);
    rig.is_empty();
}
