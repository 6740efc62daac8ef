//! What a unit has read and keeps, and what a device meets by that.

use std::collections::hash_map::Entry;

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{TableRoot, Tag},
};

use super::{Command, Mistake, State, Unit, registers::address};
use crate::hardware::Ram;
use crate::iommu::{DeviceEntry, Rights, amdvi::device_entry};

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It passed as it is.
    Passed,
    /// It was refused.
    Refused,
    /// It went through this table, as it was when it was walked.
    Translated(TableRoot),
}

/// What became of an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// It passed as it is.
    Passed,
    /// It was refused.
    Refused,
    /// It went through the table in this frame with 2^n entries.
    Remapped(Mfn, u8),
}

/// SysMgt: about requests that no test makes.
const MANAGEMENT: u64 = 3 << 40;
/// SA: what is refused is not logged.
const SILENT: u64 = 1 << 34;

impl Unit {
    /// A device writes to a bus frame.
    #[must_use]
    pub fn request(&self, id: u16, bfn: u64) -> Verdict {
        self.state().request(&self.ram, id, bfn)
    }

    /// A device raises a fixed interrupt.
    #[must_use]
    pub fn interrupt(&self, id: u16) -> Interrupt {
        let mut state = self.state();
        if !state.registers.is_on() {
            return Interrupt::Passed;
        }
        let Some(entry) = state.entry(&self.ram, id) else { return Interrupt::Refused };
        let word = entry[2];
        match (word & 1, word >> 60 & 3) {
            (0, _) | (_, 1) => Interrupt::Passed,
            (_, 2) => {
                let word = *state.interrupt_tables.entry(id).or_insert(word);
                Interrupt::Remapped(
                    Mfn((word & 0x000f_ffff_ffff_ffc0) >> 12),
                    (word >> 1 & 0xf) as u8,
                )
            }
            _ => Interrupt::Refused,
        }
    }

    /// All that its device table says of an id, by what its driver stored last.
    #[must_use]
    pub fn stored(&self, id: u16) -> Option<[u64; 4]> {
        self.state().read_entry(&self.ram, id, true)
    }
}

impl State {
    pub(super) fn request(&mut self, ram: &Ram, id: u16, bfn: u64) -> Verdict {
        if !self.registers.is_on() || self.is_excluded(bfn) {
            return Verdict::Passed;
        }
        let Some(entry) = self.entry(ram, id) else {
            // ILLEGAL_DEV_TABLE_ENTRY: it would be beyond the end.
            self.log(ram, id, [1 << 60 | 1 << 53, bfn << 12]);
            return Verdict::Refused;
        };
        match device_entry::decode([entry[0], entry[1] & !MANAGEMENT]) {
            DeviceEntry::Untranslated => Verdict::Passed,
            DeviceEntry::Translated { root, tag, rights: Rights { write: true, .. } } => {
                Verdict::Translated(*self.translations.entry((tag.0, bfn)).or_insert(root))
            }
            DeviceEntry::Illegal(_) => {
                self.log(ram, id, [1 << 60 | 1 << 53 | 1 << 55, bfn << 12]);
                Verdict::Refused
            }
            _ => {
                if entry[1] & SILENT == 0 {
                    // IO_PAGE_FAULT: a write, of something present, that is not permitted.
                    let first = 2 << 60 | 7 << 52 | (entry[1] & 0xffff) << 32;
                    self.log(ram, id, [first, bfn << 12]);
                }
                Verdict::Refused
            }
        }
    }

    /// The exclusion range, for all devices.
    fn is_excluded(&self, bfn: u64) -> bool {
        let [base, limit] = self.registers.exclusion;
        let range = address(base) >> 12..=address(limit) >> 12;
        base & 3 == 3 && range.contains(&bfn)
    }

    /// What it knows of an id: `None` if that is beyond the end of the table.
    fn entry(&mut self, ram: &Ram, id: u16) -> Option<[u64; 4]> {
        let read = self.read_entry(ram, id, self.registers.snoops());
        match self.entries.entry(id) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(place) => Some(*place.insert(read?)),
        }
    }

    fn read_entry(&self, ram: &Ram, id: u16, snoops: bool) -> Option<[u64; 4]> {
        let table = self.registers.device_table;
        if u64::from(id) >= ((table & 0x1ff) + 1) * 128 {
            return None;
        }
        let at = address(table) + u64::from(id) * 32;
        let [low, high] = [ram.read_pair(at, snoops)?, ram.read_pair(at + 16, snoops)?];
        Some([low[0], low[1], high[0], high[1]])
    }

    /// Looks at what every watched device would meet now, and keeps what is read for that.
    pub(super) fn instant(&mut self, ram: &Ram) {
        if !self.registers.is_on() {
            return;
        }
        for id in self.watched.clone() {
            let met = match self.entry(ram, id) {
                Some(entry) => device_entry::decode([entry[0], entry[1] & !MANAGEMENT]),
                None => DeviceEntry::Blocked,
            };
            if met == DeviceEntry::Untranslated {
                self.mistakes.push(Mistake::LetThrough(id));
            }
        }
    }

    pub(super) fn forget(&mut self, what: Command) {
        match what {
            Command::Wait { .. } => {}
            Command::ForgetDevice(id) => {
                self.entries.remove(&id);
            }
            Command::ForgetInterrupts(id) => {
                self.interrupt_tables.remove(&id);
            }
            Command::ForgetPages { tag: Tag(tag), first, last, .. } => {
                self.translations
                    .retain(|(its, bfn), _| *its != tag || *bfn < first || *bfn > last);
            }
            Command::ForgetAll => {
                self.entries.clear();
                self.interrupt_tables.clear();
                self.translations.clear();
            }
        }
    }
}
