//! Contexts with a chosen background and aperture.

use pviommu_abi::{
    AllocContextExt, AllocContextExtFlags, Background as Wire, Bfn, ContextId, DomId, Errno,
    FreeFlags, LimitFlags, QueryLimits, Subop,
};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Reach, Step, When},
};
use zerocopy::IntoBytes;

use crate::batch::kit::{RUN_ALL, flush, lookup, map, run, skip_holes, statuses, unmap};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, over_scratch, with_guest};

const TOP: u64 = (1 << 36) - 1;

fn asked(background: Wire, first: u64, last: u64) -> AllocContextExt {
    let (aperture_first, aperture_last) = (Bfn(first), Bfn(last));
    AllocContextExt { background, aperture_first, aperture_last, ..AllocContextExt::default() }
}

fn open(vm: &Vm<'_>, mut argument: AllocContextExt) -> ContextId {
    argument.ctx_id = u32::MAX;
    assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument), 0, "{argument:?}");
    assert_ne!(argument.ctx_id, 0);
    ContextId(u16::try_from(argument.ctx_id).unwrap())
}

fn limits(vm: &Vm<'_>, context: ContextId) -> QueryLimits {
    let mut query = QueryLimits { ctx_id: u32::from(context.0), ..QueryLimits::default() };
    assert_eq!(vm.op(Subop::QUERY_LIMITS, &mut query), 0);
    query
}

fn is_refused(vm: &Vm<'_>, argument: AllocContextExt, errno: Errno) {
    let (used, tables) = (limits(vm, ContextId::DEFAULT), vm.bed.counters().table_frames_live);
    let mut after = argument;
    assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut after), err(errno), "{argument:?}");
    assert_eq!(after.as_bytes(), argument.as_bytes());
    assert_eq!(limits(vm, ContextId::DEFAULT).as_bytes(), used.as_bytes());
    assert_eq!(vm.bed.counters().table_frames_live, tables);
}

/// What the device finds where nothing is mapped.
fn background(vm: &Vm<'_>, bfn: u64) -> Wire {
    match vm.hits(DEVICE, bfn, Direction::Read) {
        Some(Reach::Scratch) => Wire::SCRATCH,
        None => Wire::FAULT,
        other => unreachable!("{other:?} at {bfn:#x}"),
    }
}

/// INV-72.
#[test]
fn the_background_is_the_one_that_was_chosen() {
    with_guest(64, |vm| {
        assert_eq!(vm.init(8, 10), 0);
        let usual = if over_scratch() { Wire::SCRATCH } else { Wire::FAULT };
        for (chosen, expected) in
            [(Wire::DEFAULT, usual), (Wire::FAULT, Wire::FAULT), (Wire::SCRATCH, Wire::SCRATCH)]
        {
            let context = open(vm, asked(chosen, 0, 0));
            let told = limits(vm, context);
            assert_eq!(told.background, expected);
            let flushes = told.state.contains(LimitFlags::MAP_FLUSHES);
            assert_eq!(flushes, expected == Wire::SCRATCH);
            assert_eq!((told.aperture_first, told.aperture_last), (Bfn(0), Bfn(TOP)));
            assert_eq!(vm.attach(DEVICE, context), 0);
            assert!([0, 100, 1 << 30, TOP].iter().all(|bfn| background(vm, *bfn) == expected));
            assert_eq!(vm.map(context, 100, 3, 2, RW), (0, 2));
            assert!(vm.lands_in(DEVICE, 101, 4));
            assert_eq!(vm.unmap(context, 100, 2), (0, 2));
            assert_eq!(background(vm, 100), expected);
        }
        vm.end();
    });
}

#[test]
fn a_narrow_aperture_is_enforced_by_every_call() {
    let apertures = [
        (5, 5),
        (100, 611),
        (511, 512),
        (512, 1023),
        (1 << 18, (1 << 18) + 7),
        (0, 0xfffff),
        (TOP, TOP),
    ];
    for chosen in [Wire::FAULT, Wire::SCRATCH] {
        for (first, last) in apertures {
            with_guest(64, |vm| {
                assert_eq!(vm.init(8, 10), 0);
                let context = open(vm, asked(chosen, first, last));
                assert_eq!(vm.attach(DEVICE, context), 0);
                let told = limits(vm, context);
                assert_eq!((told.aperture_first.0, told.aperture_last.0), (first, last));
                let invalid = Err(Errno::EINVAL);
                for bfn in [first, last] {
                    assert_eq!(vm.map(context, bfn, 3, 1, RW), (0, 1));
                    assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
                }
                let outside = [(last, 2), (last + 1, 1), (first.wrapping_sub(1), 2)];
                for (bfn, nr) in outside {
                    if bfn == u64::MAX {
                        continue;
                    }
                    assert_eq!(vm.map(context, bfn, 3, nr, RW), (err(Errno::EINVAL), 0));
                    assert_eq!(vm.unmap(context, bfn, nr), (err(Errno::EINVAL), 0));
                    let mut elements =
                        [map(bfn, 3, nr), unmap(bfn, nr), skip_holes(bfn, nr), flush(bfn, nr)];
                    assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 4));
                    assert_eq!(statuses(&elements), [invalid; 4]);
                }
                let mut elements = [lookup(last + 1), lookup(first), map(last, 3, 1), lookup(last)];
                assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 4));
                let expected = [invalid, Err(Errno::ENOENT), Ok(()), Ok(())];
                assert_eq!(statuses(&elements), expected);
                assert!(vm.lands_in(DEVICE, last, 3));
                // Beyond it DMA is blocked, whatever the background.
                for bfn in [first.wrapping_sub(1), last + 1].into_iter().filter(|bfn| *bfn <= TOP) {
                    assert_eq!(background(vm, bfn), Wire::FAULT, "{bfn:#x}");
                }
                if first != last {
                    assert_eq!(background(vm, first), chosen);
                }
                assert_eq!(vm.unmap(context, last, 1), (0, 1));
                assert_eq!(background(vm, last), chosen);
                vm.end();
            });
        }
    }
}

#[test]
fn what_is_wrong_with_a_new_context_is_told_and_nothing_is_opened() {
    with_guest(64, |vm| {
        is_refused(vm, asked(Wire::DEFAULT, 0, 0), Errno::ENOSPC);
        assert_eq!(vm.init(2, 10), 0);
        let good = asked(Wire::DEFAULT, 0, 0);
        for bit in 0..32 {
            let flags = AllocContextExtFlags::from_bits_retain(1 << bit);
            is_refused(vm, AllocContextExt { flags, ..good }, Errno::EINVAL);
        }
        is_refused(vm, AllocContextExt { reserved0: 1, ..good }, Errno::EINVAL);
        is_refused(vm, AllocContextExt { reserved1: 1 << 31, ..good }, Errno::EINVAL);
        for (first, last) in [
            (1, 0),
            (6, 5),
            (u64::MAX, 0),
            (0, TOP + 1),
            (0, u64::MAX),
            (u64::MAX, u64::MAX),
            (TOP + 1, TOP + 1),
        ] {
            is_refused(vm, asked(Wire::DEFAULT, first, last), Errno::EINVAL);
        }
        for background in [3, 4, 1 << 31, u32::MAX] {
            is_refused(vm, asked(Wire(background), 0, 0), Errno::EOPNOTSUPP);
        }
        for (parent, format) in [(1, 0), (0, 1), (u32::MAX, 0), (0, u32::MAX)] {
            is_refused(vm, AllocContextExt { parent, format, ..good }, Errno::EOPNOTSUPP);
        }
        is_refused(vm, AllocContextExt { domid: DomId(0), ..good }, Errno::EPERM);
        open(vm, good);
        open(vm, good);
        is_refused(vm, good, Errno::ENOSPC);
        assert_eq!(vm.free(ContextId(1), FreeFlags::empty()), 0);
        assert_eq!(open(vm, good), ContextId(1));
        vm.end();
    });
}

/// INV-53: whichever frame is not to be had, nothing is left of what was built.
#[test]
fn a_context_that_cannot_be_built_leaves_nothing() {
    with_guest(64, |vm| {
        assert_eq!(vm.init(2, 10), 0);
        let argument = asked(Wire::SCRATCH, 513, (1 << 30) + 1);
        let all = {
            vm.bed.schedule().set(Step::Alloc, When::Never);
            let context = open(vm, argument);
            assert_eq!(vm.free(context, FreeFlags::empty()), 0);
            vm.bed.schedule().calls(Step::Alloc)
        };
        assert!(all > 4);
        for nth in 1..=all {
            vm.bed.schedule().set(Step::Alloc, When::Nth(nth));
            is_refused(vm, argument, Errno::ENOMEM);
            assert_eq!(vm.bed.counters().scratch_frames_live, 0);
        }
        vm.bed.schedule().clear();
        vm.end();
    });
}

/// INV-57: the frames of a background are charged to the domain.
#[test]
fn a_domain_with_few_frames_gets_no_background() {
    with_guest(64, |vm| {
        assert_eq!(vm.init(8, 2), 0);
        is_refused(vm, asked(Wire::SCRATCH, 0, 0), Errno::ENOMEM);
        let context = open(vm, asked(Wire::FAULT, 0, 0));
        assert_eq!(limits(vm, context).table_frames_used, 1);
        vm.end();
    });
}

/// INV-53: a context whose number could not be told is not kept: neither where the memory is bad,
/// nor where the caller's structure ends before it.
#[test]
fn a_context_whose_number_is_not_told_is_not_kept() {
    with_guest(64, |vm| {
        assert_eq!(vm.init(8, 10), 0);
        vm.bed.schedule().set(Step::CopyOut, When::Nth(1));
        let mut argument = asked(Wire::DEFAULT, 0, 0);
        assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument), err(Errno::EFAULT));
        vm.bed.schedule().clear();
        assert_eq!(limits(vm, ContextId::DEFAULT).contexts_used, 0);
        for size in [12, 16, 32, 33, 35] {
            let at = vm.guest.argument_address();
            let argument = AllocContextExt { size, ..asked(Wire::DEFAULT, 0, 0) };
            vm.bed.guest_write(GUEST, at, argument.as_bytes());
            let status = vm.guest.call(u64::from(Subop::ALLOC_CONTEXT_EXT.0), at);
            let used = limits(vm, ContextId::DEFAULT).contexts_used;
            assert_eq!(used, 0, "a structure of {size} bytes: {status}");
        }
        vm.end();
    });
}

/// A caller that knows no more than the number gets the usual context.
#[test]
fn a_shorter_argument_ends_behind_the_number() {
    with_guest(64, |vm| {
        assert_eq!(vm.init(8, 10), 0);
        for size in 36..=48u32 {
            let mut argument = AllocContextExt { size, ..asked(Wire::FAULT, 7, 9) };
            (argument.parent, argument.format, argument.reserved1) = (0, 0, 0);
            let context = open(vm, argument);
            assert_eq!(limits(vm, context).aperture_last, Bfn(9));
            assert_eq!(vm.free(context, FreeFlags::empty()), 0);
        }
        vm.end();
    });
}
