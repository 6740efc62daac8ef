//! Entries of VT-d's second stage.
//!
//! Source: Intel Virtualization Technology for Directed I/O, revision 4.1, sections 3.7 and 9.8.
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
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
};

use super::{Place, Rights, Soft, Step, Walk, beyond_host, frame_of, has_large_leaf, within_page};

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const PAGE_SIZE: u64 = 1 << 7;
pub(super) const SNOOP: u64 = 1 << 11;
const TRANSIENT: u64 = 1 << 62;

pub(super) fn follow(facts: &UnitFacts, place: Place, entry: u64) -> Step {
    let Place { level, rights, .. } = place;
    if entry & (READ | WRITE) == 0 {
        return Step::Ended(Walk::NotPresent { level });
    }
    let leaf = level == 1 || (entry & PAGE_SIZE != 0 && has_large_leaf(facts, level));
    if entry & reserved(facts, level, leaf) != 0 {
        return Step::Ended(Walk::Reserved { level, entry });
    }
    let own = Rights { read: entry & READ != 0, write: entry & WRITE != 0 };
    let (frame, rights) = (frame_of(entry), rights.and(own));
    if leaf {
        let soft = Soft::of(FormatKind::VtdSecondStage, entry);
        Step::Ended(Walk::Leaf { frame, level, rights, soft })
    } else {
        Step::Down(Place { table: frame, level: level - 1, rights })
    }
}

/// Bits that must be zero in a present entry.
fn reserved(facts: &UnitFacts, level: u8, leaf: bool) -> u64 {
    let mut bits = TRANSIENT | beyond_host(facts);
    if !leaf {
        // A page-size bit that is still there was not understood as a leaf at this level.
        bits |= SNOOP | PAGE_SIZE;
    } else {
        if !facts.features.contains(UnitFeatures::SNOOP_CONTROL) {
            bits |= SNOOP;
        }
        bits |= within_page(level);
    }
    bits
}
