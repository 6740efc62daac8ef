//! One IOMMU unit: device entries, caches, faults, and the checks that watch them.
//!
//! Everything of a unit is under one lock, which an access holds from its translation to the end
//! of its transfer. So whoever has invalidated knows that no earlier translation is still in
//! use: the drain that real units are asked for.

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Tag, UnitFacts, UnitId},
};
use rustc_hash::FxHashMap;

use super::{
    absent::Absent,
    attach,
    device_table::{DeviceEntry, DeviceTable},
    fault::FaultRecord,
    index::Index,
    iotlb::Iotlb,
    meanwhile::Recent,
    paging_cache::PagingCache,
    write_buffer::WriteBuffer,
};
use crate::{
    machine::Harshness,
    sync::{Mutex, lock},
};

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
        let (buffer, devices) = (WriteBuffer::of(&facts), attach::blocking(&facts));
        let state = Mutex::new(State { buffer, devices, ..State::default() });
        Self { id, facts, absent_spans: true, state }
    }

    /// A unit that is no harsher than that; [`new`](Self::new) makes it as harsh as can be.
    #[must_use]
    pub fn with_harshness(mut self, harshness: &Harshness) -> Self {
        self.absent_spans = harshness.absent_spans;
        if !harshness.write_buffers {
            lock(&self.state).buffer = WriteBuffer::default();
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
}
