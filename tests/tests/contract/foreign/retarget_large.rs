//! INV-06, INV-27: a page that leaves is a part of a large leaf.

use pviommu_abi::{ContextId, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, Outcome, Sweep, addr::MfnRange};
use pviommu_testbed::machine::{Config, Step, When};

use super::kit::{end, frame, gfns, three};
use crate::{
    kit::{DEVICE, GUEST, RW, Vm, with},
    switch::kit::take,
};

const MIB2: u64 = 1 << 9;
const GIB: u64 = 1 << 18;

/// The guest has 2 MiB at guest frame 2 MiB, and 1 GiB at 1 GiB, in one piece each.
fn config() -> Config {
    let mut config = three();
    let domain = &mut config.domains[0];
    domain.contiguous = vec![gfns(MIB2, MIB2), gfns(GIB, GIB)];
    domain.ram.extend(domain.contiguous.clone());
    config
}

/// `pages` pages from guest frame `gfn` on, which follow each other.
fn part(vm: &Vm<'_>, gfn: u64, pages: u64) -> MfnRange {
    MfnRange::of_pages(frame(vm, GUEST, gfn), pages).unwrap()
}

/// The pages that go, of a leaf of `size` that begins at guest frame `first`.
fn parts(first: u64, size: u64) -> [(u64, u64); 5] {
    [
        (first, 1),
        (first + size - 1, 1),
        (first + size / 2 - 3, 7),
        (first + MIB2 - 1, 2.min(size - MIB2 + 1)),
        (first, size),
    ]
}

#[test]
fn of_a_leaf_that_is_paid_for_only_the_pages_go() {
    for (first, size) in [(MIB2, MIB2), (GIB, GIB)] {
        for (gfn, pages) in parts(first, size) {
            with(&config(), |vm| {
                let context = vm.attached_context();
                assert_eq!(vm.map(context, first, first, size as u32, RW), (0, size as u32));
                assert!(vm.writes(DEVICE, gfn) && vm.writes(DEVICE, first));
                // Nothing is to be had but what was put aside.
                vm.bed.schedule().set(Step::Alloc, When::From(1));
                assert_eq!(vm.bed.retarget(GUEST, &[part(vm, gfn, pages)]), Ok(()));
                vm.bed.schedule().clear();
                let gone = gfn..gfn + pages;
                let near = [first, first + size - 1, gfn.max(first + 1) - 1, gfn + pages];
                for bfn in near
                    .into_iter()
                    .chain(gone.clone())
                    .filter(|b| (first..first + size).contains(b))
                {
                    assert_eq!(vm.hits_background(DEVICE, bfn), gone.contains(&bfn), "{bfn:#x}");
                }
                assert_eq!(vm.bed.counters().references_live, size - pages);
                end(vm);
            });
        }
    }
}

/// A leaf of the map it started with is not paid for when the share is small: without memory all of
/// it goes, and the guest is not let at the page.
#[test]
fn of_a_leaf_that_is_not_paid_for_more_may_go_but_never_less() {
    for memory in [true, false] {
        let mut config = config().with_default_map(DefaultMap::Guest);
        config.domains[0].limits.default_map_frames = 24;
        with(&config, |vm| {
            assert!(vm.lands_in(DEVICE, GIB + 5, GIB + 5) && vm.lands_in(DEVICE, GIB, GIB));
            let reserved = vm.bed.counters().table_frames_reserved;
            assert!(reserved <= 1, "the share does not pay for the split of 1 GiB");
            if !memory {
                vm.bed.schedule().set(Step::Alloc, When::From(1));
            }
            assert_eq!(vm.bed.retarget(GUEST, &[part(vm, GIB + 5, 1)]), Ok(()));
            vm.bed.schedule().clear();
            assert!(vm.hits_background(DEVICE, GIB + 5));
            assert_eq!(vm.hits_background(DEVICE, GIB), !memory);
            assert_eq!(vm.hits_background(DEVICE, 2 * GIB - 1), !memory);
            assert!(vm.lands_in(DEVICE, MIB2, MIB2), "another leaf");
            assert_eq!(take(vm, OwnershipMode::KEEP), 0);
            assert_eq!(vm.map(ContextId::DEFAULT, GIB + 5, 3, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, GIB + 5, 3));
            end(vm);
        });
    }
}

/// INV-54: a call that gives way at every look gets on, and the guest may be busy meanwhile.
#[test]
fn a_search_that_gives_way_is_interleaved_with_a_guest_that_edits() {
    with(&config(), |vm| {
        let (context, other) = (vm.attached_context(), vm.context());
        for i in 0..30u64 {
            assert_eq!(vm.map(context, i << 12, 0, 64, RW), (0, 64));
        }
        assert_eq!(vm.map(other, GIB, GIB, GIB as u32, RW), (0, GIB as u32));
        assert_eq!(vm.map(context, GIB, GIB, GIB as u32, RW), (0, GIB as u32));
        let gone = vm.bed.balloon_out(GUEST, pviommu_abi::Gfn(5)).unwrap();
        let large = vm.bed.balloon_out(GUEST, pviommu_abi::Gfn(GIB + 777)).unwrap();
        let frames = [MfnRange::single(large), MfnRange::single(gone)];
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let (mut sweep, mut steps) = (Sweep::default(), 0u64);
        let state = vm.bed.domain(GUEST);
        loop {
            match vm.bed.iommu().retarget(state, vm.bed.own_cpu(), &frames, &mut sweep) {
                Outcome::Done(status) => break assert_eq!(status, 0),
                _ => steps += 1,
            }
            assert!(steps < 10_000, "no progress");
            // The guest maps and unmaps behind it and before it; it never gets the page back.
            let at = (steps % 30) << 12;
            assert_eq!(vm.unmap(context, at, 3), (0, 3));
            assert_eq!(vm.map(context, at, 0, 3, RW), (0, 3));
            assert_eq!(vm.map(context, at + 100, 5, 1, RW).1, 0);
        }
        assert!(steps > 2, "{steps}");
        vm.bed.schedule().clear();
        for i in 0..30u64 {
            assert!(vm.hits_background(DEVICE, (i << 12) + 5));
            assert!(vm.lands_in(DEVICE, (i << 12) + 4, 4) && vm.lands_in(DEVICE, (i << 12) + 6, 6));
        }
        assert!(vm.hits_background(DEVICE, GIB + 777) && vm.lands_in(DEVICE, GIB + 776, GIB + 776));
        for frame in [gone, large] {
            let info = vm.bed.board().memory().frames.info(frame).unwrap();
            assert_eq!(info.references, 0);
        }
        end(vm);
    });
}
