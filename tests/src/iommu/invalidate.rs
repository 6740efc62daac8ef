//! Forgetting, and the checks that belong to it: nothing may be given up before it is forgotten.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange},
    platform::{Invalidation, Tag},
};
use rustc_hash::FxHashSet;

use super::{
    iotlb::Cached,
    unit::{State, UnitModel},
    walker::{self, Place, Step, Walk},
    write_buffer::WriteBuffer,
};
use crate::{
    machine::{Basis, frames::Reach, memory::Memory, violation::Violation},
    sync::lock,
};

/// Bus frames, and whether the tables on the way are left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) leaves_only: bool,
}

impl Span {
    fn of(what: Invalidation) -> Self {
        match what {
            Invalidation::Leaves(range) => {
                Self { first: range.first().0, last: range.last().0, leaves_only: true }
            }
            Invalidation::Tables(range) => {
                Self { first: range.first().0, last: range.last().0, leaves_only: false }
            }
            _ => Self { first: 0, last: u64::MAX, leaves_only: false },
        }
    }
}

/// What translations are forgotten for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// Something was removed or replaced.
    Removal,
    /// Something was added, and the unit may know it absent.
    #[cfg_attr(
        not(feature = "amdvi"),
        expect(dead_code, reason = "a unit is told so in AMD's words")
    )]
    Sync,
}

impl UnitModel {
    /// Forgets what is cached under `tag`, after it has checked that until now nothing of it was
    /// given up: the device may have used it up to this instant.
    pub fn invalidate(&self, memory: &Memory, tag: Tag, what: Invalidation) {
        self.invalidate_but(memory, tag, what, |_| false);
    }

    /// The same, but what leads to a frame that `kept` says stays as it is.
    pub(crate) fn invalidate_but(
        &self,
        memory: &Memory,
        tag: Tag,
        what: Invalidation,
        kept: impl Fn(Mfn) -> bool,
    ) {
        self.forget(memory, tag, Span::of(what), Why::Removal, kept);
    }

    /// Forgets all of `span`, and counts it as what it is for.
    pub(super) fn forget(
        &self,
        memory: &Memory,
        tag: Tag,
        span: Span,
        why: Why,
        kept: impl Fn(Mfn) -> bool,
    ) {
        let Span { first, last, leaves_only } = span;
        let mut state = lock(&self.state);
        let State { tags, index, buffer, recent, counters, .. } = &mut *state;
        buffer.flush(&memory.tables, &self.facts);
        recent.note(first);
        recent.note(last);
        match why {
            Why::Removal => {
                counters.iotlb_flushes += 1;
                counters.leaf_flushes += u64::from(leaves_only);
            }
            Why::Sync => counters.map_syncs += 1,
        }
        if let Some(cache) = tags.get_mut(&tag.0) {
            let covered = cache.iotlb.covered(first, last).into_iter();
            for cached in covered.filter(|cached| !kept(cached.frame)) {
                self.check_held(memory, tag, &cached);
                cache.iotlb.remove(&cached);
                index.remove_page(&cached);
            }
            let ways = if leaves_only { Vec::new() } else { cache.paging.take(first, last, &kept) };
            for frame in ways {
                index.remove_table(frame);
                self.check_live(memory, tag, frame);
            }
            cache.absent.forget(first, last, leaves_only);
        }
        // What was translated before has arrived when this returns.
        memory.drain(|at| {
            let covered = (first..=last).contains(&(at.address >> 12));
            (at.unit, at.tag) == (self.id, tag) && covered
        });
    }

    /// A table must still be one when the flush of the way to it begins.
    fn check_live(&self, memory: &Memory, tag: Tag, frame: Mfn) {
        if !memory.tables.is_live(frame) {
            let unit = self.id;
            memory.violations.record(Violation::TableFreedBeforeFlush { unit, tag, frame });
        }
    }

    /// A cached page must still be held when its flush begins; tells the first one that is not.
    fn check_held(&self, memory: &Memory, tag: Tag, cached: &Cached) {
        let lost = |frame| match cached.basis {
            Basis::Held => matches!(memory.reach(frame), Reach::NotHeld | Reach::Free),
            Basis::Maintained => memory.reach(frame) == Reach::Free,
            // Nothing holds it, and nobody said so.
            Basis::Trusted | Basis::Direct => false,
        };
        if matches!(cached.basis, Basis::Trusted | Basis::Direct) {
            return;
        }
        let mut frames = (0..cached.pages()).map(|i| (cached.bfn + i, Mfn(cached.frame.0 + i)));
        let lost = frames.find(|&(_, frame)| lost(frame));
        if let Some((bfn, frame)) = lost {
            let unit = self.id;
            memory.violations.record(Violation::ReleasedBeforeFlush { unit, tag, bfn, frame });
        }
    }

    /// Makes entries visible that have become present.
    pub fn sync_map(&self, memory: &Memory, tag: Tag, first: u64, last: u64) {
        let mut state = lock(&self.state);
        let State { tags, buffer, recent, counters, .. } = &mut *state;
        counters.map_syncs += 1;
        buffer.flush(&memory.tables, &self.facts);
        recent.note(first);
        recent.note(last);
        if let Some(cache) = tags.get_mut(&tag.0) {
            cache.absent.forget(first, last, false);
        }
    }

    /// Called when references on `frames` were given back: those that no reference holds any
    /// more must not be cached.
    pub fn check_released(&self, memory: &Memory, frames: MfnRange) {
        let state = lock(&self.state);
        if state.index.has_no_pages() {
            return;
        }
        for frame in (frames.first().0..=frames.last().0).map(Mfn) {
            let lost = || matches!(memory.frames.reach(frame), Reach::NotHeld | Reach::Free);
            if state.index.names_page_by(Basis::Held, frame) && lost() {
                let unit = self.id;
                memory.violations.record(Violation::ReleasedWhileCached { unit, frame });
            }
        }
    }

    /// Called when `frame` has left a domain, and its maintained map with it: no translation of
    /// that map may lead to it.
    pub(crate) fn check_left(&self, memory: &Memory, frame: Mfn) {
        if lock(&self.state).index.names_page_by(Basis::Maintained, frame) {
            let unit = self.id;
            memory.violations.record(Violation::ReleasedWhileCached { unit, frame });
        }
    }

    /// Called when the table in `frame` is about to be freed: nothing may name it.
    pub fn check_table_freed(&self, memory: &Memory, frame: Mfn) {
        let mut state = lock(&self.state);
        state.buffer.forget(frame);
        if state.index.names_table(frame) {
            let unit = self.id;
            memory.violations.record(Violation::TableFreedWhileNamed { unit, frame });
        }
    }

    /// Called when the scratch page in `frame` is about to be freed: no translation and no table
    /// of a device may lead to it.
    pub fn check_scratch_freed(&self, memory: &Memory, frame: Mfn) {
        let (unit, violations) = (self.id, &memory.violations);
        let State { index, devices, buffer, .. } = &mut *lock(&self.state);
        if index.names_page(frame) {
            violations.record(Violation::ScratchFreedWhileCached { unit, frame });
        }
        if self.leads_to(memory, devices.tops(), buffer, frame) {
            violations.record(Violation::ScratchFreedWhileReachable { unit, frame });
        }
    }

    /// True if a table under one of `tops` leads to the page in `frame`.
    fn leads_to(
        &self,
        memory: &Memory,
        tops: impl Iterator<Item = Place>,
        buffer: &mut WriteBuffer,
        frame: Mfn,
    ) -> bool {
        let mut seen = FxHashSet::default();
        let mut left: Vec<Place> = tops.collect();
        while let Some(place) = left.pop() {
            if !seen.insert(place.table.0) {
                continue;
            }
            for entry in buffer.different(&memory.tables, &self.facts, place) {
                match walker::follow(&self.facts, place, entry) {
                    Step::Down(below) => left.push(below),
                    Step::Ended(Walk::Leaf { frame: found, .. }) if found == frame => return true,
                    Step::Ended(_) => {}
                }
            }
        }
        false
    }

    /// The translations that `what` covers, and a device that could use them.
    pub(crate) fn covered(&self, tag: Tag, what: Invalidation) -> Option<(PciDevice, Vec<Cached>)> {
        let Span { first, last, .. } = Span::of(what);
        let state = lock(&self.state);
        let device = state.devices.with_tag(tag)?;
        Some((device, state.tags.get(&tag.0)?.iotlb.covered(first, last)))
    }
}
