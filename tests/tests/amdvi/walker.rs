//! The walker, against entries put together by hand from section 2.2.3 of AMD's specification.

use pviommu_hypervisor::{
    addr::Mfn,
    format::FormatKind,
    platform::{UnitFacts, UnitFeatures},
};
use pviommu_testbed::{
    iommu::{
        Soft,
        handmade::{HandMade, IR_IW, PRESENT},
        walker::{self, Place, Rights, Walk, walk},
    },
    machine::{amd_facts, memory::Memory, poor_amd_facts, tables::POISON},
};

use crate::kit::memory;

const IR: u64 = 1 << 61;
const IW: u64 = 1 << 62;
/// A leaf of 4 KiB, readable and writable.
const LEAF: u64 = 0x1_2345 << 12 | PRESENT | IR_IW;
const RIGHTS: [Rights; 4] = [
    Rights { read: false, write: false },
    Rights { read: true, write: false },
    Rights { read: false, write: true },
    Rights::ALL,
];

fn new(memory: &Memory, levels: u8) -> HandMade<'_> {
    HandMade::of(FormatKind::AmdV1, memory, levels)
}

/// The walk of `bfn` from the root, where the device-table entry permits `rights`.
fn walk_with(
    facts: &UnitFacts,
    memory: &Memory,
    table: &HandMade<'_>,
    bfn: u64,
    rights: Rights,
) -> Walk {
    let root = table.root();
    let top = Place { table: root.frame, level: root.levels, rights };
    walk(&memory.tables, facts, top, bfn, |_| ())
}

/// The walk of `bfn` when its entry at `level` of a table of 5 levels is `entry`.
fn with_entry(facts: &UnitFacts, bfn: u64, level: u8, entry: u64) -> Walk {
    let memory = memory();
    let table = new(&memory, 5);
    table.set(bfn, level, entry);
    walk_with(facts, &memory, &table, bfn, Rights::ALL)
}

fn leaf(entry: u64, level: u8, rights: Rights) -> Walk {
    let soft = Soft::of(FormatKind::AmdV1, entry);
    Walk::Leaf { frame: walker::frame_of(entry), level, rights, soft }
}

#[test]
fn each_level_takes_its_nine_bits() {
    for levels in [3, 4, 5] {
        let memory = memory();
        let table = new(&memory, levels);
        // A different index at each level, so that a mix-up of two of them is seen.
        let bfn = [5, 77, 130, 311, 8].iter().take(levels.into()).fold(0, |b, i| b << 9 | i);
        table.map(bfn, 1, Mfn(42));
        let found = walk_with(&amd_facts(), &memory, &table, bfn, Rights::ALL);
        assert_eq!(found, leaf(42 << 12, 1, Rights::ALL));
        for level in 1..=levels {
            let neighbour = bfn ^ 1 << (9 * (u32::from(level) - 1));
            let found = walk_with(&amd_facts(), &memory, &table, neighbour, Rights::ALL);
            assert_eq!(found, Walk::NotPresent { level });
        }
    }
}

#[test]
fn next_level_0_ends_the_walk_at_levels_1_to_3_and_nowhere_else() {
    for level in 1..=5_u8 {
        // Aligned for every size.
        let entry = 1 << 48 >> 2 | PRESENT | IR_IW;
        let expected = match level {
            1..=3 => leaf(entry, level, Rights::ALL),
            // 512 GiB: units have a bug with them.
            _ => Walk::Reserved { level, entry },
        };
        assert_eq!(with_entry(&amd_facts(), 0x7_ffff, level, entry), expected);
    }
}

#[test]
fn a_large_leaf_where_the_unit_has_none_is_reserved() {
    for (level, feature) in [(2, UnitFeatures::LEAF_2M), (3, UnitFeatures::LEAF_1G)] {
        let mut facts = amd_facts();
        facts.features.remove(feature);
        let entry = 0x40000 << 12 | PRESENT | IR_IW;
        assert_eq!(with_entry(&facts, 0, level, entry), Walk::Reserved { level, entry });
    }
}

/// Levels may be skipped, by the specification; nobody who writes these tables does.
#[test]
fn the_next_level_is_the_one_below() {
    for level in 1..=5_u8 {
        for next in 1..=7_u8 {
            let memory = memory();
            let table = new(&memory, 5);
            let child = new(&memory, 1).root().frame;
            let entry = child.0 << 12 | u64::from(next) << 9 | PRESENT | IR_IW;
            table.set(0, level, entry);
            let expected = match next {
                next if next == level - 1 => Walk::NotPresent { level: next },
                _ => Walk::Reserved { level, entry },
            };
            let found = walk_with(&amd_facts(), &memory, &table, 0, Rights::ALL);
            assert_eq!(found, expected, "level {level}, next level {next}");
        }
    }
}

#[test]
fn each_bit_of_a_leaf_is_reserved_or_ignored_as_specified() {
    for snoop_control in [true, false] {
        let mut facts = UnitFacts { host_address_bits: 46, ..amd_facts() };
        facts.features.set(UnitFeatures::SNOOP_CONTROL, snoop_control);
        for bit in (1..9).chain(46..61).chain([63]) {
            let entry = LEAF | 1 << bit;
            let fc = bit == 60 && !snoop_control;
            let expected = match bit {
                // Above the host address width, or reserved.
                46..=58 => Walk::Reserved { level: 1, entry },
                _ if fc => Walk::Reserved { level: 1, entry },
                _ => leaf(entry, 1, Rights::ALL),
            };
            assert_eq!(with_entry(&facts, 3, 1, entry), expected, "bit {bit}");
        }
    }
}

#[test]
fn each_bit_of_a_table_entry_is_reserved_or_ignored_as_specified() {
    let facts = UnitFacts { host_address_bits: 46, ..amd_facts() };
    for level in [2, 3, 4, 5] {
        for bit in (1..9).chain(46..61).chain([63]) {
            let memory = memory();
            let table = new(&memory, 5);
            let child = table.table(0, level - 1);
            let entry = table.link(level, child, Rights::ALL) | 1 << bit;
            table.set(0, level, entry);
            let expected = if (46..61).contains(&bit) {
                // U and FC among them.
                Walk::Reserved { level, entry }
            } else {
                Walk::NotPresent { level: level - 1 }
            };
            let found = walk_with(&facts, &memory, &table, 0, Rights::ALL);
            assert_eq!(found, expected, "level {level} bit {bit}");
        }
    }
}

#[test]
fn low_address_bits_of_a_large_leaf_are_reserved() {
    for (level, bits) in [(2, 12..21), (3, 12..30)] {
        for bit in bits {
            let entry = 1 << bit | PRESENT | IR_IW;
            let found = with_entry(&amd_facts(), 0, level, entry);
            assert_eq!(found, Walk::Reserved { level, entry }, "bit {bit}");
        }
    }
}

#[test]
fn the_host_address_width_is_the_unit_s() {
    for (mut facts, first) in [(amd_facts(), 48), (poor_amd_facts(), 42)] {
        // What is written here is not published.
        facts.features |= UnitFeatures::COHERENT;
        let within = 1 << (first - 1) | PRESENT | IR_IW;
        assert_eq!(with_entry(&facts, 0, 1, within), leaf(within, 1, Rights::ALL));
        for bit in first..52 {
            let entry = 1 << bit | PRESENT | IR_IW;
            assert_eq!(with_entry(&facts, 0, 1, entry), Walk::Reserved { level: 1, entry });
        }
    }
}

#[test]
fn access_is_anded_from_the_device_table_entry_to_the_leaf() {
    let word = |rights: Rights| {
        let (read, write) = (u64::from(rights.read), u64::from(rights.write));
        read << 61 | write << 62
    };
    for top in RIGHTS {
        for upper in RIGHTS {
            for own in RIGHTS {
                let memory = memory();
                let table = new(&memory, 4);
                let entry = LEAF & !IR_IW | word(own);
                table.set(0, 1, entry);
                let child = table.table(0, 2);
                table.set(0, 3, child.0 << 12 | 2 << 9 | PRESENT | word(upper));
                let rights = Rights {
                    read: top.read && upper.read && own.read,
                    write: top.write && upper.write && own.write,
                };
                // An entry that permits nothing is present all the same.
                let found = walk_with(&amd_facts(), &memory, &table, 0, top);
                assert_eq!(found, leaf(entry, 1, rights), "{top:?} {upper:?} {own:?}");
            }
        }
    }
    assert_eq!(IR | IW, IR_IW);
}

#[test]
fn an_entry_without_pr_is_empty_or_a_leftover() {
    for level in 1..=5 {
        assert_eq!(with_entry(&amd_facts(), 0, level, 0), Walk::NotPresent { level });
        for bit in 1..64 {
            let entry = 1 << bit;
            let found = with_entry(&amd_facts(), 0, level, entry);
            assert_eq!(found, Walk::LeftBehind { level, entry }, "bit {bit}");
        }
    }
}

#[test]
fn poison_is_reserved_at_every_level() {
    for level in 1..=5 {
        let found = with_entry(&amd_facts(), 0, level, POISON);
        assert_eq!(found, Walk::Reserved { level, entry: POISON });
    }
}

#[test]
fn width_is_the_smaller_of_the_table_s_and_the_unit_s() {
    let (usual, poor) = (amd_facts(), poor_amd_facts());
    assert!(walker::in_width(&usual, 4, (1 << 36) - 1));
    assert!(!walker::in_width(&usual, 4, 1 << 36) && !walker::in_width(&usual, 5, 1 << 36));
    assert!(!walker::in_width(&usual, 3, 1 << 27));
    assert!(walker::in_width(&poor, 4, (1 << 28) - 1));
    assert!(!walker::in_width(&poor, 4, 1 << 28));
}

#[test]
fn a_walk_through_memory_that_is_no_table_ends_there() {
    let entry = 0x999_9999 << 12 | 2 << 9 | PRESENT | IR_IW;
    let found = with_entry(&amd_facts(), 0, 3, entry);
    assert_eq!(found, Walk::BadTable { frame: Mfn(0x999_9999) });
}
