//! Entries of AMD's tables for host translations.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, revision 3.08,
//! section 2.2.3.
//!
//! | bits | PDE: the way to a table | PTE: a leaf |
//! |---|---|---|
//! | 0 | PR: present | the same |
//! | 4:1, 8:7, 63 | ignored | ignored |
//! | 5, 6 | A; ignored | A, D |
//! | 11:9 | next level: that of the table it names | 0 |
//! | 51:12 | table | first frame of the page; low bits of a large page are reserved |
//! | 58:52 | reserved | reserved |
//! | 59, 60 | reserved | U, FC |
//! | 61, 62 | IR, IW: ANDed down the levels, from the device-table entry on | the same |
//!
//! Address bits from the host address width up to 51 are reserved. A and D are not set.
//!
//! Stricter than the specification is this walker where nobody who writes plain tables needs
//! what it permits, and counts as reserved
//!
//! * a next level that is not the one below: levels may be skipped whose address bits are zero;
//! * next level 7, a leaf of a size that its address encodes, and FC without snoop control;
//! * leaves above level 3: with those of 512 GiB units have had a bug.
//!
//! What else is in an entry without PR is ignored, they say; but some units translate by it, so it
//! must be empty.

use pviommu_hypervisor::{
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
};

use super::{Place, Rights, Soft, Step, Walk, beyond_host, frame_of, has_large_leaf, within_page};

const PRESENT: u64 = 1 << 0;
const RESERVED: u64 = 0x7f << 52;
const UNTRANSLATED_ONLY: u64 = 1 << 59;
pub(super) const FORCE_COHERENT: u64 = 1 << 60;
const READ: u64 = 1 << 61;
const WRITE: u64 = 1 << 62;

/// The level of the table that an entry names; 0 of a leaf.
const fn next_level(entry: u64) -> u8 {
    (entry >> 9 & 7) as u8
}

pub(super) fn follow(facts: &UnitFacts, place: Place, entry: u64) -> Step {
    let Place { level, rights, .. } = place;
    if entry & PRESENT == 0 {
        let left = Walk::LeftBehind { level, entry };
        return Step::Ended(if entry == 0 { Walk::NotPresent { level } } else { left });
    }
    let next = next_level(entry);
    let leaf = next == 0;
    let right_level = match leaf {
        true => level == 1 || has_large_leaf(facts, level),
        false => next == level - 1,
    };
    if !right_level || entry & reserved(facts, level, leaf) != 0 {
        return Step::Ended(Walk::Reserved { level, entry });
    }
    let own = Rights { read: entry & READ != 0, write: entry & WRITE != 0 };
    let (frame, rights) = (frame_of(entry), rights.and(own));
    if leaf {
        let soft = Soft::of(FormatKind::AmdV1, entry);
        Step::Ended(Walk::Leaf { frame, level, rights, soft })
    } else {
        Step::Down(Place { table: frame, level: next, rights })
    }
}

/// Bits that must be zero in a present entry.
fn reserved(facts: &UnitFacts, level: u8, leaf: bool) -> u64 {
    let bits = RESERVED | beyond_host(facts);
    match leaf {
        false => bits | UNTRANSLATED_ONLY | FORCE_COHERENT,
        true if facts.features.contains(UnitFeatures::SNOOP_CONTROL) => bits | within_page(level),
        true => bits | within_page(level) | FORCE_COHERENT,
    }
}
