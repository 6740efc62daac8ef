//! AMD v1 ("host") page-table entries.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, Revision
//! 3.08, section 2.2.3 (I/O page tables for host translations). Its levels are one higher than
//! ours: its level 1 entries are our level 0.
//!
//! ```text
//!  63  62   61   60   59  58    52 51            12 11       9 8   7  6   5  4      1  0
//! ┌───┬────┬────┬────┬───┬────────┬────────────────┬──────────┬─────┬───┬───┬────────┬────┐
//! │ - │ IW │ IR │ FC │ U │   0    │ frame          │next level│  -  │ D │ A │   -    │ PR │
//! └───┴────┴────┴────┴───┴────────┴────────────────┴──────────┴─────┴───┴───┴────────┴────┘
//!   └ 6                                                       5, 4 ┘           └ 3..0: our seven soft bits
//! ```
//!
//! *Next level* is 0 in a leaf of whatever size, and else the level, counted as AMD does, of the
//! table it points to: a table entry therefore says itself at which level it stands. 7, a leaf of a size that
//! its address encodes, is not used: such leaves are many copies of one entry, which could not be changed
//! in one store. FC and U are reserved in table entries.
//!
//! PR = 0 means not present, and the whole word is zero then: there are units that translate by an
//! entry without PR whose other bits were left.

use super::{Entry, Format, Leaf, LeafAttributes, LeafSoft, TableSoft};
use crate::{addr::Mfn, platform::Access};

/// The v1 format of AMD-Vi.
#[derive(Clone, Copy, Debug)]
pub struct AmdV1;

/// PR: the entry is present.
const PRESENT: u64 = 1 << 0;
const NEXT_LEVEL_SHIFT: u32 = 9;
const NEXT_LEVEL: u64 = 7 << NEXT_LEVEL_SHIFT;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const FRAME_SHIFT: u32 = 12;
/// FC: requests are coherent, whatever they ask for.
const FORCE_COHERENT: u64 = 1 << 60;
/// IR and IW: ANDed down the levels, so a table entry has both.
const READ_SHIFT: u32 = 61;
const READ: u64 = 1 << READ_SHIFT;
const WRITE: u64 = 1 << 62;

/// Where the soft bits are: each a mask of the record, and how far it is shifted.
const SOFT_FIELDS: [(u64, u32); 3] = [(0x0f, 1), (0x30, 3), (0x40, 57)];
const SOFT: u64 = 0x8000_0000_0000_019e;

#[inline]
fn frame(raw: u64) -> Mfn {
    Mfn((raw & FRAME) >> FRAME_SHIFT)
}

#[inline]
fn frame_bits(frame: Mfn) -> u64 {
    (frame.0 << FRAME_SHIFT) & FRAME
}

#[inline]
fn soft_bits(soft: u8) -> u64 {
    let soft = u64::from(soft);
    SOFT_FIELDS.iter().fold(0, |bits, (mask, shift)| bits | (soft & mask) << shift)
}

#[inline]
fn access(raw: u64) -> Access {
    // IR and IW stand side by side, and in the order of `Access`.
    Access::from_bits_truncate(u8::try_from((raw >> READ_SHIFT) & 3).unwrap_or(0))
}

impl Format for AmdV1 {
    const INDEX_BITS: u32 = 9;
    const NEXT_FRAME: u64 = 1 << FRAME_SHIFT;
    const EMPTY: u64 = 0;

    #[inline]
    fn is_present(raw: u64) -> bool {
        raw & PRESENT != 0
    }

    #[inline]
    fn decode(raw: u64, level: u8) -> Entry {
        if !Self::is_present(raw) {
            return Entry::Empty;
        }
        match (raw & NEXT_LEVEL) >> NEXT_LEVEL_SHIFT {
            0 => {
                let soft = LeafSoft::from_bits(Self::soft(raw));
                Entry::Leaf(Leaf { frame: frame(raw), access: access(raw), soft })
            }
            next if next == u64::from(level) => Entry::Table(frame(raw)),
            // Of a size of its own, or levels are skipped: nothing that is written here.
            _ => Entry::Empty,
        }
    }

    #[inline]
    fn table_below(raw: u64, level: u8) -> Option<Mfn> {
        let next = u64::from(level) << NEXT_LEVEL_SHIFT;
        (raw & (PRESENT | NEXT_LEVEL) == PRESENT | next).then(|| frame(raw))
    }

    #[inline]
    fn leaf(leaf: Leaf, _: u8, attributes: LeafAttributes) -> u64 {
        let mut raw = PRESENT | frame_bits(leaf.frame) | soft_bits(leaf.soft.bits());
        if leaf.access.contains(Access::READ) {
            raw |= READ;
        }
        if leaf.access.contains(Access::WRITE) {
            raw |= WRITE;
        }
        if attributes.contains(LeafAttributes::SNOOP) {
            raw |= FORCE_COHERENT;
        }
        raw
    }

    #[inline]
    fn table(table: Mfn, level: u8, soft: TableSoft) -> u64 {
        // The table below is of AMD's level `level`.
        let next = (u64::from(level) << NEXT_LEVEL_SHIFT) & NEXT_LEVEL;
        PRESENT | next | frame_bits(table) | soft_bits(soft.bits()) | READ | WRITE
    }

    #[inline]
    fn soft(raw: u64) -> u8 {
        let bits = SOFT_FIELDS.iter().fold(0, |soft, (mask, shift)| soft | ((raw >> shift) & mask));
        // The masks leave seven bits.
        u8::try_from(bits).unwrap_or(0)
    }

    #[inline]
    fn with_soft(raw: u64, soft: u8) -> u64 {
        (raw & !SOFT) | soft_bits(soft)
    }

    #[inline]
    fn attributes(raw: u64) -> LeafAttributes {
        if raw & FORCE_COHERENT != 0 { LeafAttributes::SNOOP } else { LeafAttributes::empty() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    fn leaf(frame: u64, access: Access) -> Leaf {
        let soft = LeafSoft::new(Origin::Guest).with_reference();
        Leaf { frame: Mfn(frame), access, soft }
    }

    /// Golden words, put together by hand from section 2.2.3.
    #[test]
    fn leaves_are_encoded_as_the_specification_says() {
        let rw = Access::READ | Access::WRITE;
        let cases = [
            (leaf(0x1234, Access::READ), 0, LeafAttributes::empty(), 0x2000_0000_0123_400d),
            (leaf(0x1234, Access::WRITE), 0, LeafAttributes::empty(), 0x4000_0000_0123_400d),
            (leaf(0x1200, rw), 1, LeafAttributes::empty(), 0x6000_0000_0120_000d),
            (leaf(0x4_0000, rw), 2, LeafAttributes::SNOOP, 0x7000_0000_4000_000d),
        ];
        for (leaf, level, attributes, raw) in cases {
            assert_eq!(AmdV1::leaf(leaf, level, attributes), raw);
            assert_eq!(AmdV1::decode(raw, level), Entry::Leaf(leaf));
            assert_eq!(AmdV1::attributes(raw), attributes);
        }
    }

    #[test]
    fn a_table_entry_names_the_level_below_and_allows_everything() {
        let all = TableSoft::occupied_at(511).lock();
        let cases =
            [(1, 0xe000_0000_0abc_d39f), (2, 0xe000_0000_0abc_d59f), (4, 0xe000_0000_0abc_d99f)];
        for (level, raw) in cases {
            assert_eq!(AmdV1::table(Mfn(0xabcd), level, all), raw);
            assert_eq!(AmdV1::decode(raw, level), Entry::Table(Mfn(0xabcd)));
            assert_eq!(AmdV1::soft(raw), 0x7f);
        }
    }

    #[test]
    fn an_entry_that_skips_levels_or_has_a_size_of_its_own_is_none_of_ours() {
        for (next, level) in [(1, 2), (3, 2), (7, 0), (7, 4), (1, 0)] {
            let raw = PRESENT | next << NEXT_LEVEL_SHIFT | READ;
            assert_eq!(AmdV1::decode(raw, level), Entry::Empty);
            assert!(AmdV1::is_present(raw), "a unit goes on with it all the same");
        }
    }

    #[test]
    fn an_entry_without_pr_is_not_present_whatever_else_it_says() {
        assert_eq!(AmdV1::decode(!PRESENT, 0), Entry::Empty);
        assert_eq!(AmdV1::EMPTY, 0, "and nothing is left in it");
    }
}
