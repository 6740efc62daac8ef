//! Writes of devices that have been translated and have not arrived.
//!
//! A unit may keep them back until it is told to drain. Nothing but memory sees them meanwhile, so
//! whoever looks at a page has its writes arrive first: what a device says is written can be read.
//! But nobody looks at a page that is not his any more, and a write that arrives there is lost to
//! one and found by another.

use std::{
    collections::hash_map::Entry,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use pviommu_hypervisor::addr::Mfn;
use rustc_hash::FxHashMap;

use super::{
    Basis,
    frames::{Reach, lock},
    harsh::Dice,
    violation::{Violation, Violations},
};
use crate::iommu::Landing;

/// A write on its way.
#[derive(Debug)]
pub(crate) struct LateWrite {
    pub(crate) at: Landing,
    pub(crate) offset: usize,
    pub(crate) bytes: Box<[u8]>,
}

impl LateWrite {
    /// True if a device may be where this one was, now that `reach` is there: a page of a maintained
    /// map needs no reference.
    pub(crate) fn may_land(&self, reach: Reach) -> bool {
        let maintained = self.at.basis == Basis::Maintained;
        reach.is_allowed() || (maintained && reach == Reach::NotHeld)
    }
}

#[derive(Debug)]
struct Queue {
    /// By frame; those of one frame in the order they were made.
    frames: FxHashMap<u64, Vec<LateWrite>>,
    dice: Dice,
}

/// The writes on their way to one kind of memory.
#[derive(Debug)]
pub(crate) struct Late {
    queue: Mutex<Queue>,
    /// Frames with writes, to find quickly that there are none.
    waiting: AtomicUsize,
    most: usize,
    violations: Arc<Violations>,
}

impl Late {
    /// Writes wait on at most `most` frames at a time.
    pub(crate) fn new(most: usize, seed: u64, violations: Arc<Violations>) -> Self {
        let queue = Queue { frames: FxHashMap::default(), dice: Dice::new(seed) };
        Self { queue: Mutex::new(queue), waiting: AtomicUsize::new(0), most, violations }
    }

    /// Where nothing waits.
    pub(crate) fn none() -> Self {
        Self::new(0, 0, Arc::default())
    }

    /// True if a write may be kept back.
    pub(crate) const fn keeps(&self) -> bool {
        self.most > 0
    }

    /// Keeps a write back. Another one arrives if too many wait: `land` is how.
    pub(crate) fn keep(&self, write: LateWrite, land: impl FnMut(&LateWrite) -> Reach) {
        let mut queue = lock(&self.queue);
        queue.frames.entry(write.at.frame.0).or_default().push(write);
        let full = queue.frames.len() > self.most;
        self.waiting.store(queue.frames.len(), Ordering::Release);
        if full {
            self.land_one(&mut queue, land);
        }
    }

    /// Has the writes to `frame` arrive.
    pub(crate) fn settle(&self, frame: Mfn, land: impl FnMut(&LateWrite) -> Reach) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.land_frame(&mut lock(&self.queue), frame.0, land);
        }
    }

    /// Has the writes arrive that `which` picks, and those before them to the same frames.
    pub(crate) fn drain(
        &self,
        which: impl Fn(&Landing) -> bool,
        mut land: impl FnMut(&LateWrite) -> Reach,
    ) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut queue = lock(&self.queue);
        let picked = queue.frames.iter().filter(|(_, writes)| writes.iter().any(|w| which(&w.at)));
        for frame in picked.map(|(frame, _)| *frame).collect::<Vec<_>>() {
            self.land_frame(&mut queue, frame, &mut land);
        }
    }

    /// Has the writes to some frame arrive.
    pub(crate) fn some(&self, land: impl FnMut(&LateWrite) -> Reach) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.land_one(&mut lock(&self.queue), land);
        }
    }

    /// Called when `frame` may have been given up: if `reach` says it was, writes on their way to
    /// it are lost.
    pub(crate) fn given_up(&self, frame: Mfn, reach: impl Fn() -> Reach) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut queue = lock(&self.queue);
        let Entry::Occupied(mut writes) = queue.frames.entry(frame.0) else { return };
        // Under the lock, since someone may have taken the frame anew and a device have written it.
        let reach = reach();
        let lost = writes.get_mut().extract_if(.., |write| !write.may_land(reach));
        lost.for_each(|write| self.lost(&write, reach));
        if writes.get().is_empty() {
            writes.remove();
        }
        self.waiting.store(queue.frames.len(), Ordering::Release);
    }

    fn land_one(&self, queue: &mut Queue, land: impl FnMut(&LateWrite) -> Reach) {
        if queue.frames.is_empty() {
            return;
        }
        let place = queue.dice.below(queue.frames.len());
        let frame = queue.frames.keys().copied().nth(place).unwrap_or_default();
        self.land_frame(queue, frame, land);
    }

    /// `land` carries a write out if a device may be there, and says what is there.
    fn land_frame(&self, queue: &mut Queue, frame: u64, mut land: impl FnMut(&LateWrite) -> Reach) {
        for write in queue.frames.remove(&frame).unwrap_or_default() {
            let reach = land(&write);
            if !write.may_land(reach) {
                self.lost(&write, reach);
            }
        }
        self.waiting.store(queue.frames.len(), Ordering::Release);
    }

    fn lost(&self, write: &LateWrite, reach: Reach) {
        let Landing { unit, device, address, frame, .. } = write.at;
        self.violations.record(Violation::LateWrite { unit, device, address, frame, reach });
    }
}
