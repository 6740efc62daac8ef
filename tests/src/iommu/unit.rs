//! One IOMMU unit: device entries, caches, faults, and the checks that watch them.
//!
//! Everything of a unit is under one lock, which an access holds from its translation to the end
//! of its transfer. So whoever has invalidated knows that no earlier translation is still in
//! use: the drain that real units are asked for.

use std::sync::Mutex;

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{TableRoot, Tag, UnitFacts, UnitId},
};
use rustc_hash::FxHashMap;

use super::{
    absent::Absent,
    device_table::{DeviceEntry, DeviceTable},
    fault::FaultRecord,
    index::Index,
    iotlb::Iotlb,
    meanwhile::Recent,
    paging_cache::PagingCache,
    walker::{self, Place, Rights},
    write_buffer::WriteBuffer,
};
use crate::machine::{Harshness, frames::lock, memory::Memory, violation::Violation};

/// What a unit has done since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnitCounters {
    /// Invalidations that were completed and waited for.
    pub iotlb_flushes: u64,
    /// Those of them that were for leaves only.
    pub leaf_flushes: u64,
    /// Calls to make new entries visible.
    pub map_syncs: u64,
    /// Device entries written.
    pub device_entries: u64,
    /// Walks of the page tables.
    pub walks: u64,
    /// Translations found in the IOTLB.
    pub iotlb_hits: u64,
    /// Accesses refused.
    pub faults: u64,
}

/// What is cached under one tag.
#[derive(Debug, Default)]
pub(super) struct TagCache {
    /// Root of the table that was read for it.
    pub(super) root: Option<Mfn>,
    pub(super) iotlb: Iotlb,
    pub(super) paging: PagingCache,
    pub(super) absent: Absent,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) devices: DeviceTable,
    pub(super) tags: FxHashMap<u16, TagCache>,
    pub(super) index: Index,
    pub(super) buffer: WriteBuffer,
    pub(super) recent: Recent,
    pub(super) faults: Vec<FaultRecord>,
    pub(super) counters: UnitCounters,
}

/// A unit.
#[derive(Debug)]
pub struct UnitModel {
    pub(super) id: UnitId,
    pub(super) facts: UnitFacts,
    /// What is not present is taken for absent with all its span.
    pub(super) absent_spans: bool,
    pub(super) state: Mutex<State>,
}

impl UnitModel {
    /// A unit that blocks every device.
    #[must_use]
    pub fn new(id: UnitId, facts: UnitFacts) -> Self {
        let buffer = WriteBuffer::of(&facts);
        let state = Mutex::new(State { buffer, ..State::default() });
        Self { id, facts, absent_spans: true, state }
    }

    /// A unit that is no harsher than that; [`new`](Self::new) makes it as harsh as can be.
    #[must_use]
    pub fn with_harshness(mut self, harshness: &Harshness) -> Self {
        self.absent_spans = harshness.absent_spans;
        if !harshness.write_buffers {
            self.state = Mutex::default();
        }
        self
    }

    /// What it can do.
    #[must_use]
    pub const fn facts(&self) -> &UnitFacts {
        &self.facts
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> UnitCounters {
        lock(&self.state).counters
    }

    /// Takes the fault records.
    pub fn take_faults(&self) -> Vec<FaultRecord> {
        std::mem::take(&mut lock(&self.state).faults)
    }

    /// The fault records so far; those beyond the log's size are only counted.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultRecord> {
        lock(&self.state).faults.clone()
    }

    /// The entry of `device` in memory.
    #[must_use]
    pub fn device_entry(&self, device: PciDevice) -> DeviceEntry {
        lock(&self.state).devices.entry(device)
    }

    /// Number of translations and of upper-level entries cached under `tag`.
    #[must_use]
    pub fn cached(&self, tag: Tag) -> (usize, usize) {
        let state = lock(&self.state);
        state.tags.get(&tag.0).map_or((0, 0), |c| (c.iotlb.len(), c.paging.len()))
    }

    /// Tells whose `device` is, for the checks; nobody's if it is not told.
    pub(crate) fn belongs_to(&self, device: PciDevice, owner: Option<DomId>) {
        lock(&self.state).devices.set_owner(device, owner);
    }

    /// Points the entry of `device` at `root` under `tag`; forgets the cached entry if `forget`.
    pub fn attach(
        &self,
        memory: &Memory,
        device: PciDevice,
        root: TableRoot,
        tag: Tag,
        forget: bool,
    ) {
        let unit = self.id;
        let violations = &memory.violations;
        let mut state = lock(&self.state);
        if tag.0 == 0 || u32::from(tag.0) >= self.facts.tags {
            violations.record(Violation::BadTag { unit, tag });
        }
        let walkable = walker::supports_levels(&self.facts, root.levels);
        if !walkable || !memory.tables.is_live(root.frame) {
            let TableRoot { frame, levels } = root;
            violations.record(Violation::BadRoot { unit, frame, levels });
        }
        if state.devices.has_other_root(device, tag, root) {
            violations.record(Violation::TagWithTwoRoots { unit, tag });
        }
        let stale = state.tags.get(&tag.0).is_some_and(|cache| {
            let kept = !cache.iotlb.is_empty() || !cache.paging.is_empty();
            kept && cache.root != Some(root.frame)
        });
        if stale {
            violations.record(Violation::TagReusedBeforeFlush { unit, tag });
        }
        state.index.add_table(root.frame);
        // What was stored before is in force for a device that comes.
        let State { buffer, .. } = &mut *state;
        buffer.flush(&memory.tables, &self.facts);
        let top = Place { table: root.frame, level: root.levels, rights: Rights::ALL };
        buffer.copy(&memory.tables, &self.facts, top);
        Self::replace(&mut state, device, DeviceEntry::Translated { root, tag }, forget);
    }

    /// Makes the entry of `device` refuse everything; forgets the cached entry if `forget`.
    pub fn block(&self, device: PciDevice, forget: bool) {
        Self::replace(&mut lock(&self.state), device, DeviceEntry::Blocked, forget);
    }

    fn replace(state: &mut State, device: PciDevice, entry: DeviceEntry, forget: bool) {
        let State { devices, index, counters, .. } = state;
        counters.device_entries += 1;
        let gone = devices.set(device, entry);
        let cached = if forget { devices.forget(device) } else { None };
        for (root, _) in [Some(gone), cached].into_iter().flatten().filter_map(DeviceEntry::table) {
            index.remove_table(root.frame);
        }
    }
}
