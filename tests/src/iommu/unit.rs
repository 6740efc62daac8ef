//! One IOMMU unit: device entries, caches, faults, and the checks that watch them.
//!
//! Everything of a unit is under one lock, which an access holds from its translation to the end
//! of its transfer. So whoever has invalidated knows that no earlier translation is still in
//! use: the drain that real units are asked for.

use std::sync::Mutex;

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{TableRoot, Tag, UnitFacts, UnitFeatures, UnitId},
};
use rustc_hash::FxHashMap;

use super::{
    device_table::{DeviceEntry, DeviceTable},
    fault::{Direction, FaultReason, FaultRecord},
    index::Index,
    iotlb::{Cached, Iotlb},
    paging_cache::PagingCache,
    walker::{self, Place, Rights, Walk},
};
use crate::machine::{frames::lock, memory::Memory, violation::Violation};

/// Most fault records kept; later ones are only counted.
const FAULTS_KEPT: usize = 4096;

/// Writes here are interrupts (0xfee00000 to 0xfeefffff, in frames), never DMA.
const INTERRUPT_FRAMES: std::ops::RangeInclusive<u64> = 0xfee00..=0xfeeff;

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
    root: Option<Mfn>,
    pub(super) iotlb: Iotlb,
    pub(super) paging: PagingCache,
    /// Bus frames known to be not present.
    pub(super) absent: FxHashMap<u64, ()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) devices: DeviceTable,
    pub(super) tags: FxHashMap<u16, TagCache>,
    pub(super) index: Index,
    faults: Vec<FaultRecord>,
    pub(super) counters: UnitCounters,
}

/// A unit.
#[derive(Debug)]
pub struct UnitModel {
    pub(super) id: UnitId,
    facts: UnitFacts,
    pub(super) state: Mutex<State>,
}

impl UnitModel {
    /// A unit that blocks every device.
    #[must_use]
    pub fn new(id: UnitId, facts: UnitFacts) -> Self {
        Self { id, facts, state: Mutex::default() }
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

    /// Carries out one access of `device` within a page: translates, checks that a device may be
    /// where that leads, and calls `act` with the frame.
    ///
    /// # Errors
    /// Why it was refused; also recorded as a fault, or as a violation.
    pub fn access(
        &self,
        memory: &Memory,
        device: PciDevice,
        address: u64,
        direction: Direction,
        act: impl FnOnce(Mfn),
    ) -> Result<(), FaultReason> {
        if INTERRUPT_FRAMES.contains(&(address >> 12)) {
            return Err(FaultReason::Interrupt);
        }
        let mut state = lock(&self.state);
        let translated = self.translate(&mut state, memory, device, address);
        let translated = translated.and_then(|cached| match direction {
            Direction::Read if !cached.rights.read => Err(FaultReason::NotReadable),
            Direction::Write if !cached.rights.write => Err(FaultReason::NotWritable),
            _ => Ok(cached.frame_of(address >> 12)),
        });
        match translated {
            Ok(frame) => {
                self.check_reach(memory, device, address, frame)?;
                act(frame);
                Ok(())
            }
            Err(reason) => {
                state.counters.faults += 1;
                if state.faults.len() < FAULTS_KEPT {
                    let unit = self.id;
                    state.faults.push(FaultRecord { unit, device, address, direction, reason });
                }
                Err(reason)
            }
        }
    }

    /// Loads the translation of `address` into the caches, as a unit may at any instant. Records
    /// no fault; true if there is one.
    pub fn prefetch(&self, memory: &Memory, device: PciDevice, address: u64) -> bool {
        let mut state = lock(&self.state);
        self.translate(&mut state, memory, device, address).is_ok_and(|cached| {
            let frame = cached.frame_of(address >> 12);
            self.check_reach(memory, device, address, frame).is_ok()
        })
    }

    fn check_reach(
        &self,
        memory: &Memory,
        device: PciDevice,
        address: u64,
        frame: Mfn,
    ) -> Result<(), FaultReason> {
        let reach = memory.frames.reach(frame);
        if reach.is_allowed() {
            return Ok(());
        }
        let unit = self.id;
        memory.violations.record(Violation::Access { unit, device, address, frame, reach });
        Err(FaultReason::Stopped)
    }

    /// Finds the translation of `address`, in the caches or by a walk, and keeps it.
    fn translate(
        &self,
        state: &mut State,
        memory: &Memory,
        device: PciDevice,
        address: u64,
    ) -> Result<Cached, FaultReason> {
        let State { devices, tags, index, counters, .. } = state;
        let (entry, filled) = devices.look_up(device);
        let (root, tag) = entry.table().ok_or(FaultReason::Blocked)?;
        if filled {
            index.add_table(root.frame);
        }
        let bfn = address >> 12;
        if !walker::in_width(&self.facts, root.levels, bfn) {
            return Err(FaultReason::AddressWidth);
        }
        let cache = tags.entry(tag.0).or_default();
        if let Some(cached) = cache.iotlb.find(bfn) {
            counters.iotlb_hits += 1;
            return Ok(cached);
        }
        if cache.absent.contains_key(&bfn) {
            return Err(FaultReason::NotPresent);
        }
        counters.walks += 1;
        cache.root = Some(root.frame);
        let top = Place { table: root.frame, level: root.levels, rights: Rights::ALL };
        let place = cache.paging.find(bfn).unwrap_or(top);
        let ended = walker::walk(&memory.tables, &self.facts, place, bfn, |place| {
            if memory.tables.is_live(place.table) {
                index.add_table(place.table);
                if let Some(before) = cache.paging.insert(bfn, place) {
                    index.remove_table(before);
                }
            }
        });
        match ended {
            Walk::Leaf { frame, level, rights } => {
                let mut cached = Cached { bfn, frame, level, rights };
                cached.bfn &= !(cached.pages() - 1);
                cache.iotlb.insert(cached);
                index.add_page(&cached);
                Ok(cached)
            }
            Walk::NotPresent { .. } => {
                if self.facts.features.contains(UnitFeatures::CACHES_NOT_PRESENT) {
                    cache.absent.insert(bfn, ());
                }
                Err(FaultReason::NotPresent)
            }
            Walk::Reserved { level, entry } => {
                let unit = self.id;
                memory.violations.record(Violation::ReservedBits { unit, address, level, entry });
                Err(FaultReason::ReservedBits)
            }
            Walk::BadTable { frame } => {
                let unit = self.id;
                memory.violations.record(Violation::WalkedFreeTable { unit, tag, address, frame });
                Err(FaultReason::BadTable)
            }
        }
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
