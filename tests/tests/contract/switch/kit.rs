//! The ownership switch as a guest asks for it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use pviommu_abi::{Background as Wire, OwnershipMode, Subop, TakeOwnership};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::{Step, When};
use zerocopy::IntoBytes;

use crate::kit::{GUEST, Vm};

/// Asks until it is done.
pub(crate) fn take(vm: &Vm<'_>, mode: OwnershipMode) -> i64 {
    vm.op(Subop::TAKE_OWNERSHIP, &mut TakeOwnership { mode, ..TakeOwnership::default() })
}

/// The same, and says what unmapped bus frames hit.
pub(crate) fn take_over(vm: &Vm<'_>, mode: OwnershipMode, background: Wire) -> i64 {
    let mut argument = TakeOwnership { mode, background, ..TakeOwnership::default() };
    vm.op(Subop::TAKE_OWNERSHIP, &mut argument)
}

/// Where the argument of a switch lies that is made step by step.
const ARGUMENT: u64 = 0x3_f000;

/// Asks once.
pub(crate) fn step(vm: &Vm<'_>, mode: OwnershipMode) -> Outcome {
    let argument = TakeOwnership { mode, ..TakeOwnership::default() };
    vm.bed.guest_write(GUEST, ARGUMENT, argument.as_bytes());
    vm.bed.hypercall(GUEST, 0, u64::from(Subop::TAKE_OWNERSHIP.0), ARGUMENT)
}

/// Has `act` run; if it has no end, has it end by letting `step` do what `when` says, or never fail
/// again: what it returns is then not what was expected.
pub(crate) fn that_ends<R>(vm: &Vm<'_>, (step, when): (Step, When), act: impl FnOnce() -> R) -> R {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            vm.bed.schedule().set(step, when);
        });
        let _ended = Ended(&ended);
        act()
    })
}

/// Ends the threads that look at it, also when the test has failed.
pub(crate) struct Ended<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
