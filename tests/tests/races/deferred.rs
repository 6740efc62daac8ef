//! Removals that wait for their flush.

use pviommu_abi::{Batch, BatchElement, BatchOp, Bfn, ContextId, ElementFlags, Errno};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::Config;

use crate::{
    explore::{explore, race, strike},
    foreign_kit::run_as,
    kit::{DEVICE, GUEST, RW, Vm, err},
};

fn one_guest() -> Config {
    Config::one_guest(64)
}

/// Unmaps and leaves the flush for later: status and pages.
pub(crate) fn unmap_later(vm: &Vm<'_>, context: ContextId, bfn: u64, nr: u32) -> (i64, u32) {
    let (op, flags, bfn) = (BatchOp::UNMAP, ElementFlags::NO_FLUSH, Bfn(bfn));
    run(vm, context, BatchElement { op, flags, bfn, nr, ..BatchElement::default() })
}

/// Flushes all of a context: status and pages.
pub(crate) fn flush_all(vm: &Vm<'_>, context: ContextId) -> (i64, u32) {
    run(vm, context, BatchElement { op: BatchOp::FLUSH, ..BatchElement::default() })
}

/// Flushes what waits in the domain, as the embedder's timer does.
fn timer(vm: &Vm<'_>) {
    let (domain, cpu) = (vm.bed.domain(GUEST), vm.bed.own_cpu());
    while vm.bed.iommu().flush_deferred(domain, cpu) == Outcome::Continue {}
}

/// Runs one element; its status and its count.
fn run(vm: &Vm<'_>, context: ContextId, element: BatchElement) -> (i64, u32) {
    let mut elements = [element];
    let header = Batch { ctx_id: u32::from(context.0), ..Batch::default() };
    let status = run_as(vm, header, &mut elements);
    (status.min(i64::from(elements[0].status)), elements[0].done)
}

/// INV-20: a map at the place of a page that waits has flushed it before it returns, whoever else flushes.
#[test]
fn a_map_over_a_removal_that_waits_reaches_the_new_page_only() {
    explore(one_guest, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        strike(vm, DEVICE, &[10]);
        let unmap = |vm: &Vm<'_>| assert_eq!(unmap_later(vm, context, 10, 1), (0, 1));
        let map = |vm: &Vm<'_>| {
            while vm.map(context, 10, 2, 1, RW) == (err(Errno::EADDRINUSE), 0) {
                shuttle::thread::yield_now();
            }
            assert!(vm.lands_in(DEVICE, 10, 2), "the page that waits is still reached");
        };
        race(vm, &[&unmap, &map, &timer]);
        assert_eq!(vm.unmap(context, 10, 1), (0, 1));
        vm.end();
    });
}

/// INV-20, INV-21: what waits is given back once, after its flush, by whoever comes.
#[test]
fn a_flush_meets_removals_that_wait() {
    explore(one_guest, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 8, RW), (0, 8));
        strike(vm, DEVICE, &[10, 12, 14]);
        let unmap = |vm: &Vm<'_>| {
            for bfn in [10, 12, 14] {
                assert_eq!(unmap_later(vm, context, bfn, 2), (0, 2));
            }
        };
        let flush = |vm: &Vm<'_>| assert_eq!(flush_all(vm, context), (0, 0));
        let at_once = |vm: &Vm<'_>| {
            assert_eq!(vm.unmap(context, 16, 2), (0, 2));
            timer(vm);
        };
        race(vm, &[&unmap, &flush, &at_once]);
        assert_eq!(flush_all(vm, context), (0, 0));
        assert_eq!(vm.bed.counters().references_live, 0);
        assert_eq!(vm.bed.domain(GUEST).stats().deferred_pages, 0);
        vm.end();
    });
}
