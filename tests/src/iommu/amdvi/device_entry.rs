//! Entries of the device table, their lower 128 bits: section 2.2.2.1.
//!
//! | bits | |
//! |---|---|
//! | 0 | V: without it requests pass untranslated, whatever else is in the entry |
//! | 1 | TV: without it there is no translation, so what needs one is refused |
//! | 11:9 | mode: levels of the table; 0 for no table, 7 is reserved |
//! | 51:12 | root of the table |
//! | 61, 62 | IR, IW |
//! | 79:64 | domain id |
//! | 97, 98 | SE, SA: faults are not logged |
//!
//! Without a table, addresses pass as they are if IR or IW permit it. All other bits are
//! reserved, belong to features that these units do not have (guest translation, page requests,
//! device TLBs, host access bits), or take away what protects memory (exclusion range, snoop disable,
//! system management): each makes the entry illegal.

use pviommu_hypervisor::platform::{TableRoot, Tag};

use super::Words;
use crate::iommu::{
    DeviceEntry,
    walker::{Rights, frame_of},
};

const VALID: u64 = 1 << 0;
const TRANSLATION_VALID: u64 = 1 << 1;
const MODE_SHIFT: u32 = 9;
const MODE: u64 = 7 << MODE_SHIFT;
const ROOT: u64 = ((1 << 52) - 1) & !0xfff;
const READ: u64 = 1 << 61;
const WRITE: u64 = 1 << 62;
const DOMAIN: u64 = 0xffff;
const SUPPRESS_FAULTS: u64 = 3 << 33;

const KNOWN: Words =
    [VALID | TRANSLATION_VALID | MODE | ROOT | READ | WRITE, DOMAIN | SUPPRESS_FAULTS];

/// An entry that refuses everything: translation without a table, and no access.
pub const BLOCKED: Words = [VALID | TRANSLATION_VALID, 0];

/// What an entry says.
#[must_use]
pub const fn decode(words: Words) -> DeviceEntry {
    let [low, high] = words;
    if low & VALID == 0 {
        return DeviceEntry::Untranslated;
    }
    let levels = ((low & MODE) >> MODE_SHIFT) as u8;
    if low & !KNOWN[0] != 0 || high & !KNOWN[1] != 0 || levels == 7 {
        return DeviceEntry::Illegal(words);
    }
    let rights = Rights { read: low & READ != 0, write: low & WRITE != 0 };
    match (low & TRANSLATION_VALID != 0, levels) {
        (false, _) => DeviceEntry::Blocked,
        (true, 0) if rights.read || rights.write => DeviceEntry::Untranslated,
        (true, 0) => DeviceEntry::Blocked,
        (true, _) => {
            let root = TableRoot { frame: frame_of(low), levels };
            DeviceEntry::Translated { root, tag: Tag((high & DOMAIN) as u16), rights }
        }
    }
}

/// An entry for a table, to test units without the service.
#[must_use]
pub const fn encode(root: TableRoot, tag: Tag, rights: Rights) -> Words {
    let mode = (root.levels as u64) << MODE_SHIFT;
    let read = if rights.read { READ } else { 0 };
    let write = if rights.write { WRITE } else { 0 };
    [VALID | TRANSLATION_VALID | mode | root.frame.0 << 12 | read | write, tag.0 as u64]
}
