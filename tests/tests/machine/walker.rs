//! The walker of the IOMMU model, against tables written by hand.

use pviommu_hypervisor::{
    addr::Mfn,
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
};
use pviommu_testbed::{
    iommu::{
        Soft,
        handmade::{HandMade, LARGE, RW},
        walker::{self, Place, Rights, Walk, walk},
    },
    machine::{memory::Memory, vtd_facts},
};

const READ: u64 = 1;
const WRITE: u64 = 2;
const FRAME: u64 = 0x1_2345 << 12;

fn memory() -> Memory {
    Memory::bare(Mfn(0x1000), 64)
}

fn from_root(memory: &Memory, facts: &UnitFacts, table: &HandMade<'_>, bfn: u64) -> Walk {
    let root = table.root();
    let top = Place { table: root.frame, level: root.levels, rights: Rights::ALL };
    walk(&memory.tables, facts, top, bfn, |_| ())
}

/// The walk of `bfn` when its entry at `level` is `entry`.
fn with_entry(facts: &UnitFacts, bfn: u64, level: u8, entry: u64) -> Walk {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    table.set(bfn, level, entry);
    from_root(&memory, facts, &table, bfn)
}

#[test]
fn each_level_takes_its_nine_bits() {
    for levels in [3, 4, 5] {
        let memory = memory();
        let table = HandMade::new(&memory, levels);
        // A different index at each level, so that a mix-up of two of them is seen.
        let bfn = [5, 77, 130, 311, 8].iter().take(levels.into()).fold(0, |b, i| b << 9 | i);
        table.map(bfn, 1, Mfn(42));
        let leaf =
            Walk::Leaf { frame: Mfn(42), level: 1, rights: Rights::ALL, soft: Soft::default() };
        assert_eq!(from_root(&memory, &vtd_facts(), &table, bfn), leaf);
        for level in 1..=levels {
            let neighbour = bfn ^ 1 << (9 * (u32::from(level) - 1));
            let walked = from_root(&memory, &vtd_facts(), &table, neighbour);
            assert_eq!(walked, Walk::NotPresent { level });
        }
    }
}

#[test]
fn large_leaves_end_the_walk_early() {
    for (level, first) in [(2, 0x200), (3, 0x40000)] {
        let leaf =
            Walk::Leaf { frame: Mfn(first), level, rights: Rights::ALL, soft: Soft::default() };
        assert_eq!(with_entry(&vtd_facts(), 0x7_ffff, level, first << 12 | LARGE | RW), leaf);
    }
}

#[test]
fn a_large_leaf_where_the_unit_has_none_is_reserved() {
    let mut facts = vtd_facts();
    facts.features.remove(UnitFeatures::LEAF_1G);
    let entry = 0x40000 << 12 | LARGE | RW;
    assert_eq!(with_entry(&facts, 0, 3, entry), Walk::Reserved { level: 3, entry });
    facts.features.remove(UnitFeatures::LEAF_2M);
    assert_eq!(with_entry(&facts, 0, 2, entry), Walk::Reserved { level: 2, entry });
    assert_eq!(with_entry(&vtd_facts(), 0, 4, entry), Walk::Reserved { level: 4, entry });
}

#[test]
fn low_address_bits_of_a_large_leaf_are_reserved() {
    for (level, bits) in [(2, 12..21), (3, 12..30)] {
        for bit in bits {
            let entry = 1 << bit | LARGE | RW;
            let walked = with_entry(&vtd_facts(), 0, level, entry);
            assert_eq!(walked, Walk::Reserved { level, entry }, "bit {bit}");
        }
    }
}

#[test]
fn each_bit_of_a_leaf_is_reserved_or_ignored_as_specified() {
    let mut plain = vtd_facts();
    plain.features.remove(UnitFeatures::SNOOP_CONTROL);
    for facts in [vtd_facts(), plain] {
        let snoop = facts.features.contains(UnitFeatures::SNOOP_CONTROL);
        for bit in (2..12).chain(46..64) {
            let entry = FRAME | RW | 1 << bit;
            let reserved = (46..52).contains(&bit) || bit == 62 || (bit == 11 && !snoop);
            let expected = if reserved {
                Walk::Reserved { level: 1, entry }
            } else {
                Walk::Leaf {
                    frame: Mfn(FRAME >> 12),
                    level: 1,
                    rights: Rights::ALL,
                    soft: Soft::of(FormatKind::VtdSecondStage, entry),
                }
            };
            assert_eq!(with_entry(&facts, 3, 1, entry), expected, "bit {bit}");
        }
    }
}

#[test]
fn each_bit_of_a_table_entry_is_reserved_or_ignored_as_specified() {
    for level in [2, 3, 4] {
        for bit in (2..12).filter(|bit| *bit != 7).chain(46..64) {
            let memory = memory();
            let table = HandMade::new(&memory, 4);
            let child = table.table(0, level - 1);
            let entry = child.0 << 12 | RW | 1 << bit;
            table.set(0, level, entry);
            let expected = if (46..52).contains(&bit) || bit == 62 || bit == 11 {
                Walk::Reserved { level, entry }
            } else {
                Walk::NotPresent { level: level - 1 }
            };
            let walked = from_root(&memory, &vtd_facts(), &table, 0);
            assert_eq!(walked, expected, "level {level} bit {bit}");
        }
    }
}

#[test]
fn what_permits_nothing_is_not_present_whatever_else_it_holds() {
    for level in 1..=4 {
        let walked = with_entry(&vtd_facts(), 0, level, !RW);
        assert_eq!(walked, Walk::NotPresent { level });
    }
}

#[test]
fn permissions_are_anded_down_the_levels() {
    for bits in 0..16_u64 {
        // Two bits for the upper level, two for the leaf.
        let (upper, leaf) = (bits >> 2, bits & 3);
        let memory = memory();
        let table = HandMade::new(&memory, 4);
        table.set(0, 1, FRAME | leaf);
        let child = table.table(0, 2);
        table.set(0, 3, child.0 << 12 | upper);
        let both = upper & leaf;
        let rights = Rights { read: both & READ != 0, write: both & WRITE != 0 };
        let expected = match (upper, leaf) {
            (0, _) => Walk::NotPresent { level: 3 },
            (_, 0) => Walk::NotPresent { level: 1 },
            _ => Walk::Leaf { frame: Mfn(FRAME >> 12), level: 1, rights, soft: Soft::default() },
        };
        assert_eq!(from_root(&memory, &vtd_facts(), &table, 0), expected);
    }
}

#[test]
fn width_is_the_smaller_of_the_table_s_and_the_unit_s() {
    let mut facts = vtd_facts();
    assert!(walker::in_width(&facts, 4, (1 << 36) - 1));
    assert!(!walker::in_width(&facts, 4, 1 << 36));
    assert!(!walker::in_width(&facts, 3, 1 << 27));
    facts.bus_address_bits = 39;
    assert!(walker::in_width(&facts, 4, (1 << 27) - 1));
    assert!(!walker::in_width(&facts, 4, 1 << 27));
}

#[test]
fn a_walk_through_memory_that_is_no_table_ends_there() {
    let walked = with_entry(&vtd_facts(), 0, 3, 0x999_9999 << 12 | RW);
    assert_eq!(walked, Walk::BadTable { frame: Mfn(0x999_9999) });
}
