//! Device entries of a unit, and the cache of them.
//!
//! A device without an entry is blocked. The cache is filled by the first access of a device and
//! left alone until that entry is told to be forgotten, as attaching and blocking do.

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::platform::{TableRoot, Tag};

/// What a device's requests go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceEntry {
    /// Nothing: every request is refused.
    Blocked,
    /// A page table.
    Translated {
        /// Its root.
        root: TableRoot,
        /// The tag its translations are cached under.
        tag: Tag,
    },
}

impl DeviceEntry {
    /// The root and the tag, if there are any.
    #[must_use]
    pub const fn table(self) -> Option<(TableRoot, Tag)> {
        match self {
            Self::Blocked => None,
            Self::Translated { root, tag } => Some((root, tag)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    device: PciDevice,
    entry: DeviceEntry,
    cached: Option<DeviceEntry>,
    owner: Option<DomId>,
}

/// The device entries of one unit.
#[derive(Debug, Default)]
pub struct DeviceTable {
    /// A unit has few devices, so a list is as quick as a map.
    slots: Vec<Slot>,
}

impl DeviceTable {
    fn slot(&mut self, device: PciDevice) -> &mut Slot {
        let at = self.slots.iter().position(|s| s.device == device).unwrap_or_else(|| {
            let entry = DeviceEntry::Blocked;
            self.slots.push(Slot { device, entry, cached: None, owner: None });
            self.slots.len() - 1
        });
        &mut self.slots[at]
    }

    /// The entry the unit uses for `device`: the cached one, which is the one in memory if none
    /// was cached. Returns it and true if it was put into the cache now.
    pub fn look_up(&mut self, device: PciDevice) -> (DeviceEntry, bool) {
        let slot = self.slot(device);
        match slot.cached {
            Some(entry) => (entry, false),
            None => {
                slot.cached = Some(slot.entry);
                (slot.entry, true)
            }
        }
    }

    /// The entry that the unit would use for `device` now.
    #[must_use]
    pub(crate) fn in_use(&self, device: PciDevice) -> DeviceEntry {
        let slot = self.slots.iter().find(|s| s.device == device);
        slot.map_or(DeviceEntry::Blocked, |s| s.cached.unwrap_or(s.entry))
    }

    /// The entry in memory.
    #[must_use]
    pub fn entry(&self, device: PciDevice) -> DeviceEntry {
        let slot = self.slots.iter().find(|s| s.device == device);
        slot.map_or(DeviceEntry::Blocked, |s| s.entry)
    }

    /// The domain that has `device`, as far as it was told.
    #[must_use]
    pub fn owner(&self, device: PciDevice) -> Option<DomId> {
        self.slots.iter().find(|s| s.device == device)?.owner
    }

    /// Notes the domain that has `device`.
    pub fn set_owner(&mut self, device: PciDevice, owner: Option<DomId>) {
        self.slot(device).owner = owner;
    }

    /// Number of devices it was told of.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The first device from the `from`-th on whose requests are translated.
    pub(crate) fn translated(&self, from: usize) -> Option<PciDevice> {
        let uses = |slot: &&Slot| slot.cached.unwrap_or(slot.entry).table().is_some();
        let (before, after) = self.slots.split_at(from);
        after.iter().chain(before).find(uses).map(|slot| slot.device)
    }

    /// The roots that entries name, in memory or cached; some more than once.
    pub(crate) fn roots(&self) -> impl Iterator<Item = TableRoot> {
        let entries = self.slots.iter().flat_map(|s| [Some(s.entry), s.cached]);
        entries.flatten().filter_map(DeviceEntry::table).map(|(root, _)| root)
    }

    /// Replaces the entry in memory in one step, and returns the former one.
    pub fn set(&mut self, device: PciDevice, entry: DeviceEntry) -> DeviceEntry {
        std::mem::replace(&mut self.slot(device).entry, entry)
    }

    /// Forgets the cached entry, and returns it.
    pub fn forget(&mut self, device: PciDevice) -> Option<DeviceEntry> {
        self.slot(device).cached.take()
    }

    /// True if an entry in memory of another device than `device` has `tag` and another root.
    #[must_use]
    pub fn has_other_root(&self, device: PciDevice, tag: Tag, root: TableRoot) -> bool {
        self.slots.iter().filter(|s| s.device != device).any(|s| {
            s.entry.table().is_some_and(|(other, its_tag)| its_tag == tag && other != root)
        })
    }

    /// A device whose requests use `tag` now.
    pub(crate) fn with_tag(&self, tag: Tag) -> Option<PciDevice> {
        let uses = |slot: &&Slot| {
            slot.cached.unwrap_or(slot.entry).table().is_some_and(|(_, its)| its == tag)
        };
        self.slots.iter().find(uses).map(|slot| slot.device)
    }
}
