//! A context: one address space of a domain, and the operations on it.
//!
//! A context is a table, a state, the units that have a device in it, and the ranges no guest may
//! map there. It lives in memory lent by the embedder and is all atomics: a call that maps reads
//! it without a lock.
//!
//! `epoch` makes that safe. It is odd while one CPU changes the context as a whole, and every such
//! change leaves it larger. A call takes a snapshot ([`Facts`]), is validated against it, and goes
//! inside only if the epoch is still the same ([`Context::enter`]); a change waits until all who
//! are inside have left ([`Context::exclusively`]).

mod acquire;
mod charge;
mod deferral;
mod edit;
mod editor;
mod fill;
mod free;
mod hand_over;
mod identity;
mod large;
mod lookup;
mod map;
mod open;
mod p2m;
mod reserved;
mod retarget;
mod scratch;
mod singles;
mod switch;
mod trim;
mod unmap;
mod users;
mod waiting;

pub(crate) use edit::{End, Progress, Session};
pub(crate) use editor::{Editor, WORK_UNIT};
pub(crate) use lookup::Mapping;
pub(crate) use scratch::Told;
pub(crate) use singles::{Alike, Singly};
pub(crate) use switch::Wish;
pub(crate) use users::{MAX_UNITS, User, Users};
pub(crate) use waiting::Deferred;

use core::fmt;

use crate::{
    addr::{BfnRange, Mfn},
    machine::{Gate, Inside},
    platform::TableRoot,
    reserved::MAX_RESERVED,
    sync::{AtomicU32, AtomicU64, Ordering, full_fence, relax},
    table::Beside,
};
use pviommu_abi::Bfn;
use reserved::ReservedRanges;

/// What may be done with a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Not in use.
    Free,
    /// Being filled: nobody uses it but who fills it.
    Building,
    /// In use.
    Live,
    /// Being freed: nothing is added any more.
    Dying,
}

/// One address space of a domain, in memory lent by the embedder.
pub struct Context {
    epoch: AtomicU64,
    state: AtomicU32,
    root: AtomicU64,
    levels: AtomicU32,
    /// Where the pass that frees it has got to.
    cursor: AtomicU64,
    /// Where filling it has got to.
    filled: AtomicU64,
    /// How often it was set up.
    generation: AtomicU64,
    /// Where the last search for tables without entries has got to.
    trimmed: AtomicU64,
    /// One CPU at a time does that pass, or builds the context.
    sweeping: AtomicU32,
    aperture_first: AtomicU64,
    aperture_last: AtomicU64,
    /// Who was told that the scratch page was written.
    scratch_told: AtomicU32,
    pub(crate) beside: Beside,
    pub(crate) deferred: Deferred,
    pub(crate) users: Users,
    pub(crate) reserved: ReservedRanges,
}

/// What a call knows about a context: a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) epoch: u64,
    pub(crate) state: State,
    pub(crate) aperture: BfnRange,
    pub(crate) reserved: heapless::Vec<BfnRange, MAX_RESERVED>,
}

impl Facts {
    /// Of a context that is not in use.
    pub(crate) fn none() -> Self {
        let aperture = BfnRange::single(Bfn(0));
        Self { epoch: 0, state: State::Free, aperture, reserved: heapless::Vec::new() }
    }

    /// True if the guest may use the context.
    pub(crate) fn is_live(&self) -> bool {
        self.state == State::Live
    }
}

/// The context changed since the call was validated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stale;

impl Context {
    /// A context that is not in use.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epoch: AtomicU64::new(0),
            state: AtomicU32::new(0),
            root: AtomicU64::new(0),
            levels: AtomicU32::new(0),
            cursor: AtomicU64::new(0),
            filled: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            trimmed: AtomicU64::new(0),
            sweeping: AtomicU32::new(0),
            aperture_first: AtomicU64::new(0),
            aperture_last: AtomicU64::new(0),
            scratch_told: AtomicU32::new(0),
            beside: Beside::new(),
            deferred: Deferred::new(),
            users: Users::new(),
            reserved: ReservedRanges::new(),
        }
    }

    /// A snapshot, taken while nobody changes the context as a whole. It is large: who keeps it over an
    /// edit has it on the stack meanwhile.
    #[inline]
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::none();
        self.note_facts(&mut facts);
        facts
    }

    /// Takes a snapshot in place: moving one would copy the room for all ranges that there can be.
    #[inline(never)]
    pub(crate) fn note_facts(&self, to: &mut Facts) {
        self.snapshot(|epoch| {
            to.epoch = epoch;
            to.state = self.state();
            to.aperture = self.aperture();
            to.reserved.clear();
            for range in self.reserved.each_enforced() {
                // There is room for as many as there are slots; collecting would panic without.
                let _ = to.reserved.push(range);
            }
        });
    }

    /// True if the guest may use the context.
    pub(crate) fn is_live(&self) -> bool {
        self.snapshot(|_| self.state() == State::Live)
    }

    /// The epoch, while nobody changes the context as a whole.
    pub(crate) fn stable_epoch(&self) -> u64 {
        self.snapshot(|epoch| epoch)
    }

    /// What `read` finds, told the epoch, while nobody changes the context as a whole.
    pub(crate) fn snapshot<R>(&self, mut read: impl FnMut(u64) -> R) -> R {
        loop {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch & 1 == 0 {
                let found = read(epoch);
                full_fence_between_loads();
                if self.epoch.load(Ordering::Acquire) == epoch {
                    return found;
                }
            }
            relax();
        }
    }

    /// Goes inside, if the context is still as it was at `epoch`.
    #[inline]
    pub(crate) fn enter<'g>(&self, gate: Gate<'g>, epoch: u64) -> Result<Inside<'g>, Stale> {
        let inside = gate.enter();
        if self.epoch.load(Ordering::Acquire) == epoch { Ok(inside) } else { Err(Stale) }
    }

    /// Changes the context as a whole, with nobody inside. The caller holds the domain's
    /// administration lock, and `change` calls no platform method but entry access.
    pub(crate) fn exclusively<R>(&self, gate: Gate<'_>, change: impl FnOnce() -> R) -> R {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        full_fence();
        gate.wait_for_others();
        let result = change();
        self.epoch.fetch_add(1, Ordering::Release);
        result
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Live,
            2 => State::Dying,
            3 => State::Building,
            _ => State::Free,
        }
    }

    pub(super) fn set_state(&self, state: State) {
        let word = match state {
            State::Free => 0,
            State::Live => 1,
            State::Dying => 2,
            State::Building => 3,
        };
        self.state.store(word, Ordering::Release);
    }

    #[inline]
    pub(crate) fn root(&self) -> TableRoot {
        let levels = u8::try_from(self.levels.load(Ordering::Relaxed)).unwrap_or(0);
        TableRoot { frame: Mfn(self.root.load(Ordering::Relaxed)), levels }
    }

    /// The bus frames that may be mapped.
    pub(crate) fn aperture(&self) -> BfnRange {
        let bfn = |word: &AtomicU64| Bfn(word.load(Ordering::Relaxed));
        let first = bfn(&self.aperture_first);
        BfnRange::new(first, bfn(&self.aperture_last)).unwrap_or_else(|| BfnRange::single(first))
    }

    /// Gives a context that is not in use an empty table. Nobody else knows it.
    pub(crate) fn set_up(&self, root: TableRoot, aperture: BfnRange) {
        self.root.store(root.frame.0, Ordering::Relaxed);
        self.levels.store(u32::from(root.levels), Ordering::Relaxed);
        self.aperture_first.store(aperture.first().0, Ordering::Relaxed);
        self.aperture_last.store(aperture.last().0, Ordering::Relaxed);
        self.cursor.store(0, Ordering::Relaxed);
        self.filled.store(0, Ordering::Relaxed);
        self.reserved.clear();
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.scratch_told.store(0, Ordering::Relaxed);
    }

    /// Puts a context that was set up into use. The caller holds the administration lock.
    pub(crate) fn open(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.set_state(State::Live);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Lets nobody use the context any more. The caller holds the administration lock.
    pub(crate) fn close(&self, gate: Gate<'_>) {
        self.exclusively(gate, || self.set_state(State::Dying));
    }

    /// How often the context was set up: tells it from one that was at the same place before.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Orders the loads of a snapshot before the second look at the epoch.
fn full_fence_between_loads() {
    #[cfg(not(loom))]
    core::sync::atomic::fence(Ordering::Acquire);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::Acquire);
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("state", &self.state())
            .field("root", &self.root())
            .field("kept", &self.beside.kept.count())
            .finish_non_exhaustive()
    }
}
