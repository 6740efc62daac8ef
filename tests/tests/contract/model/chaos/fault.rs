//! What fails while something happens, and what that may answer.

use proptest::prelude::*;
use pviommu_abi::Errno;
use pviommu_hypervisor::platform::AcquireError;
use pviommu_testbed::machine::{GIVEN_UP, Half, Step, When};

use super::super::{ops::Op, run::Run, told::Told};
use super::learn::Lost;
use crate::kit::{REASONS, err};

/// Which call of which method fails, and when it is time to give way meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    step: Step,
    nth: u64,
    reason: AcquireError,
    half: Half,
    yields: When,
    /// Entries after which a guest forgets its call for ever.
    patience: Option<u32>,
}

impl Fault {
    pub(super) fn arm(&self, run: &mut Run<'_>) {
        let schedule = run.bed.schedule();
        schedule.acquire_fails_with(self.reason);
        schedule.hardware_fails(self.half);
        schedule.set(self.step, When::Nth(self.nth));
        schedule.set(Step::Yield, self.yields);
        run.patience = self.patience;
    }

    /// True if it happened; from now on nothing fails.
    pub(super) fn disarm(&self, run: &mut Run<'_>, yields: u64) -> bool {
        let schedule = run.bed.schedule();
        let hit = schedule.calls(self.step) >= self.nth;
        schedule.clear();
        schedule.set(Step::Yield, When::Every(yields));
        run.patience = None;
        hit
    }

    /// What it may cost a step besides that it is not done.
    pub(super) fn costs(&self, op: &Op) -> Lost {
        match self.step {
            Step::Alloc | Step::Reserve => Lost::Leaves,
            Step::Acquire | Step::AcquirePage if matches!(op, Op::Take { .. }) => Lost::Pages,
            _ => Lost::Nothing,
        }
    }

    /// True if a unit refuses a device, which is then blocked if it has no other place.
    pub(super) fn is_refusal(&self) -> bool {
        self.step == Step::AttachRefused
    }

    /// True if what was done cannot be told.
    pub(super) fn is_of_the_answer(&self) -> bool {
        self.step == Step::CopyOut
    }

    /// What is answered because of it.
    fn errno(&self) -> Errno {
        match self.step {
            Step::Acquire | Step::AcquirePage => {
                let reason = REASONS.iter().find(|(reason, _)| *reason == self.reason);
                reason.map_or(Errno::EPERM, |(_, errno)| *errno)
            }
            Step::CopyIn | Step::CopyOut => Errno::EFAULT,
            Step::Policy => Errno::EPERM,
            Step::Attach | Step::Block | Step::Invalidate | Step::SyncMap => Errno::EIO,
            // A unit that refuses an entry has no memory for it.
            _ => Errno::ENOMEM,
        }
    }

    /// True if a call came to its end because of it, and may have to be made again to get there.
    pub(super) fn interrupts(&self, told: &Told) -> bool {
        let ends = matches!(self.step, Step::CopyIn | Step::Policy);
        told.given.0 == GIVEN_UP
            || (ends && told.given != told.expected && told.given.0 == err(self.errno()))
    }

    /// True if what was answered is what the model says, or what the failure is answered by.
    pub(super) fn allows(&self, told: &Told, hit: bool) -> bool {
        let Told { given, expected } = *told;
        let errno = err(self.errno());
        let of_failure = hit && (given.0 == errno || given.1 == errno);
        let given_up = self.patience.is_some() && given.0 == GIVEN_UP;
        // How many pages, cannot be told.
        let fewer = given.0 == expected.0 && given.2 <= expected.2;
        let untold = hit && self.is_of_the_answer() && fewer;
        given == expected || of_failure || given_up || untold
    }
}

/// Methods that fail and leave their units well: those that a step of this kind calls.
fn soft(op: &Op) -> &'static [Step] {
    use Step::{Acquire, AcquirePage, Alloc, AttachRefused, CopyIn, CopyOut, Policy, Reserve};
    match op {
        Op::Map { .. } | Op::MapGrant { .. } => {
            &[Acquire, AcquirePage, AcquirePage, Alloc, Alloc, Reserve, CopyIn, CopyOut, Policy]
        }
        Op::Unmap { .. } | Op::Later { .. } => &[Alloc, CopyIn, CopyOut, Policy],
        Op::Alloc { .. } => &[Alloc, Alloc, Alloc, CopyIn, CopyOut, Policy],
        Op::Free { .. } | Op::Attach { .. } => &[Alloc, CopyIn, Policy, AttachRefused],
        Op::Take { .. } => {
            &[Alloc, Alloc, Reserve, Acquire, AcquirePage, CopyIn, CopyIn, Policy, AttachRefused]
        }
        Op::Assign { .. } | Op::Unassign { .. } | Op::Kill { .. } => &[Alloc, AttachRefused],
        _ => &[Alloc, Alloc, Reserve],
    }
}

/// Methods of a unit that a step of this kind calls.
fn of_unit(op: &Op) -> &'static [Step] {
    use Step::{Attach, Block, Invalidate, SyncMap};
    match op {
        Op::Map { .. } | Op::MapGrant { .. } | Op::Change { .. } => &[SyncMap, Invalidate],
        Op::Free { .. }
        | Op::Attach { .. }
        | Op::Take { .. }
        | Op::Assign { .. }
        | Op::Unassign { .. }
        | Op::Kill { .. } => &[Attach, Block, Invalidate],
        _ => &[Invalidate],
    }
}

/// Something that fails while `op` happens, if it ever gets there.
pub(super) fn fault_in(op: &Op) -> impl Strategy<Value = Fault> + use<> {
    let step = prop_oneof![
        6 => prop::sample::select(soft(op)),
        2 => prop::sample::select(of_unit(op)),
    ];
    let nth = prop_oneof![9 => Just(1u64), 7 => 2..4u64, 2 => 4..7u64, 1 => 7..24u64];
    let reason = prop::sample::select(REASONS.map(|(reason, _)| reason).to_vec());
    let half = prop::sample::select(vec![Half::Nothing, Half::Done]);
    let yields = prop_oneof![
        4 => (1..3u64).prop_map(When::Every),
        1 => (1..12u64).prop_map(When::Nth),
        1 => Just(When::Never),
    ];
    let patience = prop::option::weighted(0.3, prop::sample::select(vec![1u32, 1, 2, 3]));
    (step, nth, reason, half, yields, patience).prop_map(
        |(step, nth, reason, half, yields, patience)| Fault {
            step,
            nth,
            reason,
            half,
            yields,
            patience,
        },
    )
}
