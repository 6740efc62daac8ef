//! Removals whose flush comes later: held until then, and never for longer than the bound.

use pviommu_abi::{
    Batch, BatchElement, BatchOp, Bfn, ContextId, ElementFlags, Errno, FlushPages, FreeFlags, Gfn,
    MapFlags, Subop,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Outcome, addr::GfnRange, platform::UnitFeatures};
use pviommu_testbed::machine::{Config, Step, When};
use zerocopy::IntoBytes;

use crate::kit::{DEVICE, GUEST, RW, Vm, err, over_scratch, with, with_guest};

/// Unmaps and leaves the flush for later: status and pages.
pub(crate) fn unmap_later(vm: &Vm<'_>, context: ContextId, bfn: u64, nr: u32) -> (i64, u32) {
    let element = BatchElement {
        op: BatchOp::UNMAP,
        flags: ElementFlags::NO_FLUSH,
        bfn: Bfn(bfn),
        nr,
        ..BatchElement::default()
    };
    run(vm, context, element)
}

/// Flushes all of a context: status and pages.
pub(crate) fn flush_all(vm: &Vm<'_>, context: ContextId) -> (i64, u32) {
    run(vm, context, BatchElement { op: BatchOp::FLUSH, ..BatchElement::default() })
}

fn flush(vm: &Vm<'_>, context: ContextId, bfn: u64, nr: u32) -> i64 {
    let element = BatchElement { op: BatchOp::FLUSH, bfn: Bfn(bfn), nr, ..BatchElement::default() };
    run(vm, context, element).0
}

fn run(vm: &Vm<'_>, context: ContextId, element: BatchElement) -> (i64, u32) {
    let mut batch = Batch { ctx_id: u32::from(context.0), nr_ops: 1, ..Batch::default() };
    let mut elements = [element];
    let status =
        vm.guest.iommu_op(Subop::BATCH, batch.as_mut_bytes(), Some(elements.as_mut_bytes()));
    (status.min(i64::from(elements[0].status)), elements[0].done)
}

fn references(vm: &Vm<'_>) -> u64 {
    vm.bed.counters().references_live
}

fn waiting(vm: &Vm<'_>) -> u32 {
    vm.bed.domain(GUEST).stats().deferred_pages
}

#[test]
fn single_pages_that_are_removed_together_wait_as_one_alone_does() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 3, RW), (0, 3));
        let (op, flags) = (BatchOp::UNMAP, ElementFlags::NO_FLUSH);
        let mut elements = [5, 6, 7].map(|bfn| BatchElement {
            op,
            flags,
            bfn: Bfn(bfn),
            nr: 1,
            ..BatchElement::default()
        });
        let mut batch = Batch { ctx_id: context.0.into(), nr_ops: 3, ..Batch::default() };
        let bytes = Some(elements.as_mut_bytes());
        assert_eq!(vm.guest.iommu_op(Subop::BATCH, batch.as_mut_bytes(), bytes), 0);
        assert_eq!(elements.map(|element| (element.status, element.done)), [(0, 1); 3]);
        assert_eq!((references(vm), waiting(vm)), (3, 3));
        assert_eq!(flush_all(vm, context).0, 0);
        assert_eq!((references(vm), waiting(vm)), (0, 0));
        vm.end();
    });
}

/// INV-20.
#[test]
fn a_page_is_held_until_the_flush_of_its_removal() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 8, RW), (0, 8));
        assert!((5..13).all(|bfn| vm.writes(DEVICE, bfn)));
        assert_eq!(unmap_later(vm, context, 5, 8), (0, 8));
        assert_eq!((references(vm), waiting(vm)), (8, 8));
        // The device may still use it, and the guest cannot give it away.
        let _ = vm.writes(DEVICE, 7);
        assert!(vm.bed.board().free_page(GUEST, Gfn(3)).is_err());
        assert_eq!(vm.bed.violations(), []);
        // Somewhere else nothing waits.
        assert_eq!(flush(vm, context, 1000, 1), 0);
        assert_eq!(references(vm), 8);
        assert_eq!(flush(vm, context, 12, 1), 0);
        assert_eq!((references(vm), waiting(vm)), (0, 0));
        assert!((5..13).all(|bfn| vm.hits_background(DEVICE, bfn)));
        vm.bed.board().free_page(GUEST, Gfn(3)).unwrap();
        assert!(!vm.writes(DEVICE, 7));
        vm.end();
    });
}

#[test]
fn a_flush_of_the_whole_context_ends_every_wait() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        for i in 0..20 {
            assert_eq!(vm.map(context, i * 5000, i, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, i * 5000, i));
            assert_eq!(unmap_later(vm, context, i * 5000, 1), (0, 1));
        }
        let flushes = vm.bed.counters().iotlb_flushes;
        assert_eq!(waiting(vm), 20);
        assert_eq!(flush(vm, context, 0, 0), 0);
        assert_eq!((references(vm), waiting(vm)), (0, 0));
        assert_eq!(vm.bed.counters().iotlb_flushes, flushes + 1);
        assert!((0..20).all(|i| vm.hits_background(DEVICE, i * 5000)));
        // Nothing waits any more: nothing is asked of the unit.
        assert_eq!(flush(vm, context, 0, 0), 0);
        assert_eq!(vm.bed.counters().iotlb_flushes, flushes + 1);
        vm.end();
    });
}

/// Else the device would go on with the old page after the map had returned.
#[test]
fn a_bus_frame_that_is_mapped_again_is_flushed_first() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        for round in 0..40 {
            assert_eq!(vm.map(context, 9, round, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, 9, round), "round {round}");
            assert_eq!(unmap_later(vm, context, 9, 1), (0, 1));
        }
        // A bus frame that does not wait costs no flush of what does.
        let flushes = vm.bed.counters().iotlb_flushes;
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert_eq!(waiting(vm), 1);
        assert_eq!(vm.bed.counters().iotlb_flushes, flushes + u64::from(over_scratch()));
        vm.end();
    });
}

/// INV-57: at the bound a call flushes by itself.
#[test]
fn no_more_pages_wait_than_the_bound_allows() {
    let mut config = Config::one_guest(64);
    config.domains[0].limits.max_deferred_pages = 32;
    with(&config, |vm| {
        let context = vm.attached_context();
        let second = vm.context();
        let flushes = vm.bed.counters().iotlb_flushes;
        let mut most = 0;
        for i in 0..400 {
            let context = if i % 3 == 0 { second } else { context };
            assert_eq!(vm.map(context, i * 7, i % 64, 1, RW), (0, 1));
            assert_eq!(unmap_later(vm, context, i * 7, 1), (0, 1));
            assert!(references(vm) <= 32 && waiting(vm) <= 32);
            most = most.max(waiting(vm));
        }
        assert_eq!(most, 32);
        if !over_scratch() {
            let flushes = vm.bed.counters().iotlb_flushes - flushes;
            assert!((8..=16).contains(&flushes), "{flushes} flushes");
        }
        // One removal larger than the bound.
        assert_eq!(vm.map(context, 10_000, 0, 64, RW), (0, 64));
        assert_eq!(unmap_later(vm, context, 10_000, 64), (0, 64));
        assert!(references(vm) <= 32);
        assert_eq!(flush(vm, context, 0, 0), 0);
        assert_eq!(flush(vm, second, 0, 0), 0);
        assert_eq!(references(vm), 0);
        vm.end();
    });
}

#[test]
fn a_domain_that_may_not_wait_is_flushed_at_once() {
    let mut config = Config::one_guest(64);
    config.domains[0].limits.max_deferred_pages = 0;
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 8, RW), (0, 8));
        assert!(vm.writes(DEVICE, 6));
        assert_eq!(unmap_later(vm, context, 5, 8), (0, 8));
        assert_eq!(references(vm), 0);
        assert!(vm.hits_background(DEVICE, 6));
        vm.end();
    });
}

/// INV-07, and: removal never fails for memory.
#[test]
fn without_memory_to_remember_it_a_removal_is_flushed_at_once() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        for nth in 1..=3 {
            assert_eq!(vm.map(context, 5, 1, 8, RW), (0, 8));
            assert!(vm.writes(DEVICE, 6));
            vm.bed.schedule().set(Step::Alloc, When::From(nth));
            assert_eq!(unmap_later(vm, context, 5, 8), (0, 8));
            vm.bed.schedule().clear();
            assert!(nth == 3 || references(vm) == 0 && vm.hits_background(DEVICE, 6));
            assert_eq!(flush(vm, context, 0, 0), 0);
            assert_eq!(references(vm), 0);
            assert!(vm.hits_background(DEVICE, 6));
        }
        vm.end();
    });
}

#[test]
fn a_part_of_a_large_leaf_does_not_wait() {
    let mut config = Config::one_guest(2048);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 1024, 512, 512, RW), (0, 512));
        assert!((1024..1536).all(|bfn| vm.lands_in(DEVICE, bfn, bfn - 512)));
        assert_eq!(unmap_later(vm, context, 1030, 4), (0, 4));
        // The split is flushed; whether the four pages wait is the service's choice.
        assert!((1030..1034).all(|bfn| !vm.lands_in(DEVICE, bfn, bfn - 512) || waiting(vm) > 0));
        assert!(vm.lands_in(DEVICE, 1029, 517) && vm.lands_in(DEVICE, 1034, 522));
        assert_eq!(flush(vm, context, 0, 0), 0);
        assert_eq!(references(vm), 508);
        assert!((1030..1034).all(|bfn| vm.hits_background(DEVICE, bfn)));
        // All of the rest, whole tables of it.
        assert_eq!(unmap_later(vm, context, 1034, 502), (0, 502));
        assert_eq!(unmap_later(vm, context, 1024, 6), (0, 6));
        assert_eq!(flush(vm, context, 0, 0), 0);
        assert_eq!(references(vm), 0);
        vm.end();
    });
}

#[test]
fn the_embedders_timer_ends_the_wait_of_a_guest_that_never_flushes() {
    with_guest(2048, |vm| {
        let contexts = [vm.attached_context(), vm.context()];
        for context in contexts {
            assert_eq!(vm.map(context, 5, 1, 700, RW), (0, 700));
            assert_eq!(unmap_later(vm, context, 5, 700), (0, 700));
        }
        assert_eq!(references(vm), 1400);
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let mut calls = 1;
        while vm.bed.iommu().flush_deferred(vm.bed.domain(GUEST), 0) == Outcome::Continue {
            calls += 1;
            assert!(calls < 100, "it does not end");
        }
        assert!(calls >= 1400 / 256, "it was asked whether to give way");
        assert_eq!((references(vm), waiting(vm)), (0, 0));
        assert_eq!(vm.bed.iommu().flush_deferred(vm.bed.domain(GUEST), 0), Outcome::Done(0));
        vm.bed.schedule().clear();
        vm.end();
    });
}

/// INV-45, INV-60.
#[test]
fn what_waits_goes_with_its_context_and_its_domain() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 8, RW), (0, 8));
        assert!(vm.writes(DEVICE, 6));
        assert_eq!(unmap_later(vm, context, 5, 8), (0, 8));
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        assert_eq!((references(vm), waiting(vm)), (0, 0));
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 8, RW), (0, 8));
        assert_eq!(unmap_later(vm, context, 5, 4), (0, 4));
        vm.end();
    });
}

/// INV-57: room was made for a removal that then did not wait.
#[test]
fn the_record_goes_with_its_context_even_if_nothing_was_put_off() {
    let mut config = Config::one_guest(2048);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 1024, 512, 512, RW), (0, 512));
        assert_eq!(unmap_later(vm, context, 1024, 512), (0, 512));
        assert_eq!(unmap_later(vm, context, 77, 1), (err(Errno::ENOENT), 0));
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        assert_eq!(vm.bed.domain(GUEST).stats().table_frames, 0);
        vm.end();
    });
}

/// INV-15.
#[test]
fn what_cannot_be_flushed_is_never_given_back() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 1, 8, RW), (0, 8));
        assert!(vm.writes(DEVICE, 6));
        assert_eq!(unmap_later(vm, context, 5, 8), (0, 8));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(flush(vm, context, 0, 0), err(Errno::EIO));
        assert_eq!(references(vm), 8);
        assert_eq!(vm.bed.domain(GUEST).stats().leaked_pages, 8);
        assert_eq!(vm.unmap(context, 50, 1).0, err(Errno::EIO));
        assert_eq!(vm.bed.violations(), []);
    });
}

#[test]
fn a_map_that_is_made_visible_later_is_not_told_to_the_unit_until_then() {
    let mut config = Config::one_guest(64);
    config.units[0].features.insert(UnitFeatures::CACHES_NOT_PRESENT);
    with(&config, |vm| {
        let context = vm.attached_context();
        assert!(vm.hits_background(DEVICE, 7));
        assert_eq!(vm.map(context, 7, 3, 1, RW | MapFlags::NO_FLUSH), (0, 1));
        assert_eq!(vm.bed.counters().map_syncs, 0);
        let mut argument = FlushPages {
            ctx_no: context,
            dfn: Bfn(7),
            pgsize: 4096,
            nr_pages: 1,
            ..FlushPages::default()
        };
        assert_eq!(vm.op(Subop::FLUSH_PAGES, &mut argument), 0);
        assert!(vm.lands_in(DEVICE, 7, 3));
        argument.nr_pages = 0;
        assert_eq!(vm.op(Subop::FLUSH_PAGES, &mut argument), 0);
        for (ctx_no, dfn, pgsize) in
            [(0, 7, 4096), (99, 7, 4096), (context.0, 1 << 36, 0), (1, 7, 1)]
        {
            let mut argument = FlushPages {
                ctx_no: ContextId(ctx_no),
                dfn: Bfn(dfn),
                pgsize,
                nr_pages: 1,
                ..FlushPages::default()
            };
            assert_eq!(vm.op(Subop::FLUSH_PAGES, &mut argument), err(Errno::EINVAL));
        }
        vm.end();
    });
}
