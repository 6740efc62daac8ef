//! What is there without a guest having mapped it: the scratch page, blocked and direct ranges.

use std::{cell::Cell, rc::Rc};

use pviommu_hypervisor::{
    abi::Bfn,
    addr::{BfnRange, Mfn},
    format::{Format, pages_at},
    platform::Access,
    table::{Paint, Stop},
};

use super::rig::Rig;

const RW: Access = Access::all();
/// Width of the frame numbers of every format.
const FRAME_BITS: u32 = 36;

/// Ranges that begin and end within pages of all sizes, and ones that fill such.
fn ranges<F: Format>(rig: &Rig<F>) -> Vec<(u64, u64)> {
    let top = rig.pages();
    let spans = (1..rig.levels()).map(pages_at::<F>);
    let around = spans.flat_map(|span| [(span - 2, span + 1), (span, 2 * span - 1)]);
    let ends = [(0, 0), (5, 9), (top - 3, top - 1)];
    around.chain(ends).filter(|(_, last)| *last < top).collect()
}

/// INV-30: and vacant again afterwards, with no table left.
pub(crate) fn a_blocked_range_is_not_present_and_not_mapped<F: Format>(rig: &mut Rig<F>) {
    for (first, last) in ranges(rig) {
        rig.paint(first, last, Paint::Blocked);
        for bfn in [first, first.midpoint(last), last] {
            assert_eq!(rig.device(bfn), None, "{bfn:#x} of {first:#x}..={last:#x}");
            // Without a scratch page nothing tells blocked from vacant here: policy refuses.
            if rig.has_scratch() {
                assert_eq!(rig.map(bfn, 1, 1, RW), (0, Some(Stop::Occupied)));
            }
        }
        let beside = [first.wrapping_sub(1), last + 1];
        for bfn in beside.into_iter().filter(|bfn| *bfn < rig.pages()) {
            rig.is_vacant(bfn);
        }
        let middle = first.midpoint(last);
        rig.paint(middle, middle, Paint::Vacant);
        rig.is_vacant(middle);
        for bfn in [first, middle + 1, last].into_iter().filter(|it| *it != middle && *it <= last) {
            assert_eq!(rig.device(bfn), None, "{bfn:#x} is as blocked as before");
        }
        rig.paint(first, last, Paint::Vacant);
        rig.is_vacant(first);
        rig.is_empty();
    }
}

/// Whether it is aligned or not.
pub(crate) fn what_is_as_it_is_to_be_takes_no_tables<F: Format>(rig: &mut Rig<F>) {
    for (first, last) in ranges(rig) {
        let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
        for paint in [Paint::Vacant, Paint::Blocked, Paint::Vacant] {
            rig.paint(first, last, paint);
            let before = rig.arena.live();
            assert_eq!(rig.once(0, |table, edit| table.paint(range, paint, edit)), Ok(()));
            assert_eq!(rig.arena.live(), before);
        }
        rig.is_empty();
    }
}

/// INV-31
pub(crate) fn a_direct_range_leads_to_the_frames_of_its_numbers<F: Format>(rig: &mut Rig<F>) {
    // Longer ones take a table for each of their largest leaves; and frames have an end.
    let longest = pages_at::<F>(rig.leaf_levels().end() + 1);
    let fits = |(first, last): &(u64, u64)| last - first < longest && *last < 1 << FRAME_BITS;
    for (first, last) in ranges(rig).into_iter().filter(fits) {
        rig.paint(first, last, Paint::Direct(Access::READ));
        for bfn in
            [first, first + 1, first.midpoint(last), last].into_iter().filter(|it| *it <= last)
        {
            rig.is_mapped(bfn, bfn, Access::READ);
            assert_eq!(rig.map(bfn, 1, 1, RW), (0, Some(Stop::Occupied)));
            // Neither all of it, nor a part, nor a page: it is no mapping.
            for pages in [1, last - bfn + 1] {
                assert_eq!(rig.unmap_once(bfn, pages), (0, Some(Stop::Hole)));
            }
            assert_eq!(rig.unmap_singles(&[bfn]), [false]);
            rig.is_mapped(bfn, bfn, Access::READ);
        }
        rig.paint(first, last, Paint::Vacant);
        rig.is_vacant(last);
        rig.is_empty();
    }
}

/// INV-02, INV-72: tables of its own replace shared ones below it, one after the other.
pub(crate) fn neighbours_of_a_map_lead_to_the_scratch_page_at_every_instant<F: Format + 'static>(
    rig: &mut Rig<F>,
) {
    if !rig.has_scratch() {
        return;
    }
    let mapped = rig.pages() / 2;
    let spans = (0..rig.levels()).map(pages_at::<F>);
    let neighbours: Vec<u64> = spans.map(|span| mapped + span % (rig.pages() / 2)).collect();
    let seen = Rc::new(Cell::new(0u32));
    let (device, count) = (rig.watcher(), seen.clone());
    rig.arena.watch(Some(Box::new(move |arena| {
        for bfn in neighbours.iter().filter(|bfn| **bfn != mapped) {
            for snoops in [true, false] {
                let (leaf, _) = device(arena, snoops, *bfn).expect("a scratch page is behind all");
                assert_eq!((leaf.frame, leaf.access), (Rig::<F>::SCRATCH, RW), "{bfn:#x}");
            }
            count.set(count.get() + 1);
        }
    })));
    assert_eq!(rig.map(mapped, 7, 1, RW), (1, None));
    rig.unmap(mapped, 1);
    rig.is_empty();
    rig.arena.watch(None);
    assert_eq!(seen.get() > 0, rig.publishes());
    assert_eq!(rig.device(mapped).map(|(leaf, _)| leaf.frame), Some(Mfn(Rig::<F>::SCRATCH.0)));
}

/// Of two CPUs that make the same tables at a time, one is first, and the other uses these.
pub(crate) fn a_frame_that_was_not_linked_is_as_it_came<F: Format + 'static>(rig: &mut Rig<F>) {
    for level in 0..rig.levels() - 1 {
        // In another table of this level.
        let bfn = pages_at::<F>(level + 1);
        if rig.publishes() {
            let (other_cpu, done) = (rig.other_cpu(), Cell::new(false));
            rig.arena.watch(Some(Box::new(move |arena| {
                if !done.replace(true) {
                    other_cpu(arena, bfn, 5);
                }
            })));
        }
        assert_eq!(rig.map(bfn + 1, 6, 1, RW), (1, None));
        rig.arena.watch(None);
        rig.is_mapped(bfn + 1, 6, RW);
        rig.unmap(bfn + 1, 1);
        if rig.publishes() {
            rig.is_mapped(bfn, 5, Access::READ);
            rig.unmap(bfn, 1);
        }
        rig.is_empty();
    }
}
