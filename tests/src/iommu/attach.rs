//! Device entries are written, and judged as they are.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    format::FormatKind,
    platform::{TableRoot, Tag, UnitFacts},
};

use super::{
    amdvi::{Words, device_entry},
    device_table::{DeviceEntry, DeviceTable, Stored},
    unit::{State, UnitModel},
    walker::{self, Rights},
};
use crate::{
    machine::{memory::Memory, violation::Violation},
    sync::lock,
};

/// The entry of a unit of these facts that refuses everything.
fn blocked(facts: &UnitFacts) -> Stored {
    match facts.format {
        FormatKind::AmdV1 => Stored::Words(device_entry::BLOCKED),
        FormatKind::VtdSecondStage => Stored::Plain(DeviceEntry::Blocked),
    }
}

/// A device table that blocks every device.
pub(super) fn blocking(facts: &UnitFacts) -> DeviceTable {
    DeviceTable::filled_with(blocked(facts))
}

impl UnitModel {
    /// The same unit with a device table of an AMD-Vi unit that is filled with these words: what is
    /// in memory before anybody is attached.
    #[must_use]
    pub fn with_device_table(self, fill: Words) -> Self {
        lock(&self.state).devices = DeviceTable::filled_with(Stored::Words(fill));
        self
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
        let rights = Rights::ALL;
        let stored = match self.facts.format {
            FormatKind::AmdV1 => Stored::Words(device_entry::encode(root, tag, rights)),
            FormatKind::VtdSecondStage => {
                Stored::Plain(DeviceEntry::Translated { root, tag, rights })
            }
        };
        self.store(memory, device, stored, forget);
    }

    /// Makes the entry of `device` refuse everything; forgets the cached entry if `forget`.
    pub fn block(&self, device: PciDevice, forget: bool) {
        Self::replace(&mut lock(&self.state), device, blocked(&self.facts), forget);
    }

    /// Writes these words into the device table of an AMD-Vi unit. The cached entry stays.
    pub fn write_device_entry(&self, memory: &Memory, device: PciDevice, words: Words) {
        self.store(memory, device, Stored::Words(words), false);
    }

    fn store(&self, memory: &Memory, device: PciDevice, stored: Stored, forget: bool) {
        let (unit, violations) = (self.id, &memory.violations);
        let mut state = lock(&self.state);
        match stored.read() {
            DeviceEntry::Blocked => {}
            DeviceEntry::Untranslated => {
                violations.record(Violation::Untranslated { unit, device });
            }
            DeviceEntry::Illegal(entry) => {
                violations.record(Violation::IllegalDeviceEntry { unit, device, entry });
            }
            entry @ DeviceEntry::Translated { .. } => {
                self.check_table(&state, memory, device, entry);
                // What was stored before is in force for a device that comes.
                let State { buffer, .. } = &mut *state;
                buffer.flush(&memory.tables, &self.facts);
                if let Some(top) = entry.top() {
                    buffer.copy(&memory.tables, &self.facts, top);
                }
            }
        }
        Self::replace(&mut state, device, stored, forget);
    }

    /// Records what is wrong with an entry that names a table.
    fn check_table(&self, state: &State, memory: &Memory, device: PciDevice, entry: DeviceEntry) {
        let Some((root, tag)) = entry.table() else { return };
        let (unit, violations) = (self.id, &memory.violations);
        if tag.0 == 0 || u32::from(tag.0) >= self.facts.tags {
            violations.record(Violation::BadTag { unit, tag });
        }
        let walkable = walker::supports_levels(&self.facts, root.levels);
        if !walkable || !memory.tables.is_live(root.frame) {
            let TableRoot { frame, levels } = root;
            violations.record(Violation::BadRoot { unit, frame, levels });
        }
        if state.devices.has_other_root(device, entry) {
            violations.record(Violation::TagWithTwoRoots { unit, tag });
        }
        let stale = state.tags.get(&tag.0).is_some_and(|cache| {
            let kept = !cache.iotlb.is_empty() || !cache.paging.is_empty();
            kept && cache.root != Some(root.frame)
        });
        if stale {
            violations.record(Violation::TagReusedBeforeFlush { unit, tag });
        }
    }

    fn replace(state: &mut State, device: PciDevice, stored: Stored, forget: bool) {
        let State { devices, index, counters, .. } = state;
        counters.device_entries += 1;
        if let Some((root, _)) = stored.read().table() {
            index.add_table(root.frame);
        }
        let gone = devices.set(device, stored);
        let cached = if forget { devices.forget(device) } else { None };
        for (root, _) in [Some(gone), cached].into_iter().flatten().filter_map(DeviceEntry::table) {
            index.remove_table(root.frame);
        }
    }
}
