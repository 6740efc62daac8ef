//! Batches when the hardware, the memory of the guest or the embedder fails.

use pviommu_abi::{Batch, BatchElement, Errno, FreeFlags, Gfn, GuestPtr};
use pviommu_hypervisor::{Outcome, addr::GfnRange};
use pviommu_testbed::machine::{Config, Half, Step, When};
use zerocopy::IntoBytes;

use crate::batch::kit::{
    HEADER, LIST, RUN_ALL, STOP, UNTOUCHED_STATUS, begin, flush, header, lay, lay_list, look,
    lookup, map, map_list, run, run_one, skip_holes, statuses, step, unmap, unmap_later,
};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest};

const PAGES: u64 = 2000;
const IO: Result<(), Errno> = Err(Errno::EIO);

/// Maps `pages` pages from bus frame `bfn` on and has the device cache the first of them.
fn mapped(vm: &Vm<'_>, bfn: u64, pages: u32) {
    let context = pviommu_abi::ContextId(1);
    assert_eq!(vm.map(context, bfn, 64, pages, RW), (0, pages));
    assert!(vm.lands_in(DEVICE, bfn, 64));
}

/// After a flush has failed: all that the unit may still reach is held, and the domain can die.
fn end_behind_a_failed_unit(vm: &Vm<'_>) {
    assert_eq!(vm.bed.violations(), []);
    vm.bed.schedule().clear();
    vm.bed.teardown(GUEST, 0);
    assert_eq!(vm.bed.violations(), []);
}

/// INV-15: nobody may rely on an unmap whose flush has failed.
#[test]
fn elements_whose_flush_fails_say_so() {
    for half in [Half::Nothing, Half::Done] {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            mapped(vm, 100, 20);
            vm.bed.schedule().hardware_fails(half);
            vm.bed.schedule().set(Step::Invalidate, When::From(1));
            let mut elements = [unmap(100, 8), unmap(108, 3), unmap(300, 1), unmap(111, 1)];
            assert_eq!(run(vm, context, RUN_ALL, &mut elements), (err(Errno::EIO), 4));
            let nothing = Err(Errno::ENOENT);
            assert_eq!(statuses(&elements), [IO, IO, nothing, IO]);
            assert_eq!(vm.bed.counters().references_live, 20, "all are held");
            assert_eq!(vm.bed.domain(GUEST).stats().leaked_pages, 12);
            // The context is frozen.
            let mut elements = [map(900, 64, 1)];
            assert_eq!(run(vm, context, RUN_ALL, &mut elements), (err(Errno::EIO), 0));
            assert_eq!((elements[0].status, elements[0].done), (UNTOUCHED_STATUS, 0));
            end_behind_a_failed_unit(vm);
        });
    }
}

#[test]
fn elements_before_a_flush_that_succeeded_stay_as_they_are() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        mapped(vm, 100, 200);
        // A flush for each page of the array: the second fails.
        vm.bed.schedule().set(Step::Invalidate, When::Nth(2));
        let mut elements: Vec<_> = (0..200).map(|i| unmap(100 + i, 1)).collect();
        let (status, done) = run(vm, context, STOP, &mut elements);
        assert_eq!(status, err(Errno::EIO));
        let finished = &elements[..usize::try_from(done).unwrap()];
        let told = finished.iter().take_while(|element| element.status == 0).count();
        assert!(told > 0, "those of the first flush");
        assert!(statuses(&finished[told..]).iter().all(|status| *status == IO));
        let held = vm.bed.counters().references_live;
        assert_eq!(held, 200 - told as u64, "what is told as unmapped is given back");
        assert!((0..told as u64).all(|i| vm.hits_background(DEVICE, 100 + i)));
        end_behind_a_failed_unit(vm);
    });
}

/// The flush comes in the middle of an element, because no more can wait: those before wait, too.
#[test]
fn a_flush_that_fails_in_the_middle_of_an_element_is_told_to_those_before() {
    for flags in [STOP, RUN_ALL] {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            mapped(vm, 100, 1900);
            vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
            let mut elements = [unmap(100, 1), unmap(101, 2), unmap(103, 1500), lookup(100)];
            run(vm, context, flags, &mut elements);
            assert_eq!(vm.bed.counters().references_live, 1900, "nothing was flushed");
            assert_eq!(statuses(&elements[..3]), [IO; 3], "{flags:?}");
            end_behind_a_failed_unit(vm);
        });
    }
}

/// And what that flush covered may be relied on, although the next one fails.
#[test]
fn a_flush_in_the_middle_of_an_element_that_succeeds_is_one_for_those_before() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        mapped(vm, 100, 1900);
        vm.bed.schedule().set(Step::Invalidate, When::Nth(2));
        let mut elements = [unmap(100, 1), unmap(101, 2), unmap(103, 400), unmap(503, 1)];
        run(vm, context, RUN_ALL, &mut elements);
        assert_eq!(statuses(&elements[..3]), [Ok(()), Ok(()), IO]);
        assert!((100..103).all(|bfn| vm.hits_background(DEVICE, bfn)));
        let held = vm.bed.counters().references_live;
        assert!(
            (1496..1897).contains(&held),
            "{held}: what was flushed is given back, and no more"
        );
        end_behind_a_failed_unit(vm);
    });
}

/// INV-15: a context behind a failed unit is not edited any more, by the same batch neither.
#[test]
fn nothing_is_mapped_after_a_flush_has_failed() {
    let cases: [(&[BatchElement], &str); 3] = [
        (&[unmap(100, 1500)], "an unmap"),
        (&[unmap_later(100, 1), flush(100, 1)], "a flush"),
        (&[unmap_later(100, 1), map(100, 70, 1)], "a map where a flush is awaited"),
    ];
    for (first, what) in cases {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            mapped(vm, 100, 1900);
            vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
            let mut elements = first.to_vec();
            elements.extend([map(9000, 70, 1), map(9001, 71, 2)]);
            run(vm, context, RUN_ALL, &mut elements);
            let after = &elements[first.len()..];
            let mapped = after.iter().any(|element| element.status == 0);
            assert!(!mapped, "{what} failed: {:?}", statuses(&elements[..first.len()]));
            assert!(vm.hits_background(DEVICE, 9000) && vm.hits_background(DEVICE, 9001));
            end_behind_a_failed_unit(vm);
        });
    }
}

/// INV-53: what cannot be told is as if the last part of the batch had not been called.
#[test]
fn results_that_cannot_be_written_are_a_fault() {
    for nth in [1, 2] {
        with_guest(PAGES, |vm| {
            let context = vm.attached_context();
            let mut elements = [map(100, 64, 2), map(200, 64, 2)];
            begin(&mut elements);
            lay(vm, &header(context, STOP, 2), &elements);
            vm.bed.schedule().set(Step::CopyOut, When::Nth(nth));
            assert_eq!(step(vm), Outcome::Done(err(Errno::EFAULT)));
            let (batch, _) = look(vm);
            assert_eq!(batch.nr_done, 0);
            vm.bed.schedule().clear();
            // The guest can find out, and clean up.
            let mut elements = [lookup(100), lookup(201), skip_holes(100, 200)];
            assert_eq!(run(vm, context, STOP, &mut elements), (0, 3));
            assert_eq!(vm.bed.counters().references_live, 0);
            vm.end();
        });
    }
}

/// INV-56: the error that came first is told.
#[test]
fn a_fault_does_not_hide_a_flush_that_failed() {
    with_guest(PAGES, |vm| {
        let context = vm.attached_context();
        mapped(vm, 100, 20);
        let mut elements = [unmap(100, 8)];
        begin(&mut elements);
        lay(vm, &header(context, STOP, 1), &elements);
        vm.bed.schedule().set(Step::Invalidate, When::From(1));
        // The header's, behind the elements'.
        vm.bed.schedule().set(Step::CopyOut, When::Nth(2));
        assert_eq!(step(vm), Outcome::Done(err(Errno::EIO)));
        end_behind_a_failed_unit(vm);
    });
}

/// Registers are no memory a batch can lie in.
#[test]
fn a_batch_in_registers_is_a_fault() {
    let mut config = Config::one_guest(64);
    config.domains[0].mmio = vec![GfnRange::of_pages(Gfn(0x100), 4).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        let registers = GuestPtr(0x10_0000);
        let batch = Batch { ops: registers, ..header(context, STOP, 1) };
        vm.bed.guest_write(GUEST, HEADER, batch.as_bytes());
        assert_eq!(step(vm), Outcome::Done(err(Errno::EFAULT)));
        assert_eq!(vm.guest.call(0x40, registers.0), err(Errno::EFAULT));
        assert_eq!(run_one(vm, context, map_list(100, registers.0, 1)), (err(Errno::EFAULT), 0));
        vm.end();
    });
}

/// A short life in batches.
fn scenario(vm: &Vm<'_>) {
    vm.init(8, 11);
    let Ok(context) = vm.alloc() else { return };
    vm.attach(DEVICE, context);
    lay_list(vm, &[70, 99, 71, 72, 1999, 64]);
    let mut elements = vec![
        map(0x400, 512, 512),
        map(0x1001, 100, 700),
        map_list(0x2000, LIST, 6),
        unmap_later(0x410, 8),
        unmap(0x1001, 300),
        map(0x410, 90, 8),
        skip_holes(0x800, 0x1900),
        unmap_later(0x400, 30),
        flush(0, 0),
    ];
    elements.extend((0..130).map(|i| map(0x9000 + i, 100 + i, 1)));
    begin(&mut elements);
    lay(vm, &header(context, RUN_ALL, elements.len()), &elements);
    for _ in 0..50 {
        if step(vm) != Outcome::Continue {
            break;
        }
        vm.writes(DEVICE, 0x411);
        vm.writes(DEVICE, 0x1002);
    }
    vm.writes(DEVICE, 0x9005);
    vm.free(context, FreeFlags::REATTACH_DEFAULT);
}

/// INV-21: references taken are references dropped, whichever step of a batch failed.
#[test]
fn whatever_fails_once_in_a_batch_nothing_is_left() {
    let steps = Step::BUT_UNITS;
    let mut config = Config::one_guest(PAGES + 48);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    let calls = with(&config, |vm| {
        scenario(vm);
        let calls = steps.map(|step| vm.bed.schedule().calls(step));
        vm.end();
        calls
    });
    for (step, calls) in steps.into_iter().zip(calls) {
        for n in (1..=calls).step_by(usize::try_from(calls / 30 + 1).unwrap()) {
            with(&config, |vm| {
                vm.bed.schedule().set(step, When::Nth(n));
                scenario(vm);
                vm.bed.schedule().clear();
                vm.end();
            });
        }
    }
}

/// INV-15, INV-20: whichever flush of a batch fails, no page is given back that may be cached.
#[test]
fn whichever_flush_of_a_batch_fails_no_page_is_given_back_too_early() {
    let mut config = Config::one_guest(PAGES + 48);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    for n in 1..30 {
        with(&config, |vm| {
            vm.bed.schedule().set(Step::Invalidate, When::Nth(n));
            scenario(vm);
            end_behind_a_failed_unit(vm);
        });
    }
}
