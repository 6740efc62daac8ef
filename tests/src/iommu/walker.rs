//! The page walk, whatever the format of the tables: where it stands, how it goes on, how it ends.
//!
//! What an entry says is decided in `vtd` and `amd`, each written from its specification. Levels
//! count from 1, the tables whose entries are always leaves of 4 KiB, as both specifications have it.

mod amd;
mod vtd;

use pviommu_hypervisor::{
    addr::Mfn,
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
};

use super::soft::Soft;
use crate::machine::tables::Tables;

/// Address bits of an entry: of both formats, and of device-table entries.
const ADDRESS: u64 = ((1 << 52) - 1) & !0xfff;

/// Bits of a frame number that one level resolves.
pub(crate) const LEVEL_BITS: u32 = 9;

/// What a translation, or the way to it, permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Reads.
    pub read: bool,
    /// Writes.
    pub write: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true };

    const fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }
}

/// Where a walk stands: about to read a table of this level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Frame of the table.
    pub table: Mfn,
    /// Its level; the entries of level 1 are always leaves.
    pub level: u8,
    /// What the entries above permit.
    pub rights: Rights,
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walk {
    /// At a page.
    Leaf {
        /// First frame of the page.
        frame: Mfn,
        /// Level of its entry: 1 is 4 KiB, 2 is 2 MiB, 3 is 1 GiB.
        level: u8,
        /// What all entries together permit.
        rights: Rights,
        /// What its own entry notes.
        soft: Soft,
    },
    /// At an entry that is not present.
    NotPresent {
        /// Level of the entry.
        level: u8,
    },
    /// At an entry that is not present and not empty, by which some units translate all the same.
    LeftBehind {
        /// Level of the entry.
        level: u8,
        /// The entry.
        entry: u64,
    },
    /// At an entry with reserved bits set.
    Reserved {
        /// Level of the entry.
        level: u8,
        /// The entry.
        entry: u64,
    },
    /// At a table that is not an allocated one.
    BadTable {
        /// Frame it should be in.
        frame: Mfn,
    },
}

/// True if `bfn` is within what the unit accepts and a table of `levels` levels covers.
#[must_use]
pub fn in_width(facts: &UnitFacts, levels: u8, bfn: u64) -> bool {
    let table = LEVEL_BITS * u32::from(levels);
    let bits = table.min(u32::from(facts.bus_address_bits).saturating_sub(12));
    bfn >> bits == 0
}

/// True if the unit walks tables of `levels` levels.
#[must_use]
pub fn supports_levels(facts: &UnitFacts, levels: u8) -> bool {
    facts.features.contains(match levels {
        3 => UnitFeatures::LEVELS_3,
        4 => UnitFeatures::LEVELS_4,
        5 => UnitFeatures::LEVELS_5,
        _ => return false,
    })
}

/// One step of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// To the next table.
    Down(Place),
    /// No further.
    Ended(Walk),
}

/// Walks from `place` to the page of `bfn`, and tells `passed` each table it comes to.
pub fn walk(
    tables: &Tables,
    facts: &UnitFacts,
    place: Place,
    bfn: u64,
    passed: impl FnMut(Place),
) -> Walk {
    let coherent = facts.features.contains(UnitFeatures::COHERENT);
    walk_by(|place, index| tables.entry(place.table, index, coherent), facts, place, bfn, passed)
}

/// The same, for a unit that reads entries by `read`; that is `None` where no table is.
pub fn walk_by(
    mut read: impl FnMut(Place, usize) -> Option<u64>,
    facts: &UnitFacts,
    place: Place,
    bfn: u64,
    mut passed: impl FnMut(Place),
) -> Walk {
    let mut place = place;
    loop {
        let Some(entry) = read(place, index(bfn, place.level)) else {
            return Walk::BadTable { frame: place.table };
        };
        match follow(facts, place, entry) {
            Step::Down(below) => {
                place = below;
                passed(below);
            }
            Step::Ended(end) => return end,
        }
    }
}

/// Place of the entry for `bfn` in a table of `level`.
#[must_use]
pub const fn index(bfn: u64, level: u8) -> usize {
    (bfn >> (LEVEL_BITS * (level as u32 - 1)) & 0x1ff) as usize
}

/// Where an entry of the table at `place` leads.
#[must_use]
pub fn follow(facts: &UnitFacts, place: Place, entry: u64) -> Step {
    match facts.format {
        FormatKind::VtdSecondStage => vtd::follow(facts, place, entry),
        FormatKind::AmdV1 => amd::follow(facts, place, entry),
    }
}

/// The frame that an entry names, of a table or a page.
#[must_use]
pub const fn frame_of(entry: u64) -> Mfn {
    Mfn((entry & ADDRESS) >> 12)
}

/// True if a leaf forces requests to be snooped (VT-d: SNP, AMD: FC).
#[must_use]
pub const fn snoops(format: FormatKind, leaf: u64) -> bool {
    match format {
        FormatKind::AmdV1 => leaf & amd::FORCE_COHERENT != 0,
        FormatKind::VtdSecondStage => leaf & vtd::SNOOP != 0,
    }
}

fn has_large_leaf(facts: &UnitFacts, level: u8) -> bool {
    match level {
        2 => facts.features.contains(UnitFeatures::LEAF_2M),
        3 => facts.features.contains(UnitFeatures::LEAF_1G),
        _ => false,
    }
}

/// Address bits that the unit does not put out.
fn beyond_host(facts: &UnitFacts) -> u64 {
    let host = 1_u64 << facts.host_address_bits.min(52);
    ADDRESS & !(host - 1)
}

/// Address bits within a page of `level`.
const fn within_page(level: u8) -> u64 {
    let size = 1_u64 << (12 + LEVEL_BITS * (level as u32 - 1));
    (size - 1) & ADDRESS
}
