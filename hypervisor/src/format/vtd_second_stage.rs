//! VT-d second-stage paging entries.
//!
//! Source: Intel Virtualization Technology for Directed I/O, Architecture Specification,
//! Revision 4.1, sections 3.7 (second-stage translation) and 9.8 (second-stage paging entries).
//! Its SS-PTE is our level 0, SS-PDE level 1, SS-PDPE level 2, SS-PML4E level 3, SS-PML5E level 4.
//!
//! ```text
//!  63  62  61     52 51                    12 11   10  9   8   7  6        2  1   0
//! ┌───┬───┬─────────┬────────────────────────┬────┬───┬───┬───┬───┬──────────┬───┬───┐
//! │ - │TM │ ignored │ frame                  │SNP │ - │ D │ A │PS │ EMT, X.. │ W │ R │
//! └───┴───┴─────────┴────────────────────────┴────┴───┴───┴───┴───┴──────────┴───┴───┘
//!               └ our seven soft bits: 58:52
//! ```
//!
//! An entry with neither R nor W is not present, and everything else in it is ignored.

use super::{Entry, Format, Leaf, LeafAttributes, LeafSoft, SOFT_BITS, TableSoft};
use crate::{addr::Mfn, platform::Access};

/// The second-stage format of VT-d.
#[derive(Clone, Copy, Debug)]
pub struct VtdSecondStage;

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
/// PS: the entry is a leaf above level 0.
const PAGE_SIZE: u64 = 1 << 7;
/// SNP: reserved in table entries, and in leaves of units without snoop control.
const SNOOP: u64 = 1 << 11;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const FRAME_SHIFT: u32 = 12;
const SOFT_SHIFT: u32 = 52;
const SOFT: u64 = ((1 << SOFT_BITS) - 1) << SOFT_SHIFT;

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
    (u64::from(soft) << SOFT_SHIFT) & SOFT
}

#[inline]
fn access(raw: u64) -> Access {
    // R and W stand where `Access` has them.
    Access::from_bits_truncate(u8::try_from(raw & (READ | WRITE)).unwrap_or(0))
}

impl Format for VtdSecondStage {
    const INDEX_BITS: u32 = 9;
    const NEXT_FRAME: u64 = 1 << FRAME_SHIFT;
    const EMPTY: u64 = 0;

    #[inline]
    fn is_present(raw: u64) -> bool {
        raw & (READ | WRITE) != 0
    }

    #[inline]
    fn decode(raw: u64, level: u8) -> Entry {
        if !Self::is_present(raw) {
            return Entry::Empty;
        }
        if level == 0 || raw & PAGE_SIZE != 0 {
            let soft = LeafSoft::from_bits(Self::soft(raw));
            return Entry::Leaf(Leaf { frame: frame(raw), access: access(raw), soft });
        }
        Entry::Table(frame(raw))
    }

    #[inline]
    fn table_below(raw: u64, _: u8) -> Option<Mfn> {
        (raw & (PAGE_SIZE | READ | WRITE) == READ | WRITE).then(|| frame(raw))
    }

    #[inline]
    fn leaf(leaf: Leaf, level: u8, attributes: LeafAttributes) -> u64 {
        let mut raw = frame_bits(leaf.frame) | soft_bits(leaf.soft.bits());
        if leaf.access.contains(Access::READ) {
            raw |= READ;
        }
        if leaf.access.contains(Access::WRITE) {
            raw |= WRITE;
        }
        if level > 0 {
            raw |= PAGE_SIZE;
        }
        if attributes.contains(LeafAttributes::SNOOP) {
            raw |= SNOOP;
        }
        raw
    }

    #[inline]
    fn table(table: Mfn, _: u8, soft: TableSoft) -> u64 {
        // Access is ANDed down the levels; only leaves restrict it.
        frame_bits(table) | soft_bits(soft.bits()) | READ | WRITE
    }

    #[inline]
    fn soft(raw: u64) -> u8 {
        // The mask leaves seven bits.
        u8::try_from((raw & SOFT) >> SOFT_SHIFT).unwrap_or(0)
    }

    #[inline]
    fn with_soft(raw: u64, soft: u8) -> u64 {
        (raw & !SOFT) | soft_bits(soft)
    }

    #[inline]
    fn attributes(raw: u64) -> LeafAttributes {
        if raw & SNOOP != 0 { LeafAttributes::SNOOP } else { LeafAttributes::empty() }
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

    /// Golden words, put together by hand from section 9.8.
    #[test]
    fn leaves_are_encoded_as_the_specification_says() {
        let rw = Access::READ | Access::WRITE;
        let cases = [
            (leaf(0x1234, Access::READ), 0, LeafAttributes::empty(), 0x0060_0000_0123_4001),
            (leaf(0x1234, Access::WRITE), 0, LeafAttributes::empty(), 0x0060_0000_0123_4002),
            (leaf(0x1200, rw), 1, LeafAttributes::empty(), 0x0060_0000_0120_0083),
            (leaf(0x4_0000, rw), 2, LeafAttributes::SNOOP, 0x0060_0000_4000_0883),
        ];
        for (leaf, level, attributes, raw) in cases {
            assert_eq!(VtdSecondStage::leaf(leaf, level, attributes), raw);
            assert_eq!(VtdSecondStage::decode(raw, level), Entry::Leaf(leaf));
            assert_eq!(VtdSecondStage::attributes(raw), attributes);
        }
    }

    #[test]
    fn a_table_entry_allows_everything_and_sets_no_reserved_bit() {
        let raw = VtdSecondStage::table(Mfn(0xabcd), 1, TableSoft::occupied_at(511).lock());
        assert_eq!(raw, 0x07f0_0000_0abc_d003);
        assert_eq!(VtdSecondStage::decode(raw, 1), Entry::Table(Mfn(0xabcd)));
        assert_eq!(VtdSecondStage::soft(raw), 0x7f);
    }

    #[test]
    fn an_entry_without_access_is_not_present_whatever_else_it_says() {
        assert_eq!(VtdSecondStage::decode(!(READ | WRITE), 0), Entry::Empty);
        assert_eq!(VtdSecondStage::decode(VtdSecondStage::EMPTY, 3), Entry::Empty);
    }
}
