//! The header of a batch: what is wrong with it is found before any element is looked at.

use pviommu_abi::{Batch, BatchFlags, ContextId, DomId, Errno, GuestPtr, Subop};
use pviommu_hypervisor::{Limits, Outcome};
use zerocopy::IntoBytes;

use crate::batch::kit::{
    ELEMENTS, HEADER, STOP, begin, header, is_untouched, lay, look, map, run, statuses, step,
};
use crate::kit::{DEVICE, DOM0, GUEST, Vm, err, with, with_guest, with_hardware_domain};

/// Makes the call, which must fail with `errno`, and looks whether anything has changed.
fn is_refused(vm: &Vm<'_>, batch: &Batch, errno: Errno) {
    let mut elements = [map(100, 3, 4), map(200, 3, 4)];
    begin(&mut elements);
    lay(vm, batch, &elements);
    let references = vm.bed.counters().references_live;
    assert_eq!(step(vm), Outcome::Done(err(errno)), "{batch:?}");
    let mut bytes = [0; 40];
    vm.bed.guest_read(GUEST, HEADER, &mut bytes);
    assert_eq!(bytes, batch.as_bytes(), "{batch:?}");
    let mut seen = elements;
    vm.bed.guest_read(GUEST, ELEMENTS, seen.as_mut_bytes());
    assert_eq!(seen.as_bytes(), elements.as_bytes(), "{batch:?}");
    assert_eq!(vm.bed.counters().references_live, references);
}

#[test]
fn a_header_that_is_wrong_changes_nothing() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let good = header(context, STOP, 2);
        let many = Limits::default().max_batch + 1;
        for bit in 1..32 {
            let flags = BatchFlags::from_bits_retain(1 << bit);
            is_refused(vm, &Batch { flags, ..good }, Errno::EINVAL);
        }
        for reserved in [1, 1 << 31, u32::MAX] {
            is_refused(vm, &Batch { reserved, ..good }, Errno::EINVAL);
        }
        for elem_size in [0, 1, 31, 33, 64, 32 | 1 << 16, u32::MAX] {
            is_refused(vm, &Batch { elem_size, ..good }, Errno::EINVAL);
        }
        for nr_done in [3, 1 << 31, u32::MAX] {
            is_refused(vm, &Batch { nr_done, ..good }, Errno::EINVAL);
        }
        for nr_ops in [many, 1 << 31, u32::MAX] {
            is_refused(vm, &Batch { nr_ops, ..good }, Errno::E2BIG);
            is_refused(vm, &Batch { nr_ops, nr_done: nr_ops, ..good }, Errno::E2BIG);
        }
        for ctx_id in [2, 128, 129, 0xffff, 0x1_0000, 0x1_0001, u32::MAX] {
            is_refused(vm, &Batch { ctx_id, ..good }, Errno::EINVAL);
            is_refused(vm, &Batch { ctx_id, nr_ops: 0, ..good }, Errno::EINVAL);
        }
        is_refused(vm, &Batch { ctx_id: 0, ..good }, Errno::EACCES);
        assert!(vm.hits_background(DEVICE, 100));
        vm.end();
    });
}

#[test]
fn whose_context_and_whose_pages_is_the_callers_alone_to_say() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let good = header(context, STOP, 2);
        for domid in [DomId(0), DomId(2), DomId(0x7ff1), DomId(0xffff)] {
            is_refused(vm, &Batch { domid, ..good }, Errno::EPERM);
        }
        for owner in [DomId(0), DomId(2), DomId(0x7ff1), DomId(0xffff)] {
            let mut elements = [map(100, 3, 4), map(200, 3, 4)];
            begin(&mut elements);
            lay(vm, &Batch { owner, ..good }, &elements);
            assert_eq!(step(vm), Outcome::Done(0));
            let (header, elements) = look(vm);
            let first = &elements[0];
            let refused = i32::try_from(err(Errno::EPERM)).unwrap();
            assert_eq!((header.nr_done, first.status, first.done), (1, refused, 0));
        }
        // By its number it is itself, too.
        let mut elements = [map(100, 3, 4), map(200, 3, 4)];
        begin(&mut elements);
        lay(vm, &Batch { domid: GUEST, owner: GUEST, ..good }, &elements);
        assert_eq!(step(vm), Outcome::Done(0));
        assert_eq!(look(vm).0.nr_done, 2);
        assert!(vm.lands_in(DEVICE, 100, 3));
        vm.end();
    });
}

#[test]
fn a_context_that_is_freed_is_unknown() {
    with_guest(64, |vm| {
        let context = vm.context();
        let batch = header(context, STOP, 2);
        assert_eq!(vm.free(context, pviommu_abi::FreeFlags::empty()), 0);
        is_refused(vm, &batch, Errno::EINVAL);
        vm.end();
    });
}

/// The array lies in the memory of the caller; context and pages are those of the other domain.
#[test]
fn the_hardware_domain_runs_a_batch_for_another() {
    with(&with_hardware_domain(), |vm| {
        let context = vm.attached_context();
        let call = |batch: &Batch| {
            let mut elements = [map(100, 3, 4), map(200, 3, 4)];
            begin(&mut elements);
            vm.bed.guest_write(DOM0, HEADER, batch.as_bytes());
            vm.bed.guest_write(DOM0, ELEMENTS, elements.as_bytes());
            let outcome = vm.bed.hypercall(DOM0, 0, u64::from(Subop::BATCH.0), HEADER);
            vm.bed.guest_read(DOM0, ELEMENTS, elements.as_mut_bytes());
            (outcome, elements)
        };
        let good = Batch { domid: GUEST, ..header(context, STOP, 2) };
        let refused = |errno| Outcome::Done(err(errno));
        assert_eq!(call(&Batch { domid: DomId(99), ..good }).0, refused(Errno::ESRCH));
        assert_eq!(call(&Batch { domid: DomId::SELF, ..good }).0, refused(Errno::EINVAL));
        assert_eq!(call(&Batch { ctx_id: 0, ..good }).0, refused(Errno::EACCES));
        assert_eq!(vm.bed.counters().references_live, 0);
        let (outcome, elements) = call(&good);
        assert_eq!(outcome, Outcome::Done(0));
        assert_eq!(statuses(&elements), [Ok(()), Ok(())]);
        assert!(vm.lands_in(DEVICE, 101, 4), "the guest's own page is mapped");
        vm.end();
        // It is dying: no such domain any more.
        assert_eq!(call(&good).0, refused(Errno::ESRCH));
    });
}

/// Lays the header out as `size` bytes, the last of them `tail`, followed by what is not zero.
fn call_of_size(vm: &Vm<'_>, batch: &Batch, tail: u8) -> Outcome {
    let size = usize::try_from(batch.size).unwrap();
    let mut bytes = batch.as_bytes().to_vec();
    if size > bytes.len() {
        bytes.resize(size, 0);
        *bytes.last_mut().unwrap() = tail;
    }
    bytes.truncate(size.max(8));
    bytes.resize(bytes.len() + 64, 0xa5);
    let at = 0x2_a000 - 20;
    vm.bed.guest_write(GUEST, at, &bytes);
    let outcome = vm.bed.hypercall(GUEST, 0, u64::from(Subop::BATCH.0), at);
    let mut after = bytes.clone();
    vm.bed.guest_read(GUEST, at, &mut after);
    let written = |i: usize| (20..24).contains(&i) && i < size;
    for (i, (before, after)) in bytes.iter().zip(&after).enumerate() {
        assert!(before == after || written(i), "size {size}: byte {i} was written");
    }
    outcome
}

/// The rule by which arguments grow.
#[test]
fn a_header_may_be_shorter_or_longer_than_the_service_knows() {
    with_guest(64, |vm| {
        let context = vm.context();
        let good = header(context, STOP, 0);
        let sized = |size| Batch { size, ..good };
        // Up to elem_size all of it is needed; the address of no elements is not.
        for size in (0..24).chain([24]) {
            let refused = [Outcome::Done(err(Errno::EINVAL)), Outcome::Done(err(Errno::EPERM))];
            assert!(refused.contains(&call_of_size(vm, &sized(size), 0)), "size {size}");
        }
        for size in 28..=40 {
            assert_eq!(call_of_size(vm, &sized(size), 0), Outcome::Done(0), "size {size}");
        }
        for size in [41, 44, 48, 64, 103, 104, 105, 1000, 4096] {
            assert_eq!(call_of_size(vm, &sized(size), 0), Outcome::Done(0), "size {size}");
            let refused = Outcome::Done(err(Errno::EINVAL));
            assert_eq!(call_of_size(vm, &sized(size), 1), refused, "size {size}");
            assert_eq!(call_of_size(vm, &sized(size), 0x80), refused, "size {size}");
        }
        let refused = Outcome::Done(err(Errno::EINVAL));
        for size in [u32::MAX, 1 << 31, 1 << 20] {
            let batch = sized(size);
            vm.bed.guest_write(GUEST, HEADER, batch.as_bytes());
            assert_eq!(step(vm), refused, "no argument is as long as that");
        }
        vm.end();
    });
}

#[test]
fn a_bad_address_is_a_fault_and_changes_nothing() {
    with_guest(64, |vm| {
        let context = vm.context();
        for at in [1 << 40, u64::MAX, u64::MAX - 7, u64::MAX - 39, (64 << 12) - 8, (64 << 12) - 39]
        {
            if at < 64 << 12 {
                vm.bed.guest_write(GUEST, at, &40u32.to_le_bytes());
            }
            assert_eq!(vm.guest.call(u64::from(Subop::BATCH.0), at), err(Errno::EFAULT));
        }
        for ops in [1 << 40, u64::MAX, u64::MAX - 31, u64::MAX - 63, (64 << 12) - 32, 1 << 63] {
            let batch = Batch { ops: GuestPtr(ops), ..header(context, STOP, 2) };
            is_refused(vm, &batch, Errno::EFAULT);
            is_refused(vm, &Batch { nr_done: 1, ..batch }, Errno::EFAULT);
        }
        vm.end();
    });
}

/// Those on the pages before are run, and told.
#[test]
fn an_array_that_leaves_memory_in_the_middle_is_run_up_to_there_or_not_at_all() {
    with_guest(64, |vm| {
        let context = vm.context();
        // Two pages of elements, the second of which is not there.
        let at = 63 << 12;
        let mut elements: Vec<_> = (0..128).map(|i| map(i * 2, 3, 1)).collect();
        begin(&mut elements);
        vm.bed.guest_write(GUEST, at, elements.as_bytes());
        let batch = Batch { ops: GuestPtr(at), ..header(context, STOP, 200) };
        vm.bed.guest_write(GUEST, HEADER, batch.as_bytes());
        assert_eq!(step(vm), Outcome::Done(err(Errno::EFAULT)));
        let mut after = batch;
        vm.bed.guest_read(GUEST, HEADER, after.as_mut_bytes());
        vm.bed.guest_read(GUEST, at, elements.as_mut_bytes());
        let done = usize::try_from(after.nr_done).unwrap();
        assert!(elements[..done].iter().all(|element| (element.status, element.done) == (0, 1)));
        assert!(elements[done..].iter().skip(1).all(is_untouched));
        assert_eq!(vm.bed.counters().references_live, u64::from(after.nr_done));
        vm.end();
    });
}

/// INV-61.
#[test]
fn a_domain_that_is_dying_runs_no_batch() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        vm.end();
        let mut elements = [map(100, 3, 1)];
        assert_eq!(run(vm, context, STOP, &mut elements), (err(Errno::ENODEV), 0));
        assert_ne!(context, ContextId::DEFAULT);
        vm.bed.assert_clean();
    });
}
