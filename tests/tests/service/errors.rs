//! What a guest is told when something fails: the first error, of those it may see; and what a call that
//! failed leaves to the next.

use pviommu_abi::{BatchOp, ContextId, ElementFlags, Errno, FreeFlags};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::{Config, Step, When};

use crate::{
    batch::kit::{RUN_ALL, element, flush, map, run, unmap, unmap_later},
    kit::{DEVICE, RW, Vm, err, with, with_guest},
};

/// INV-56: of two errors of one call, the one that came first.
#[test]
fn of_two_errors_the_first_is_told() {
    type Act = fn(&Vm<'_>, ContextId) -> i64;
    let map: Act = |vm, context| vm.map(context, 100, 20, 20, RW).0;
    let unmap: Act = |vm, context| vm.unmap(context, 10, 4).0;
    let attach: Act = |vm, _| vm.attach(DEVICE, ContextId::DEFAULT);
    let free: Act = |vm, context| vm.free(context, FreeFlags::REATTACH_DEFAULT);
    let alloc: Act = |vm, _| vm.alloc().unwrap_err();
    let init: Act = |vm, _| vm.init(4, 4);
    let cases = [
        (map, Step::AcquirePage, Step::CopyOut, Errno::EPERM),
        (map, Step::Alloc, Step::CopyOut, Errno::ENOMEM),
        (map, Step::CopyIn, Step::CopyOut, Errno::EFAULT),
        (map, Step::Policy, Step::Acquire, Errno::EPERM),
        (unmap, Step::Invalidate, Step::CopyOut, Errno::EIO),
        (unmap, Step::Policy, Step::Invalidate, Errno::EPERM),
        (attach, Step::Block, Step::Invalidate, Errno::EIO),
        (attach, Step::CopyIn, Step::Block, Errno::EFAULT),
        (free, Step::Policy, Step::Block, Errno::EPERM),
        (alloc, Step::Alloc, Step::CopyOut, Errno::ENOMEM),
        (alloc, Step::Policy, Step::Alloc, Errno::EPERM),
        (init, Step::Policy, Step::CopyOut, Errno::EPERM),
    ];
    for (act, first, second, errno) in cases {
        with_guest(64, |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 10, 1, 8, RW), (0, 8));
            assert!(vm.writes(DEVICE, 10));
            if first == Step::Alloc {
                // A table more than there is.
                assert_eq!(vm.unmap(context, 10, 8), (0, 8));
                vm.bed.trim(crate::kit::GUEST, 0).unwrap();
            }
            vm.bed.schedule().set(second, When::From(1));
            vm.bed.schedule().set(first, When::From(1));
            assert_eq!(act(vm, context), err(errno), "{first:?}, then {second:?}");
            vm.bed.schedule().clear();
            if vm.bed.failed_units().is_empty() {
                vm.end();
            }
        });
    }
}

/// INV-55: whatever gives way or fails, what is told is 0 or one of the errors that guests know.
#[test]
fn no_code_of_the_hypervisors_own_reaches_a_guest() {
    // EINTR and ERESTART of Xen.
    assert!([4i64, 85].iter().all(|code| Errno::from_ret(-code).is_none()));
    for step in Step::ALL {
        for when in [1, 2, 3].map(When::Every) {
            with(&Config::one_guest(2048), |vm| {
                let context = vm.attached_context();
                vm.bed.schedule().set(Step::Yield, When::Every(2));
                vm.bed.schedule().set(step, when);
                let mut told = Vec::new();
                for round in 0..4 {
                    told.push(vm.map(context, 10, 1, 600, RW).0);
                    told.push(vm.attach(DEVICE, ContextId::DEFAULT));
                    told.push(vm.attach(DEVICE, context));
                    told.push(vm.unmap(context, 10 + round, 600).0);
                    told.push(vm.alloc().map_or_else(|status| status, |_| 0));
                    let mut batch = [map(3000, 1, 600), unmap_later(3000, 600), flush(0, 0)];
                    told.push(run(vm, context, RUN_ALL, &mut batch).0);
                }
                told.push(vm.free(context, FreeFlags::REATTACH_DEFAULT));
                vm.bed.schedule().clear();
                if let Outcome::Done(status) =
                    vm.bed.iommu().teardown(vm.bed.domain(crate::kit::GUEST), 0)
                {
                    told.push(status);
                }
                for status in told {
                    let known = status == 0 || Errno::from_ret(status).is_some();
                    assert!(known, "{step:?} {when:?}: {status}");
                }
            });
        }
    }
}

/// INV-14: that a flush is left out is said by an operation, of that operation. However it ends, the
/// next one of the same CPU flushes what it removes before it returns.
#[test]
fn a_flush_that_one_call_puts_off_is_put_off_by_no_other() {
    let steps =
        [Step::CopyIn, Step::CopyOut, Step::Acquire, Step::Alloc, Step::Policy, Step::Yield];
    let no_flush = |bfn, nr| element(BatchOp::MAP, ElementFlags::NO_FLUSH | RW_LATER, bfn, 30, nr);
    for step in steps {
        for n in 1..6 {
            with_guest(64, |vm| {
                let (context, other) = (vm.attached_context(), vm.context());
                assert_eq!(vm.map(context, 10, 1, 9, RW), (0, 9));
                assert_eq!(vm.map(context, 50, 40, 4, RW), (0, 4));
                let mut batch = [unmap_later(10, 2), no_flush(100, 2), unmap_later(12, 1)];
                vm.bed.schedule().set(step, When::Nth(n));
                run(vm, context, RUN_ALL, &mut batch);
                run(vm, other, RUN_ALL, &mut [unmap(7, 1), no_flush(100, 1)]);
                vm.bed.schedule().clear();
                let before = vm.bed.counters().references_live;
                assert!((50..54).all(|bfn| vm.writes(DEVICE, bfn)));
                assert_eq!(vm.unmap(context, 50, 4), (0, 4));
                assert!((50..54).all(|bfn| vm.hits_background(DEVICE, bfn)), "{step:?} {n}");
                let after = vm.bed.counters().references_live;
                assert!(after + 4 <= before, "{step:?} {n}: what was flushed is given back");
                vm.end();
            });
        }
    }
}

const RW_LATER: ElementFlags = crate::batch::kit::READ_WRITE;
