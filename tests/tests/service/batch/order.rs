//! Batches: in what order elements run, where a batch stops, and what it writes.

use pviommu_abi::{BatchElement, Bfn, ElementFlags, Errno, Gfn, Subop};
use pviommu_guest::{BatchBuilder, BatchPage, IommuClient, LookedUp};
use pviommu_hypervisor::Outcome;
use zerocopy::IntoBytes;

use crate::batch::kit::{
    ELEMENTS, HEADER, READ_WRITE, RUN_ALL, STOP, begin, header, is_untouched, lay, look, lookup,
    map, run, statuses, step, unmap,
};
use crate::kit::{DEVICE, GUEST, Vm, err, with_guest};

#[test]
fn elements_run_in_order_and_see_what_those_before_did() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let mut elements = [
            lookup(100),
            map(100, 3, 4),
            lookup(102),
            map(102, 9, 1),
            unmap(102, 1),
            lookup(102),
            map(102, 9, 1),
            lookup(102),
        ];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 8));
        let nothing = Err(Errno::ENOENT);
        let taken = Err(Errno::EADDRINUSE);
        let expected = [nothing, Ok(()), Ok(()), taken, Ok(()), nothing, Ok(()), Ok(())];
        assert_eq!(statuses(&elements), expected);
        assert_eq!(elements.map(|element| element.done), [0, 4, 1, 0, 1, 0, 1, 1]);
        assert_eq!((elements[2].page, elements[7].page), (5, 9));
        assert!(vm.lands_in(DEVICE, 102, 9) && vm.lands_in(DEVICE, 103, 6));
        vm.end();
    });
}

#[test]
fn a_batch_stops_at_the_first_error_and_says_nothing_of_the_rest() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let mut elements = [map(100, 3, 4), map(102, 9, 1), map(200, 9, 1), unmap(100, 4)];
        assert_eq!(run(vm, context, STOP, &mut elements), (0, 2));
        assert_eq!(statuses(&elements[..2]), [Ok(()), Err(Errno::EADDRINUSE)]);
        assert!(elements[2..].iter().all(is_untouched));
        assert!(vm.hits_background(DEVICE, 200) && vm.lands_in(DEVICE, 100, 3));
        // From where it stopped, with the same array.
        let batch = pviommu_abi::Batch { nr_done: 2, ..header(context, STOP, 4) };
        elements[2].done = 0;
        lay(vm, &batch, &elements);
        assert_eq!(step(vm), Outcome::Done(0));
        let (batch, elements) = look(vm);
        assert_eq!(batch.nr_done, 4);
        assert_eq!(statuses(&elements), [Ok(()), Err(Errno::EADDRINUSE), Ok(()), Ok(())]);
        vm.end();
    });
}

#[test]
fn with_run_all_every_element_has_a_status_of_its_own() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let mut elements = [unmap(7, 1), map(7, 2, 2), map(8, 2, 1), unmap(7, 3), map(8, 3, 1)];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 5));
        let nothing = Err(Errno::ENOENT);
        let expected = [nothing, Ok(()), Err(Errno::EADDRINUSE), nothing, Ok(())];
        assert_eq!(statuses(&elements), expected);
        assert_eq!(elements.map(|element| element.done), [0, 2, 0, 2, 1]);
        assert!(vm.hits_background(DEVICE, 7) && vm.lands_in(DEVICE, 8, 3));
        vm.end();
    });
}

/// INV-52: of the header `nr_done`, of an element its results, and of those not finished nothing.
#[test]
fn nothing_is_written_but_results() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let mut elements =
            [map(100, 3, 4), lookup(101), map(100, 1, 1), lookup(102), map(300, 1, 1)];
        begin(&mut elements);
        let batch = header(context, STOP, elements.len());
        lay(vm, &batch, &elements);
        let around = [0xa5; 32];
        vm.bed.guest_write(GUEST, HEADER + 40, &around);
        vm.bed.guest_write(GUEST, ELEMENTS - 32, &around);
        vm.bed.guest_write(GUEST, ELEMENTS + 5 * 32, &around);
        assert_eq!(step(vm), Outcome::Done(0));
        let (after, seen) = look(vm);
        let expected = pviommu_abi::Batch { nr_done: 3, ..batch };
        assert_eq!(after.as_bytes(), expected.as_bytes());
        let with = |element: &BatchElement, status, done| BatchElement { status, done, ..*element };
        let found = BatchElement { page: 4, flags: READ_WRITE, ..with(&elements[1], 0, 1) };
        let failed = i32::try_from(err(Errno::EADDRINUSE)).unwrap();
        let written = [with(&elements[0], 0, 4), found, with(&elements[2], failed, 0)];
        let expected = [&written[..], &elements[3..]].concat();
        assert_eq!(seen.as_bytes(), expected.as_bytes());
        for at in [HEADER + 40, ELEMENTS - 32, ELEMENTS + 5 * 32] {
            let mut bytes = [0; 32];
            vm.bed.guest_read(GUEST, at, &mut bytes);
            assert_eq!(bytes, around, "at {at:#x}");
        }
        vm.end();
    });
}

#[test]
fn a_batch_without_elements_is_done_at_once_wherever_they_would_be() {
    with_guest(64, |vm| {
        let context = vm.context();
        for ops in [0, ELEMENTS, u64::MAX] {
            let mut batch = header(context, STOP, 0);
            batch.ops.0 = ops;
            assert_eq!(vm.op(Subop::BATCH, &mut batch), 0);
            assert_eq!(batch.nr_done, 0);
        }
        vm.end();
    });
}

/// One page of elements, with the header elsewhere; and several pages.
#[test]
fn a_batch_can_be_as_long_as_the_limits_say() {
    for count in [127u32, 128, 129, 256, 1024] {
        with_guest(2000, |vm| {
            let context = vm.attached_context();
            let mut elements: Vec<_> =
                (0..count).map(|i| map(u64::from(i) * 3, u64::from(i) + 64, 1)).collect();
            assert_eq!(run(vm, context, STOP, &mut elements), (0, count));
            assert!(elements.iter().all(|element| (element.status, element.done) == (0, 1)));
            for i in (0..u64::from(count)).step_by(31).chain([u64::from(count) - 1]) {
                assert!(vm.lands_in(DEVICE, i * 3, i + 64), "element {i}");
            }
            assert_eq!(vm.bed.counters().references_live, u64::from(count));
            let mut elements: Vec<_> = (0..count).map(|i| unmap(u64::from(i) * 3, 1)).collect();
            let before = vm.bed.counters().iotlb_flushes;
            assert_eq!(run(vm, context, STOP, &mut elements), (0, count));
            let flushes = vm.bed.counters().iotlb_flushes - before;
            assert!(flushes <= u64::from(count.div_ceil(64)), "{flushes} flushes");
            assert_eq!(vm.bed.counters().references_live, 0);
            vm.end();
        });
    }
}

/// The typed builder of the guest's driver on the real service.
#[test]
fn the_guests_builder_and_the_service_agree() {
    with_guest(64, |vm: &Vm<'_>| {
        let context = vm.attached_context();
        let client = IommuClient::new(&vm.guest);
        let mut page = BatchPage::new();
        let mut batch = BatchBuilder::new(&mut page, context).run_all();
        let mapped = batch.map(Bfn(100), Gfn(3), 4, READ_WRITE).unwrap();
        let list = [Gfn(9), Gfn(2), Gfn(7), Gfn(8)];
        let listed = batch.map_list(Bfn(200), &list, ElementFlags::READ).unwrap();
        let found = batch.lookup(Bfn(202)).unwrap();
        let refused = batch.map(Bfn(101), Gfn(1), 1, READ_WRITE).unwrap();
        let gone = batch.unmap(Bfn(90), 11, ElementFlags::SKIP_HOLES).unwrap();
        let later = batch.unmap(Bfn(101), 1, ElementFlags::NO_FLUSH).unwrap();
        let flushed = batch.flush_all().unwrap();
        let done = client.submit(&mut batch).unwrap();
        assert_eq!(done.finished(), 7);
        let pages = |index| done.element(index).unwrap().unwrap().pages;
        assert_eq!((pages(mapped), pages(listed), pages(gone), pages(later)), (4, 4, 11, 1));
        assert_eq!(pages(flushed), 0);
        let access = pviommu_abi::AccessFlags::READ;
        let expected = LookedUp { gfn: Some(Gfn(7)), access };
        assert_eq!(done.element(found).unwrap().unwrap().found, Some(expected));
        let (index, error) = done.first_error().unwrap();
        assert_eq!((index, error.done), (refused, 0));
        assert!(vm.reads(DEVICE, 203) && !vm.writes(DEVICE, 203));
        assert!(vm.hits_background(DEVICE, 100) && vm.lands_in(DEVICE, 102, 5));
        vm.end();
    });
}
