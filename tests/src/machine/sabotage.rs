//! A platform that is wrong on purpose, to see that the checks notice.

use std::sync::Mutex;

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Invalidation, Tag},
};
use rustc_hash::FxHashMap;

use super::{frames::lock, memory::Memory, orders};
use crate::iommu::{Direction, UnitModel, walker};

/// What the platform does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// `invalidate` says it is done and has done nothing.
    SkipFlush,
    /// Pages are given back when their flush begins and not when it has ended, and the device
    /// uses them in between.
    EarlyRelease,
    /// `acquire` checks the first page of a range only, and takes the machine frames after it for
    /// the others.
    FirstPageOnly,
    /// `invalidate` leaves alone what leads to a scratch page.
    KeepStaleScratch,
    /// `invalidate` forgets leaves only, also where it was told that tables have changed.
    LeafOnlyOnScratch,
}

/// The breakage of one machine.
#[derive(Debug, Default)]
pub(crate) struct Sabotage {
    mode: Option<Break>,
    /// References given back early, which the service will give back once more.
    early: Mutex<FxHashMap<u64, u32>>,
}

impl Sabotage {
    pub(crate) fn new(mode: Option<Break>) -> Self {
        Self { mode, early: Mutex::default() }
    }

    pub(crate) fn is(&self, mode: Break) -> bool {
        self.mode == Some(mode)
    }

    /// Has `unit` forget what it is told to forget, or what it takes for that.
    pub(crate) fn invalidate(
        &self,
        memory: &Memory,
        unit: &UnitModel,
        tag: Tag,
        what: Invalidation,
    ) {
        let what = match (self.mode, what) {
            (Some(Break::LeafOnlyOnScratch), Invalidation::Tables(range)) => {
                Invalidation::Leaves(range)
            }
            _ => what,
        };
        let keeps = self.is(Break::KeepStaleScratch);
        let kept = |frame| keeps && leads_to_scratch(memory, frame);
        orders::invalidate(unit, memory, tag, what, kept);
    }

    /// True if the reference that is given back now was given back before.
    pub(crate) fn swallows_release(&self, frame: Mfn) -> bool {
        if !self.is(Break::EarlyRelease) {
            return false;
        }
        let mut early = lock(&self.early);
        let Some(count) = early.get_mut(&frame.0) else { return false };
        *count -= 1;
        if *count == 0 {
            early.remove(&frame.0);
        }
        true
    }

    /// Gives the pages back that are about to be flushed, and lets the device use each.
    pub(crate) fn release_early(
        &self,
        memory: &Memory,
        unit: &UnitModel,
        tag: Tag,
        what: Invalidation,
    ) {
        let Some((device, covered)) = unit.covered(tag, what) else { return };
        for cached in covered {
            for i in 0..cached.pages() {
                let frame = Mfn(cached.frame.0 + i);
                let Some(info) = memory.frames.info(frame) else { continue };
                if memory.frames.release(frame, info.owner, cached.rights.write).is_ok() {
                    memory.frames.count_references(0, 1);
                    *lock(&self.early).entry(frame.0).or_default() += 1;
                }
                let address = (cached.bfn + i) << 12;
                let way = if cached.rights.write { Direction::Write } else { Direction::Read };
                // The access is judged by the unit; its outcome is of no use to the device.
                let _ = unit.access(memory, device, address, way, |_| ());
            }
        }
    }
}

/// True if `frame` is a scratch page, or a table that begins with the way to one, as those tables
/// do that stand for nothing but scratch.
fn leads_to_scratch(memory: &Memory, frame: Mfn) -> bool {
    let first_entry = |table: &Mfn| memory.tables.entry(*table, 0, true);
    let below = |table: &Mfn| first_entry(table).map(walker::frame_of);
    let mut way = std::iter::successors(Some(frame), below).take(6);
    way.any(|frame| memory.tables.scratch_owner(frame).is_some())
}
