//! The page walk of VT-d second-stage translation.
//!
//! | bits | non-leaf | leaf |
//! |---|---|---|
//! | 0, 1 | read, write: ANDed down the levels | the same |
//! | 7 | 0; page size at levels 2 and 3 | 1 at levels 2 and 3, ignored at level 1 |
//! | 11 | reserved | snoop, reserved without snoop control |
//! | 51:12 | table | first frame of the page; low bits of a large page are reserved |
//! | 62 | reserved | reserved |
//! | the rest | ignored | ignored |
//!
//! Address bits from the host address width up to 51 are reserved. An entry that permits
//! neither reads nor writes is not present, whatever else it holds.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{UnitFacts, UnitFeatures},
};

use super::soft::Soft;
use crate::machine::tables::Tables;

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const PAGE_SIZE: u64 = 1 << 7;
const SNOOP: u64 = 1 << 11;
const TRANSIENT: u64 = 1 << 62;
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
    /// Everything: what a walk starts with.
    pub const ALL: Self = Self { read: true, write: true };

    const fn of(entry: u64) -> Self {
        Self { read: entry & READ != 0, write: entry & WRITE != 0 }
    }

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
    let Place { level, rights, .. } = place;
    if entry & (READ | WRITE) == 0 {
        return Step::Ended(Walk::NotPresent { level });
    }
    let leaf = level == 1 || (entry & PAGE_SIZE != 0 && has_large_leaf(facts, level));
    if entry & reserved(facts, level, leaf) != 0 {
        return Step::Ended(Walk::Reserved { level, entry });
    }
    let frame = Mfn((entry & ADDRESS) >> 12);
    let rights = rights.and(Rights::of(entry));
    if leaf {
        Step::Ended(Walk::Leaf { frame, level, rights, soft: Soft::of(entry) })
    } else {
        Step::Down(Place { table: frame, level: level - 1, rights })
    }
}

fn has_large_leaf(facts: &UnitFacts, level: u8) -> bool {
    match level {
        2 => facts.features.contains(UnitFeatures::LEAF_2M),
        3 => facts.features.contains(UnitFeatures::LEAF_1G),
        _ => false,
    }
}

/// Bits that must be zero in a present entry.
fn reserved(facts: &UnitFacts, level: u8, leaf: bool) -> u64 {
    let host = 1_u64 << facts.host_address_bits.min(52);
    let mut bits = TRANSIENT | (ADDRESS & !(host - 1));
    if !leaf {
        // A page-size bit that is still there was not understood as a leaf at this level.
        bits |= SNOOP | PAGE_SIZE;
    } else {
        if !facts.features.contains(UnitFeatures::SNOOP_CONTROL) {
            bits |= SNOOP;
        }
        let size = 1_u64 << (12 + LEVEL_BITS * u32::from(level - 1));
        bits |= (size - 1) & ADDRESS;
    }
    bits
}
