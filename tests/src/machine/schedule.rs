//! Failures on request: which call of which method of the platform fails.
//!
//! Calls are counted always, so that a test can run an operation once, ask how many calls it
//! made, and then run it again that many times with a failure at each.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use pviommu_hypervisor::platform::AcquireError;

/// A method of the platform that can fail, or be made to say yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A call of `acquire`; it fails before it looked at a page.
    Acquire,
    /// A page inside calls of `acquire`; those before it stay acquired.
    AcquirePage,
    /// `TableFrames::alloc` from the open pool, or `alloc_scratch`: no memory.
    Alloc,
    /// `TableFrames::reserve`: no memory.
    Reserve,
    /// `copy_in` faults.
    CopyIn,
    /// `copy_out` faults, and has written nothing.
    CopyOut,
    /// `IommuHw::attach` reports an error.
    Attach,
    /// `IommuHw::block` reports an error.
    Block,
    /// `IommuHw::invalidate` reports an error.
    Invalidate,
    /// `IommuHw::sync_map` reports an error.
    SyncMap,
    /// `should_yield` says yes.
    Yield,
    /// `allow` refuses.
    Policy,
    /// `IommuHw::attach` refuses: nothing has changed, and the unit is well.
    AttachRefused,
}

const STEPS: usize = Step::AttachRefused as usize + 1;

impl Step {
    /// All of them.
    pub const ALL: [Self; STEPS] = [
        Self::Acquire,
        Self::AcquirePage,
        Self::Alloc,
        Self::Reserve,
        Self::CopyIn,
        Self::CopyOut,
        Self::Attach,
        Self::Block,
        Self::Invalidate,
        Self::SyncMap,
        Self::Yield,
        Self::Policy,
        Self::AttachRefused,
    ];

    /// Those by which no unit fails.
    pub const BUT_UNITS: [Self; 8] = [
        Self::Acquire,
        Self::AcquirePage,
        Self::Alloc,
        Self::Reserve,
        Self::CopyIn,
        Self::CopyOut,
        Self::Policy,
        Self::Yield,
    ];
}

/// Which calls fail, counted from one and from when it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// None: the usual.
    Never,
    /// This one only.
    Nth(u64),
    /// This one and all after it.
    From(u64),
    /// Every one whose number is a multiple of this.
    Every(u64),
}

/// What a unit that reports an error has done before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// Nothing.
    Nothing,
    /// What it was asked, or, of a device entry, all but forgetting the cached one.
    Done,
}

#[derive(Debug, Default)]
struct Plan {
    calls: AtomicU64,
    armed: AtomicBool,
    /// 0 `Nth`, 1 `From`, 2 `Every`.
    form: AtomicU8,
    number: AtomicU64,
}

impl Plan {
    /// Counts a call; true if it is to fail.
    fn hit(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.armed.load(Ordering::Relaxed) {
            return false;
        }
        let number = self.number.load(Ordering::Relaxed);
        match self.form.load(Ordering::Relaxed) {
            0 => call == number,
            1 => call >= number,
            _ => number != 0 && call.is_multiple_of(number),
        }
    }
}

/// The failures asked for; none at first.
#[derive(Debug)]
pub struct Schedule {
    plans: [Plan; STEPS],
    acquire_error: AtomicU8,
    half_done: AtomicBool,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            plans: std::array::from_fn(|_| Plan::default()),
            acquire_error: AtomicU8::new(1),
            half_done: AtomicBool::new(false),
        }
    }
}

impl Schedule {
    /// Lets calls of `step` fail from now on, which also starts their count afresh.
    pub fn set(&self, step: Step, when: When) {
        let plan = &self.plans[step as usize];
        let (armed, form, number) = match when {
            When::Never => (false, 0, 0),
            When::Nth(n) => (true, 0, n),
            When::From(n) => (true, 1, n),
            When::Every(n) => (true, 2, n),
        };
        plan.armed.store(false, Ordering::Relaxed);
        plan.calls.store(0, Ordering::Relaxed);
        plan.form.store(form, Ordering::Relaxed);
        plan.number.store(number, Ordering::Relaxed);
        plan.armed.store(armed, Ordering::Relaxed);
    }

    /// The error of `acquire` when it fails by schedule; [`AcquireError::NotPermitted`] at first.
    pub fn acquire_fails_with(&self, error: AcquireError) {
        let code = match error {
            AcquireError::NotBacked => 0,
            AcquireError::Retry => 2,
            AcquireError::Saturated => 3,
            _ => 1,
        };
        self.acquire_error.store(code, Ordering::Relaxed);
    }

    /// What a unit has done when it reports an error; [`Half::Nothing`] at first.
    pub fn hardware_fails(&self, half: Half) {
        self.half_done.store(half == Half::Done, Ordering::Relaxed);
    }

    /// Takes all failures back and starts all counts afresh.
    pub fn clear(&self) {
        for plan in &self.plans {
            plan.armed.store(false, Ordering::Relaxed);
            plan.calls.store(0, Ordering::Relaxed);
        }
        self.acquire_fails_with(AcquireError::NotPermitted);
        self.hardware_fails(Half::Nothing);
    }

    /// Calls of `step` since it was last set or cleared.
    #[must_use]
    pub fn calls(&self, step: Step) -> u64 {
        self.plans[step as usize].calls.load(Ordering::Relaxed)
    }

    /// Counts a call of `step`; true if it is to fail.
    pub(crate) fn hit(&self, step: Step) -> bool {
        self.plans[step as usize].hit()
    }

    /// True if single pages have to be counted as they are acquired.
    pub(crate) fn watches_pages(&self) -> bool {
        self.plans[Step::AcquirePage as usize].armed.load(Ordering::Relaxed)
    }

    /// Counts pages of a call that did not have to be watched.
    pub(crate) fn count_pages(&self, pages: u64) {
        self.plans[Step::AcquirePage as usize].calls.fetch_add(pages, Ordering::Relaxed);
    }

    pub(crate) fn acquire_error(&self) -> AcquireError {
        match self.acquire_error.load(Ordering::Relaxed) {
            0 => AcquireError::NotBacked,
            2 => AcquireError::Retry,
            3 => AcquireError::Saturated,
            _ => AcquireError::NotPermitted,
        }
    }

    pub(crate) fn half_done(&self) -> bool {
        self.half_done.load(Ordering::Relaxed)
    }
}
