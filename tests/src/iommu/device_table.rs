//! Device entries of a unit, and the cache of them.
//!
//! A device that was not told of has the entry that the table was filled with. The cache is filled
//! by the first access of a device and left alone until that entry is told to be forgotten.

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::platform::{TableRoot, Tag};

use super::{
    amdvi::{self, Words},
    walker::{Place, Rights},
};

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
        /// What all translations permit at most.
        rights: Rights,
    },
    /// Nothing: every request passes, and reaches what it names.
    Untranslated,
    /// These words, which no unit takes: every request is refused.
    Illegal(Words),
}

impl DeviceEntry {
    /// The root and the tag, if there are any.
    #[must_use]
    pub const fn table(self) -> Option<(TableRoot, Tag)> {
        match self {
            Self::Translated { root, tag, .. } => Some((root, tag)),
            Self::Blocked | Self::Untranslated | Self::Illegal(_) => None,
        }
    }

    /// Where a walk begins, if there is a table.
    #[must_use]
    pub const fn top(self) -> Option<Place> {
        match self {
            Self::Translated { root: TableRoot { frame, levels }, rights, .. } => {
                Some(Place { table: frame, level: levels, rights })
            }
            Self::Blocked | Self::Untranslated | Self::Illegal(_) => None,
        }
    }
}

/// An entry in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    /// One that is not modelled as words.
    Plain(DeviceEntry),
    /// The words of an AMD-Vi unit, taken apart by whoever reads them.
    Words(Words),
}

impl Stored {
    /// What it says.
    pub(super) const fn read(self) -> DeviceEntry {
        match self {
            Self::Plain(entry) => entry,
            Self::Words(words) => amdvi::device_entry::decode(words),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    device: PciDevice,
    stored: Stored,
    cached: Option<DeviceEntry>,
    owner: Option<DomId>,
}

impl Slot {
    /// The entry that the unit would use now.
    fn in_use(&self) -> DeviceEntry {
        self.cached.unwrap_or_else(|| self.stored.read())
    }

    /// Its number in the device table of its unit.
    fn id(&self) -> u16 {
        u16::from(self.device.bus) << 8 | u16::from(self.device.devfn)
    }
}

/// The device entries of one unit.
#[derive(Debug)]
pub struct DeviceTable {
    /// A unit has few devices, so a list is as quick as a map.
    slots: Vec<Slot>,
    /// All other entries.
    fill: Stored,
}

impl Default for DeviceTable {
    /// A table that blocks every device.
    fn default() -> Self {
        Self::filled_with(Stored::Plain(DeviceEntry::Blocked))
    }
}

impl DeviceTable {
    /// A table of which all entries are `fill`.
    pub(super) const fn filled_with(fill: Stored) -> Self {
        Self { slots: Vec::new(), fill }
    }

    fn slot(&mut self, device: PciDevice) -> &mut Slot {
        let at = self.slots.iter().position(|s| s.device == device).unwrap_or_else(|| {
            self.slots.push(Slot { device, stored: self.fill, cached: None, owner: None });
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
                let entry = slot.stored.read();
                slot.cached = Some(entry);
                (entry, true)
            }
        }
    }

    /// The entry that the unit would use for `device` now.
    #[must_use]
    pub(crate) fn in_use(&self, device: PciDevice) -> DeviceEntry {
        let slot = self.slots.iter().find(|s| s.device == device);
        slot.map_or_else(|| self.fill.read(), Slot::in_use)
    }

    /// The entry in memory.
    #[must_use]
    pub fn entry(&self, device: PciDevice) -> DeviceEntry {
        let slot = self.slots.iter().find(|s| s.device == device);
        slot.map_or(self.fill, |s| s.stored).read()
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
        let uses = |slot: &&Slot| slot.in_use().table().is_some();
        let (before, after) = self.slots.split_at(from);
        after.iter().chain(before).find(uses).map(|slot| slot.device)
    }

    /// Where walks begin by entries in memory or cached; some more than once.
    pub(crate) fn tops(&self) -> impl Iterator<Item = Place> {
        let entries = self.slots.iter().flat_map(|s| [Some(s.stored.read()), s.cached]);
        entries.flatten().filter_map(DeviceEntry::top)
    }

    /// Replaces the entry in memory in one step, and returns the former one.
    pub(super) fn set(&mut self, device: PciDevice, stored: Stored) -> DeviceEntry {
        std::mem::replace(&mut self.slot(device).stored, stored).read()
    }

    /// Forgets the cached entry, and returns it.
    pub fn forget(&mut self, device: PciDevice) -> Option<DeviceEntry> {
        self.slot(device).cached.take()
    }

    /// Forgets what is cached for requests with this number, and returns the tables it named.
    pub(super) fn forget_id(&mut self, id: u16) -> Vec<(TableRoot, Tag)> {
        let slots = self.slots.iter_mut().filter(|slot| slot.id() == id);
        slots.filter_map(|slot| slot.cached.take()?.table()).collect()
    }

    /// True if an entry in memory of another device than `device` has the tag of `entry`, and another
    /// root or other rights.
    #[must_use]
    pub fn has_other_root(&self, device: PciDevice, entry: DeviceEntry) -> bool {
        let others = self.slots.iter().filter(|s| s.device != device).map(|s| s.stored.read());
        let tag = |entry: DeviceEntry| entry.table().map(|(_, tag)| tag);
        others
            .filter(|other| other.table().is_some() && tag(*other) == tag(entry))
            .any(|other| other != entry)
    }

    /// A device whose requests use `tag` now.
    pub(crate) fn with_tag(&self, tag: Tag) -> Option<PciDevice> {
        let uses = |slot: &&Slot| slot.in_use().table().is_some_and(|(_, its)| its == tag);
        self.slots.iter().find(uses).map(|slot| slot.device)
    }
}
