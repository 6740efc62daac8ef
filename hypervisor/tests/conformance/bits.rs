//! Words: encoding and decoding agree.

use proptest::{prelude::any, prop_assert, prop_assert_eq, test_runner::TestRunner};
use pviommu_hypervisor::{
    addr::Mfn,
    format::{Entry, Format, Leaf, LeafAttributes, LeafSoft, SOFT_BITS, TableSoft, pages_at},
    platform::Access,
};

/// Levels of entries that point to tables.
const TABLE_LEVELS: std::ops::RangeInclusive<u8> = 1..=4;
const SOFT_VALUES: std::ops::Range<u8> = 0..1 << SOFT_BITS;

fn accesses() -> [Access; 3] {
    [Access::READ, Access::WRITE, Access::READ | Access::WRITE]
}

fn all_attributes() -> [LeafAttributes; 2] {
    [LeafAttributes::empty(), LeafAttributes::SNOOP]
}

/// The frames of pages of `size` frames at the ends of the address width, and with each bit alone.
fn frames(bits: u32, size: u64) -> impl Iterator<Item = Mfn> {
    let ends = [0, (1 << bits) - size];
    let alone = (0..bits).map(|bit| 1 << bit).filter(move |frame| frame % size == 0);
    ends.into_iter().chain(alone).map(Mfn)
}

pub(crate) fn leaves_are_read_as_they_were_written<F: Format>(frame_bits: u32, highest: u8) {
    for level in 0..=highest {
        for frame in frames(frame_bits, pages_at::<F>(level)) {
            for access in accesses() {
                for attributes in all_attributes() {
                    for soft in SOFT_VALUES.map(LeafSoft::from_bits) {
                        let leaf = Leaf { frame, access, soft };
                        let raw = F::leaf(leaf, level, attributes);
                        assert!(F::is_present(raw), "{leaf:?} of level {level}");
                        assert_eq!(F::decode(raw, level), Entry::Leaf(leaf));
                        assert_eq!(F::attributes(raw), attributes);
                        assert_eq!(F::soft(raw), soft.bits());
                    }
                }
            }
        }
    }
}

pub(crate) fn table_entries_are_read_as_they_were_written<F: Format>(frame_bits: u32) {
    for level in TABLE_LEVELS {
        for frame in frames(frame_bits, 1) {
            for soft in SOFT_VALUES {
                let raw = F::table(frame, level, TableSoft::from_bits(soft));
                assert!(F::is_present(raw));
                assert_eq!(F::decode(raw, level), Entry::Table(frame), "level {level}");
                assert_eq!(F::table_below(raw, level), Some(frame), "level {level}");
                assert_eq!(F::soft(raw), soft);
            }
        }
    }
}

/// A leaf and a table entry of each level.
fn samples<F: Format>() -> impl Iterator<Item = (u8, u64)> {
    let leaf = Leaf { frame: Mfn(0), access: Access::READ, soft: LeafSoft::from_bits(0) };
    let leaves = (0..=2).map(move |level| (level, F::leaf(leaf, level, LeafAttributes::SNOOP)));
    let tables = TABLE_LEVELS.map(|level| (level, F::table(Mfn(5), level, TableSoft::EMPTY)));
    leaves.chain(tables)
}

/// And there are seven of them, told apart, of which hardware takes no notice.
pub(crate) fn soft_bits_change_nothing_else<F: Format>() {
    for (level, raw) in samples::<F>() {
        let all = raw ^ F::with_soft(raw, 0x7f);
        assert_eq!(all.count_ones(), SOFT_BITS, "level {level}");
        for soft in SOFT_VALUES {
            let noted = F::with_soft(raw, soft);
            assert_eq!(F::soft(noted), soft);
            assert_eq!((noted ^ raw) & !all, 0, "bits outside are left alone");
            assert_eq!(F::with_soft(noted, 0), raw);
            match (F::decode(raw, level), F::decode(noted, level)) {
                (Entry::Leaf(plain), Entry::Leaf(leaf)) => {
                    let soft = LeafSoft::from_bits(soft);
                    assert_eq!(leaf, Leaf { soft, ..plain });
                }
                (plain, noted) => assert_eq!(plain, noted),
            }
        }
    }
}

pub(crate) fn the_next_leaf_of_a_run_maps_the_next_frame<F: Format>(frame_bits: u32) {
    let leaf =
        |frame| Leaf { frame: Mfn(frame), access: Access::READ, soft: LeafSoft::from_bits(0x3f) };
    let word = |frame| F::leaf(leaf(frame), 0, LeafAttributes::SNOOP);
    for frame in (0..frame_bits).map(|bit| (1u64 << bit) - 1) {
        assert_eq!(word(frame).wrapping_add(F::NEXT_FRAME), word(frame + 1), "after {frame:#x}");
    }
}

pub(crate) fn an_empty_entry_is_like_no_other<F: Format>() {
    assert!(!F::is_present(F::EMPTY));
    for level in 0..=4 {
        assert_eq!(F::decode(F::EMPTY, level), Entry::Empty);
    }
    for (level, raw) in samples::<F>() {
        assert_ne!(raw, F::EMPTY, "level {level}");
    }
}

/// INV-51: and what is read is what would be written.
pub(crate) fn any_word_can_be_read<F: Format>() {
    let mut runner = TestRunner::new(proptest::test_runner::Config::with_cases(4096));
    let checked = runner.run(&(any::<u64>(), any::<u8>()), |(raw, level)| {
        prop_assert!(F::soft(raw) < 1 << SOFT_BITS);
        prop_assert_eq!(F::soft(F::with_soft(raw, 0x55)), 0x55);
        let attributes = F::attributes(raw);
        let entry = F::decode(raw, level);
        prop_assert!(F::is_present(raw) || entry == Entry::Empty);
        for level in TABLE_LEVELS {
            let below = F::table_below(raw, level);
            prop_assert!(below.is_none_or(|table| F::decode(raw, level) == Entry::Table(table)));
        }
        let again = match entry {
            Entry::Empty => F::EMPTY,
            Entry::Leaf(leaf) if leaf.access.is_empty() => return Ok(()),
            Entry::Leaf(leaf) => F::leaf(leaf, level, attributes),
            // No table is deeper than five levels.
            Entry::Table(_) if level > 4 => return Ok(()),
            Entry::Table(table) => F::table(table, level, TableSoft::from_bits(F::soft(raw))),
        };
        prop_assert_eq!(F::decode(again, level), entry);
        Ok(())
    });
    checked.unwrap();
}
