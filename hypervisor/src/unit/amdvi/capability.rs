//! What a unit can do, by what it and firmware say of it, and what it had better not.

use crate::{
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
    unit::acpi::{IvInfo, IvhdFlags},
};

bitflags::bitflags! {
    /// What a unit announces and does not do well. Whoever knows the model says so; none is set by itself.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub struct Quirks: u32 {
        /// No leaves of 1 GiB.
        const NO_LEAF_1G = 1 << 0;
        /// No leaves but those of 4 KiB.
        const NO_LARGE_LEAVES = 1 << 1;
        /// No tables of 5 levels.
        const NO_LEVELS_5 = 1 << 2;
        /// Entries that are not present are cached, whatever the capability says.
        const CACHES_NOT_PRESENT = 1 << 3;
        /// Reads of the unit do not snoop, whatever firmware says.
        const NOT_COHERENT = 1 << 4;
        /// INVALIDATE_IOMMU_ALL does not do all.
        const NO_INVALIDATE_ALL = 1 << 5;
        /// Domain ids have 8 bits (QEMU 7.2 takes bit 8 for a reserved one).
        const TAGS_256 = 1 << 6;
    }
}

/// How wide entries of interrupt tables are: the same for all devices of a unit (section 2.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum IrqEntries {
    /// 32 bits.
    #[default]
    Short,
    /// 128 bits (GAEn), for destinations of 8 bits.
    Long,
    /// 128 bits, for destinations of 32 bits (GAEn and XTEn).
    X2apic,
}

/// What is known of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// The first word of the capability block in the configuration space of the unit's function
    /// (section 3.2.1): identifier 0fh, type 3.
    pub header: u32,
    /// The extended feature register (section 3.4.8), 0 without one.
    pub extended_features: u64,
    /// What firmware says of all units.
    pub info: IvInfo,
    /// What firmware says of this one.
    pub flags: IvhdFlags,
    /// What is not to be believed.
    pub quirks: Quirks,
}

/// NpCache.
const NOT_PRESENT_CACHED: u32 = 1 << 26;
/// EFRSup.
const EXTENDED_FEATURES: u32 = 1 << 27;

/// XTSup.
const X2APIC: u64 = 1 << 2;
/// IASup.
const INVALIDATE_ALL: u64 = 1 << 6;
/// GASup.
const LONG_INTERRUPTS: u64 = 1 << 7;
/// HATS: 0 for 4 levels, 1 for 5, 2 for 6.
const LEVELS_SHIFT: u32 = 10;
const LEVELS: u64 = 3;

/// The widths that every unit has, where firmware says none that can be.
const BUS_BITS: u8 = 48;
const HOST_BITS: u8 = 40;

impl Capability {
    /// True if a unit with this header has the extended feature register.
    #[must_use]
    pub const fn has_extended_features(header: u32) -> bool {
        header & EXTENDED_FEATURES != 0
    }

    /// What the service is told; `None` if the unit does not walk the tables that this crate writes
    /// (HATS of 3).
    #[must_use]
    pub fn facts(&self) -> Option<UnitFacts> {
        let levels = self.extended_features >> LEVELS_SHIFT & LEVELS;
        if levels == LEVELS {
            return None;
        }
        let mut features = UnitFeatures::SNOOP_CONTROL
            | UnitFeatures::LEAF_2M
            | UnitFeatures::LEAF_1G
            | UnitFeatures::LEVELS_3
            | UnitFeatures::LEVELS_4;
        features.set(UnitFeatures::LEVELS_5, levels > 0 && !self.has(Quirks::NO_LEVELS_5));
        features.set(UnitFeatures::COHERENT, self.is_coherent());
        let cached = self.header & NOT_PRESENT_CACHED != 0 || self.has(Quirks::CACHES_NOT_PRESENT);
        features.set(UnitFeatures::CACHES_NOT_PRESENT, cached);
        if self.has(Quirks::NO_LEAF_1G) {
            features.remove(UnitFeatures::LEAF_1G);
        }
        if self.has(Quirks::NO_LARGE_LEAVES) {
            features.remove(UnitFeatures::LEAF_1G | UnitFeatures::LEAF_2M);
        }
        let widest = if features.contains(UnitFeatures::LEVELS_5) { 57 } else { 48 };
        let (bus, host) = (self.info.virtual_address_bits(), self.info.physical_address_bits());
        Some(UnitFacts {
            format: FormatKind::AmdV1,
            features,
            bus_address_bits: if (32..=64).contains(&bus) { bus.min(widest) } else { BUS_BITS },
            host_address_bits: if (32..=52).contains(&host) { host } else { HOST_BITS },
            tags: if self.has(Quirks::TAGS_256) { 1 << 8 } else { 1 << 16 },
        })
    }

    /// True if what the unit reads is snooped, so nothing has to be written back for it.
    #[must_use]
    pub const fn is_coherent(&self) -> bool {
        self.flags.contains(IvhdFlags::COHERENT) && !self.has(Quirks::NOT_COHERENT)
    }

    /// True if one command makes the unit forget everything.
    #[must_use]
    pub const fn invalidates_all(&self) -> bool {
        self.extended_features & INVALIDATE_ALL != 0 && !self.has(Quirks::NO_INVALIDATE_ALL)
    }

    /// True if interrupt tables can have entries of this width.
    #[must_use]
    pub const fn remaps(&self, entries: IrqEntries) -> bool {
        let needed = match entries {
            IrqEntries::Short => 0,
            IrqEntries::Long => LONG_INTERRUPTS,
            IrqEntries::X2apic => LONG_INTERRUPTS | X2APIC,
        };
        self.extended_features & needed == needed
    }

    const fn has(&self, quirk: Quirks) -> bool {
        self.quirks.contains(quirk)
    }
}
