//! Every call of every platform method fails once: nothing is lost, nothing is left.

use pviommu_abi::{Errno, FreeFlags, Gfn};
use pviommu_hypervisor::addr::GfnRange;
use pviommu_testbed::machine::{Config, Step, When};

use crate::kit::{DEVICE, RW, Vm, err, with, with_guest};
use pviommu_testbed::vm::REASONS;

/// A short life: large and small pages, a split, two contexts, a device that moves.
fn scenario(vm: &Vm<'_>) {
    vm.init(8, 11);
    let contexts: Vec<_> = (0..2).filter_map(|_| vm.alloc().ok()).collect();
    for context in &contexts {
        vm.attach(DEVICE, *context);
        vm.map(*context, 0x400, 512, 512, RW);
        vm.map(*context, 0x1001, 3, 700, RW);
        vm.writes(DEVICE, 0x401);
        vm.unmap(*context, 0x410, 8);
        vm.unmap(*context, 0x1001, 300);
        vm.map(*context, 0x410, 9, 8, RW);
        vm.writes(DEVICE, 0x411);
    }
    for context in contexts {
        vm.free(context, FreeFlags::REATTACH_DEFAULT);
    }
}

fn config() -> Config {
    let mut config = Config::one_guest(2048);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    config
}

/// INV-21: references taken are references dropped, whichever step failed.
#[test]
fn whatever_fails_once_nothing_is_left() {
    let steps = Step::BUT_UNITS;
    let calls = with(&config(), |vm| {
        scenario(vm);
        let calls = steps.map(|step| vm.bed.schedule().calls(step));
        vm.end();
        calls
    });
    for (step, calls) in steps.into_iter().zip(calls) {
        assert!(calls > 0, "{step:?} is never called");
        // Every call of those that are few, a sample of the others.
        for n in (1..=calls).step_by(usize::try_from(calls / 40 + 1).unwrap()) {
            with(&config(), |vm| {
                vm.bed.schedule().set(step, When::Nth(n));
                scenario(vm);
                vm.bed.schedule().clear();
                vm.end();
            });
        }
    }
}

#[test]
fn the_reason_a_page_is_refused_reaches_the_guest() {
    with_guest(64, |vm| {
        let context = vm.context();
        for (reason, errno) in REASONS {
            vm.bed.schedule().acquire_fails_with(reason);
            vm.bed.schedule().set(Step::AcquirePage, When::Nth(11));
            assert_eq!(vm.map(context, 5, 0, 32, RW), (err(errno), 10));
            assert_eq!(vm.unmap(context, 5, 10), (0, 10));
        }
        vm.bed.schedule().clear();
        vm.end();
    });
}

/// INV-24: the count of references to a frame saturates with an error.
#[test]
fn a_frame_that_is_mapped_too_often_is_refused() {
    let mut config = Config::one_guest(16);
    config.max_references = 3;
    with(&config, |vm| {
        let context = vm.context();
        for bfn in 0..3 {
            assert_eq!(vm.map(context, bfn, 7, 1, RW), (0, 1));
        }
        assert_eq!(vm.map(context, 3, 7, 1, RW), (err(Errno::EBUSY), 0));
        assert_eq!(vm.unmap(context, 0, 1), (0, 1));
        assert_eq!(vm.map(context, 3, 7, 1, RW), (0, 1));
        vm.end();
    });
}

/// INV-58: the policy hook refuses every subop before it has any effect.
#[test]
fn a_policy_that_refuses_stops_every_call_before_its_effect() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 1, 1, 1, RW), (0, 1));
        let before = vm.bed.counters();
        vm.bed.schedule().set(Step::Policy, When::From(1));
        let refused = err(Errno::EPERM);
        assert_eq!(vm.guest.call(0, 0), refused);
        assert_eq!(vm.init(1, 1), refused);
        assert_eq!(vm.alloc(), Err(refused));
        assert_eq!(vm.map(context, 2, 1, 1, RW), (refused, 0));
        assert_eq!(vm.unmap(context, 1, 1), (refused, 0));
        assert_eq!(vm.attach(DEVICE, pviommu_abi::ContextId::DEFAULT), refused);
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), refused);
        let after = vm.bed.counters();
        assert_eq!(before.references_live, after.references_live);
        assert_eq!(before.table_frames_live, after.table_frames_live);
        assert!(vm.lands_in(DEVICE, 1, 1));
        vm.bed.schedule().clear();
        vm.end();
    });
}
