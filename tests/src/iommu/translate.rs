//! Translation: from a device and a bus address to a frame, by way of the caches, and the check
//! that a device may be there.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Tag, UnitFeatures, UnitId},
};

use super::{
    device_table::DeviceEntry,
    fault::{Direction, FaultReason, FaultRecord},
    holes,
    iotlb::Cached,
    unit::{State, UnitModel},
    walker::{self, Place, Walk},
};
use crate::{
    machine::{Basis, frames::Reach, memory::Memory, violation::Violation},
    sync::lock,
};

/// Most fault records kept; later ones are only counted.
const FAULTS_KEPT: usize = 4096;

/// An access on its way: who asked, and where it was translated to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Landing {
    /// Unit that translated.
    pub unit: UnitId,
    /// Function that asked.
    pub device: PciDevice,
    /// Tag of the translation.
    pub tag: Tag,
    /// Bus address, in bytes.
    pub address: u64,
    /// Frame it leads to.
    pub frame: Mfn,
    /// What that frame is.
    pub reach: Reach,
    /// By what right the device is there.
    pub basis: Basis,
}

/// A translation, the root it is under, and its tag.
type Translated = (Cached, Mfn, Tag);

impl UnitModel {
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
        self.access_at(memory, device, address, direction, |at| act(at.frame))
    }

    /// The same; `act` is told all that is known, and what it makes of that is returned.
    ///
    /// # Errors
    /// Why it was refused; also recorded as a fault, or as a violation.
    pub fn access_at<R>(
        &self,
        memory: &Memory,
        device: PciDevice,
        address: u64,
        direction: Direction,
        act: impl FnOnce(&Landing) -> R,
    ) -> Result<R, FaultReason> {
        if holes::is_interrupt(address >> 12) {
            return Err(FaultReason::Interrupt);
        }
        let mut state = lock(&self.state);
        state.recent.note(address >> 12);
        let translated = self.translate(&mut state, memory, device, address);
        let translated = translated.and_then(|found| match direction {
            Direction::Read if !found.0.rights.read => Err(FaultReason::NotReadable),
            Direction::Write if !found.0.rights.write => Err(FaultReason::NotWritable),
            _ => Ok(found),
        });
        match translated {
            Ok(found) => {
                self.check_reach(&state, memory, device, address, found).map(|at| act(&at))
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
        self.load(&mut lock(&self.state), memory, device, address)
    }

    pub(super) fn load(
        &self,
        state: &mut State,
        memory: &Memory,
        device: PciDevice,
        address: u64,
    ) -> bool {
        let found = self.translate(state, memory, device, address);
        found.is_ok_and(|found| {
            // What the hardware domain is trusted with may be gone; it has not been used.
            let unused = found.0.basis == Basis::Trusted;
            unused || self.check_reach(state, memory, device, address, found).is_ok()
        })
    }

    /// Where a translation leads, if `device` may be there.
    fn check_reach(
        &self,
        state: &State,
        memory: &Memory,
        device: PciDevice,
        address: u64,
        (cached, root, tag): Translated,
    ) -> Result<Landing, FaultReason> {
        let unit = self.id;
        let frame = cached.frame_of(address >> 12);
        let hole = holes::is_no_memory(self.facts.format, frame);
        let reach = if hole { Reach::Forbidden } else { memory.reach(frame) };
        let has = state.devices.owner(device);
        let seen = match memory.tables.scratch_owner(frame) {
            _ if !memory.allows(&cached, device, has, frame, reach) => {
                Some(Violation::Access { unit, device, address, frame, reach })
            }
            Some(owner) if !memory.scratch_is_for(frame, owner, device, has) => {
                Some(Violation::ScratchOfAnother { unit, device, address, frame, owner })
            }
            Some(_) => {
                let (first, second) = (memory.tables.scratch_root(frame, root), root);
                (first != second).then_some(Violation::ScratchUnderTwoRoots {
                    unit,
                    frame,
                    first,
                    second,
                })
            }
            None => None,
        };
        match seen {
            None => Ok(Landing { unit, device, tag, address, frame, reach, basis: cached.basis }),
            Some(violation) => {
                memory.violations.record(violation);
                Err(FaultReason::Stopped)
            }
        }
    }

    /// Where the walk to `bfn` begins by this entry, and the tag of what it finds.
    pub(super) fn way(&self, entry: DeviceEntry, bfn: u64) -> Result<(Place, Tag), FaultReason> {
        let (top, tag) = match (entry, entry.top()) {
            (DeviceEntry::Translated { tag, .. }, Some(top)) => (top, tag),
            (DeviceEntry::Untranslated, _) => return Err(FaultReason::Stopped),
            (DeviceEntry::Illegal(_), _) => return Err(FaultReason::IllegalEntry),
            _ => return Err(FaultReason::Blocked),
        };
        if !walker::supports_levels(&self.facts, top.level) {
            return Err(FaultReason::IllegalEntry);
        }
        if !walker::in_width(&self.facts, top.level, bfn) {
            return Err(FaultReason::AddressWidth);
        }
        if holes::is_untranslated(self.facts.format, bfn) {
            return Err(FaultReason::Hole);
        }
        Ok((top, tag))
    }

    /// Finds the translation of `address`, in the caches or by a walk, and keeps it.
    fn translate(
        &self,
        state: &mut State,
        memory: &Memory,
        device: PciDevice,
        address: u64,
    ) -> Result<Translated, FaultReason> {
        let State { devices, tags, index, buffer, counters, .. } = state;
        let owner = devices.owner(device);
        let (entry, filled) = devices.look_up(device);
        let unit = self.id;
        if entry == DeviceEntry::Untranslated {
            memory.violations.record(Violation::Untranslated { unit, device });
        }
        let bfn = address >> 12;
        let (top, tag) = self.way(entry, bfn)?;
        if filled {
            index.add_table(top.table);
        }
        let cache = tags.entry(tag.0).or_default();
        if let Some(cached) = cache.iotlb.find(bfn) {
            counters.iotlb_hits += 1;
            return Ok((cached, top.table, tag));
        }
        if cache.absent.covers(bfn) {
            return Err(FaultReason::NotPresent);
        }
        counters.walks += 1;
        cache.root = Some(top.table);
        let place = cache.paging.find(bfn).unwrap_or(top);
        let read = |place, index| buffer.entry(&memory.tables, &self.facts, place, index);
        let ended = walker::walk_by(read, &self.facts, place, bfn, |place| {
            if memory.tables.is_live(place.table) {
                index.add_table(place.table);
                if let Some(before) = cache.paging.insert(bfn, place) {
                    index.remove_table(before);
                }
            }
        });
        match ended {
            Walk::Leaf { frame, level, rights, soft } => {
                let basis = memory.rules.basis(soft, owner);
                let mut cached = Cached { bfn, frame, level, rights, soft, basis };
                cached.bfn &= !(cached.pages() - 1);
                cache.iotlb.insert(cached);
                index.add_page(&cached);
                Ok((cached, top.table, tag))
            }
            Walk::NotPresent { level } => {
                if self.facts.features.contains(UnitFeatures::CACHES_NOT_PRESENT) {
                    cache.absent.insert(bfn, if self.absent_spans { level } else { 1 });
                }
                Err(FaultReason::NotPresent)
            }
            Walk::LeftBehind { level, entry } => {
                memory.violations.record(Violation::LeftBehind { unit, address, level, entry });
                Err(FaultReason::NotPresent)
            }
            Walk::Reserved { level, entry } => {
                memory.violations.record(Violation::ReservedBits { unit, address, level, entry });
                Err(FaultReason::ReservedBits)
            }
            Walk::BadTable { frame } => {
                memory.violations.record(if memory.tables.scratch_owner(frame).is_some() {
                    Violation::WalkedScratch { unit, tag, address, frame }
                } else {
                    Violation::WalkedFreeTable { unit, tag, address, frame }
                });
                Err(FaultReason::BadTable)
            }
        }
    }
}
