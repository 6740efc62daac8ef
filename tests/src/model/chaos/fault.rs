//! What fails while something happens, and what that may answer.

use pviommu_abi::Errno;
use pviommu_hypervisor::platform::AcquireError;

use super::{
    super::{
        field::{Bytes, Either, Field, In, OneOf, put_below},
        ops::Op,
        run::Run,
        told::Told,
    },
    learn::Lost,
};
use crate::{
    machine::{GIVEN_UP, Half, Step, When},
    vm::{REASONS, err},
};

/// Which call of which method fails, and when it is time to give way meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub(crate) step: Step,
    pub(crate) nth: u64,
    pub(crate) reason: AcquireError,
    pub(crate) half: Half,
    pub(crate) yields: When,
    /// Entries after which a guest forgets its call for ever.
    pub(crate) patience: Option<u32>,
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

    /// True if a batch tells all the same what it has done.
    pub(super) fn leaves_told(&self) -> bool {
        !matches!(self.step, Step::CopyOut | Step::Invalidate | Step::SyncMap)
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
        Op::Map { .. } | Op::Batch { .. } | Op::MapGrant { .. } => {
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
        Op::Map { .. } | Op::Batch { .. } | Op::MapGrant { .. } | Op::Change { .. } => {
            &[SyncMap, Invalidate]
        }
        Op::Free { .. }
        | Op::Attach { .. }
        | Op::Take { .. }
        | Op::Assign { .. }
        | Op::Unassign { .. }
        | Op::Kill { .. } => &[Attach, Block, Invalidate],
        _ => &[Invalidate],
    }
}

/// Something that fails while an operation happens, if it ever gets there.
pub(super) struct FaultIn<'o>(pub(super) &'o Op);

const NTH: Either<u64> = Either(&[(9, &In(1, 1)), (7, &In(2, 2)), (2, &In(4, 3)), (1, &In(7, 17))]);
const HALF: OneOf<Half> = OneOf(&[(1, Half::Nothing), (1, Half::Done)]);
const YIELDS: OneOf<When> = OneOf(&[
    (12, When::Every(1)),
    (12, When::Every(2)),
    (1, When::Nth(1)),
    (1, When::Nth(2)),
    (1, When::Nth(3)),
    (1, When::Nth(5)),
    (1, When::Nth(7)),
    (1, When::Nth(11)),
    (6, When::Never),
]);
const PATIENCE: OneOf<Option<u32>> = OneOf(&[(28, None), (6, Some(1)), (3, Some(2)), (3, Some(3))]);

impl FaultIn<'_> {
    /// Those that leave units well are likelier.
    fn steps(&self) -> [(usize, &'static [Step]); 2] {
        [(6, soft(self.0)), (2, of_unit(self.0))]
    }
}

impl Field<Fault> for FaultIn<'_> {
    fn get(&self, from: &mut Bytes<'_>) -> Fault {
        let [(often, soft), (rarely, of_unit)] = self.steps();
        let steps = if from.below(often + rarely) < often { soft } else { of_unit };
        Fault {
            step: steps[from.below(steps.len())],
            nth: NTH.get(from),
            reason: REASONS[from.below(REASONS.len())].0,
            half: HALF.get(from),
            yields: YIELDS.get(from),
            patience: PATIENCE.get(from),
        }
    }

    fn put(&self, fault: &Fault, to: &mut Vec<u8>) -> bool {
        let [(often, soft), (rarely, of_unit)] = self.steps();
        let at = |steps: &[Step]| steps.iter().position(|step| *step == fault.step);
        let (tag, step, steps) = match (at(soft), at(of_unit)) {
            (Some(at), _) => (0, at, soft.len()),
            (_, Some(at)) => (often, at, of_unit.len()),
            (None, None) => return false,
        };
        let Some(reason) = REASONS.iter().position(|(it, _)| *it == fault.reason) else {
            return false;
        };
        let mut bytes = Vec::new();
        put_below(tag, often + rarely, &mut bytes);
        put_below(step, steps, &mut bytes);
        let can = NTH.put(&fault.nth, &mut bytes);
        put_below(reason, REASONS.len(), &mut bytes);
        let can = can
            && HALF.put(&fault.half, &mut bytes)
            && YIELDS.put(&fault.yields, &mut bytes)
            && PATIENCE.put(&fault.patience, &mut bytes);
        if can {
            to.extend(bytes);
        }
        can
    }
}
