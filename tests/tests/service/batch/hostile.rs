//! Batches of a guest that changes them while they run, or lies: it hurts only itself.

use pviommu_abi::{Batch, BatchElement, BatchOp, Bfn, Errno, FreeFlags};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::{Step, When};
use zerocopy::IntoBytes;

use crate::batch::kit::{
    HEADER, LIST, RUN_ALL, STOP, begin, flush, header, lay, lay_list, look, lookup, map, map_list,
    run, skip_holes, step, unmap, unmap_later,
};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with_guest};

const PAGES: u64 = 2000;

fn yielding_every(vm: &Vm<'_>, n: u64) {
    vm.bed.schedule().set(Step::Yield, When::Every(n));
}

/// INV-50: what a continuation finds in guest memory is checked like a first call.
#[test]
fn a_guest_that_changes_a_batch_between_continuations_hurts_only_itself() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        yielding_every(vm, 1);
        let mut elements = [map(100, 64, 1900), map(9000, 64, 1), map(9001, 65, 1)];
        begin(&mut elements);
        lay(vm, &header(context, STOP, 3), &elements);
        assert_eq!(step(vm), Outcome::Continue);
        let (good, seen) = look(vm);
        let done = seen[0].done;
        assert!(done > 0 && good.nr_done == 0);
        let references = vm.bed.counters().references_live;
        assert_eq!(references, u64::from(done));
        // The header.
        for (batch, errno) in [
            (Batch { nr_done: 4, ..good }, Errno::EINVAL),
            (Batch { nr_ops: 5000, ..good }, Errno::E2BIG),
            (Batch { ctx_id: 0, ..good }, Errno::EACCES),
            (Batch { ctx_id: 9, ..good }, Errno::EINVAL),
            (Batch { reserved: 1, ..good }, Errno::EINVAL),
        ] {
            lay(vm, &batch, &seen);
            assert_eq!(step(vm), Outcome::Done(err(errno)));
        }
        // The element: how far it is, where it goes, what it is.
        let first = seen[0];
        for (element, errno, count) in [
            (BatchElement { done: 1901, ..first }, Errno::EINVAL, 1901),
            (BatchElement { done: u32::MAX, ..first }, Errno::EINVAL, u32::MAX),
            (BatchElement { done: done - 1, ..first }, Errno::EADDRINUSE, done - 1),
            (BatchElement { done: 0, ..first }, Errno::EADDRINUSE, 0),
            (BatchElement { bfn: Bfn(0xfed00), ..first }, Errno::EADDRNOTAVAIL, done),
            (BatchElement { bfn: Bfn(u64::MAX), ..first }, Errno::EINVAL, done),
            (BatchElement { page: u64::MAX - 9, ..first }, Errno::EINVAL, done),
            (BatchElement { nr: 0, done: 0, ..first }, Errno::EINVAL, 0),
            (BatchElement { op: BatchOp(77), ..first }, Errno::EOPNOTSUPP, done),
        ] {
            lay(vm, &good, &[element, seen[1], seen[2]]);
            assert_eq!(step(vm), Outcome::Done(0));
            let (batch, seen) = look(vm);
            assert_eq!(batch.nr_done, 1);
            assert_eq!(i64::from(seen[0].status), err(errno), "{element:?}");
            assert_eq!(seen[0].done, count, "nothing more is done");
        }
        assert_eq!(vm.bed.counters().references_live, references);
        // It claims to be further: what it skips is not mapped.
        lay(vm, &good, &[BatchElement { done: 1899, ..first }, seen[1], seen[2]]);
        while step(vm) == Outcome::Continue {}
        assert_eq!(look(vm).0.nr_done, 3);
        assert_eq!(vm.bed.counters().references_live, references + 3);
        assert!(vm.hits_background(DEVICE, 100 + 1898));
        vm.bed.schedule().clear();
        vm.end();
    });
}

#[test]
fn a_context_that_goes_between_continuations_is_unknown_then() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        yielding_every(vm, 1);
        let mut elements = [map(100, 64, 1900)];
        begin(&mut elements);
        lay(vm, &header(context, STOP, 1), &elements);
        assert_eq!(step(vm), Outcome::Continue);
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        assert_eq!(step(vm), Outcome::Done(err(Errno::EINVAL)));
        assert_eq!(vm.bed.counters().references_live, 0);
        vm.end();
    });
}

/// Header, elements and lists on top of each other: nonsense, and no harm.
#[test]
fn a_batch_that_overwrites_itself_ends() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        for every in [1, 2, 1000] {
            for shift in [0u64, 8, 12, 20, 32] {
                yielding_every(vm, every);
                let elements: Vec<_> = (0..40).map(|i| map_list(100 + i * 9, HEADER, 9)).collect();
                let mut batch = header(context, RUN_ALL, 40);
                batch.ops.0 = HEADER + shift;
                vm.bed.guest_write(GUEST, HEADER + shift, elements.as_bytes());
                vm.bed.guest_write(GUEST, HEADER, batch.as_bytes());
                let ended = (0..500).any(|_| step(vm) != Outcome::Continue);
                assert!(ended, "it goes on and on");
                vm.bed.schedule().clear();
                assert_eq!(vm.bed.violations(), []);
            }
        }
        vm.end();
    });
}

/// INV-50: a count that the guest made up is not told as pages done.
#[test]
fn no_more_pages_are_told_than_there_are() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        let list: Vec<u64> = (70..90).collect();
        lay_list(vm, &list);
        assert_eq!(vm.map(context, 50, 64, 5, RW), (0, 5));
        let kinds = [
            map(100, 64, 5),
            map_list(200, LIST, 5),
            unmap(50, 5),
            unmap_later(50, 5),
            flush(50, 5),
        ];
        for mut element in kinds.into_iter().chain([skip_holes(50, 5), lookup(50), flush(0, 0)]) {
            for done in [0, 1, 4, 5, 6, u32::MAX] {
                element.done = done;
                lay(vm, &header(context, STOP, 1), &[element]);
                assert_eq!(step(vm), Outcome::Done(0));
                let (batch, seen) = look(vm);
                assert_eq!(batch.nr_done, 1);
                let told = seen[0].done;
                assert!(told <= element.nr || seen[0].status != 0, "{element:?}: {told}");
                let _ = (vm.unmap(context, 50, 5), vm.unmap(context, 100, 5));
                let mut elements = [skip_holes(200, 5), skip_holes(50, 60), map(50, 64, 5)];
                assert_eq!(run(vm, context, STOP, &mut elements), (0, 3));
            }
        }
        vm.end();
    });
}
