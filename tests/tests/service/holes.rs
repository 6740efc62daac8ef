//! Holes that an unmap passes over, where what was there before waits for its flush.

use pviommu_abi::{BatchElement, ContextId, ElementFlags};

use crate::{
    batch::kit::{run_one, skip_holes, unmap_later},
    deferred::flush_all,
    kit::{DEVICE, GUEST, RW, Vm, with_guest},
};

/// References that are held, and pages that wait.
fn held(vm: &Vm<'_>) -> (u64, u32) {
    (vm.bed.counters().references_live, vm.bed.domain(GUEST).stats().deferred_pages)
}

/// Has a device use four pages from bus frame 50 on, and takes them out for a later flush; the flushes so far.
fn begin(vm: &Vm<'_>, context: ContextId) -> u64 {
    assert_eq!(vm.map(context, 50, 1, 4, RW), (0, 4));
    assert!((50..54).all(|bfn| vm.writes(DEVICE, bfn)));
    assert_eq!(run_one(vm, context, unmap_later(50, 4)), (0, 4));
    assert_eq!(held(vm), (4, 4));
    vm.bed.counters().iotlb_flushes
}

/// INV-03.
#[test]
fn an_unmap_that_passes_holes_over_flushes_what_waits_there() {
    for pages in [20, 100_000] {
        with_guest(64, |vm| {
            let context = vm.attached_context();
            let before = begin(vm, context);
            let flushes = || vm.bed.counters().iotlb_flushes - before;
            assert_eq!(run_one(vm, context, skip_holes(1000, 20)), (0, 20));
            assert_eq!(flushes(), 0, "nothing waits there");
            assert_eq!(run_one(vm, context, skip_holes(40, pages)), (0, pages));
            assert!((50..54).all(|bfn| vm.hits_background(DEVICE, bfn)));
            assert_eq!(flushes(), 1);
            assert_eq!(flush_all(vm, context).0, 0);
            assert_eq!(held(vm), (0, 0));
            vm.end();
        });
    }
}

#[test]
fn one_whose_own_flush_may_come_later_leaves_them_waiting() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let before = begin(vm, context);
        let asked = skip_holes(40, 20);
        let later = BatchElement { flags: asked.flags | ElementFlags::NO_FLUSH, ..asked };
        assert_eq!(run_one(vm, context, later), (0, 20));
        assert_eq!((vm.bed.counters().iotlb_flushes, held(vm)), (before, (4, 4)));
        vm.end();
    });
}
