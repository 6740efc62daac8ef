//! A format that no hardware has: what it does otherwise than the others is what nothing may rely on.
//!
//! | here | elsewhere |
//! |---|---|
//! | tables of 128 entries | 512 |
//! | an entry is present unless bit 63 is set; so a frame of zeroes is no empty table | a bit, or one of two |
//! | access is denied by bits that are set | permitted |
//! | every entry says its level, and means nothing at another | AMD: tables only |
//! | frames start at bit 11 | 12 |

use pviommu_hypervisor::{
    addr::Mfn,
    format::{Entry, Format, Leaf, LeafAttributes, LeafSoft, TableSoft},
    platform::Access,
};

pub(crate) struct Odd;

const TABLE: u64 = 1 << 0;
const NO_READ: u64 = 1 << 1;
const NO_WRITE: u64 = 1 << 2;
const SOFT_SHIFT: u32 = 3;
const SOFT: u64 = 0x7f << SOFT_SHIFT;
const SNOOP: u64 = 1 << 10;
const FRAME_SHIFT: u32 = 11;
const FRAME: u64 = ((1 << 36) - 1) << FRAME_SHIFT;
const LEVEL_SHIFT: u32 = 50;
const LEVEL: u64 = 7 << LEVEL_SHIFT;
const ABSENT: u64 = 1 << 63;

fn word(frame: Mfn, level: u8, soft: u8) -> u64 {
    let frame = (frame.0 << FRAME_SHIFT) & FRAME;
    let level = (u64::from(level) << LEVEL_SHIFT) & LEVEL;
    frame | level | u64::from(soft) << SOFT_SHIFT
}

impl Format for Odd {
    const INDEX_BITS: u32 = 7;
    const NEXT_FRAME: u64 = 1 << FRAME_SHIFT;
    const EMPTY: u64 = ABSENT;

    fn is_present(raw: u64) -> bool {
        raw & ABSENT == 0
    }

    fn decode(raw: u64, level: u8) -> Entry {
        let frame = Mfn((raw & FRAME) >> FRAME_SHIFT);
        if !Self::is_present(raw) || (raw & LEVEL) >> LEVEL_SHIFT != u64::from(level) {
            return Entry::Empty;
        }
        if level > 0 && raw & TABLE != 0 {
            return Entry::Table(frame);
        }
        let mut access = Access::READ | Access::WRITE;
        access.set(Access::READ, raw & NO_READ == 0);
        access.set(Access::WRITE, raw & NO_WRITE == 0);
        Entry::Leaf(Leaf { frame, access, soft: LeafSoft::from_bits(Self::soft(raw)) })
    }

    fn leaf(leaf: Leaf, level: u8, attributes: LeafAttributes) -> u64 {
        let mut raw = word(leaf.frame, level, leaf.soft.bits());
        raw |= if leaf.access.contains(Access::READ) { 0 } else { NO_READ };
        raw |= if leaf.access.contains(Access::WRITE) { 0 } else { NO_WRITE };
        raw | if attributes.contains(LeafAttributes::SNOOP) { SNOOP } else { 0 }
    }

    fn table(table: Mfn, level: u8, soft: TableSoft) -> u64 {
        word(table, level, soft.bits()) | TABLE
    }

    fn soft(raw: u64) -> u8 {
        ((raw & SOFT) >> SOFT_SHIFT) as u8
    }

    fn with_soft(raw: u64, soft: u8) -> u64 {
        raw & !SOFT | u64::from(soft) << SOFT_SHIFT
    }

    fn attributes(raw: u64) -> LeafAttributes {
        if raw & SNOOP != 0 { LeafAttributes::SNOOP } else { LeafAttributes::empty() }
    }
}
