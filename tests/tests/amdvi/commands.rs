//! Commands: what the unit reads out of the words, and what it forgets.

use proptest::prelude::*;
use pviommu_abi::{Bfn, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    platform::{Invalidation, Tag},
    unit::amdvi::command as service,
};
use pviommu_testbed::{
    iommu::{
        UnitModel,
        amdvi::command::{Command, Illegal, decode},
    },
    machine::{UnitKind, Violation, amd_facts, vtd_facts},
};

use crate::kit::{RAM, TAG, UNIT, attached, bfns, memory, table, violations, write};

const PAGES: u64 = 3 << 60 | 7 << 32;
const ALL: u64 = 0x7fff_ffff_ffff_f000;

/// The block that the words of an invalidation name.
fn block(high: u64) -> Result<(u64, u64), Illegal> {
    match decode([PAGES, high])? {
        Command::ForgetPages { tag: Tag(7), first, last, .. } => Ok((first, last)),
        _ => Err(Illegal),
    }
}

/// Put together by hand from section 2.4.3.
#[test]
fn the_zero_that_ends_the_ones_tells_the_size() {
    let cases = [
        (0x0123_4000, (0x1234, 0x1234)),
        (0x0123_4001, (0x1234, 0x1235)),
        (0x0123_5001, (0x1234, 0x1237)),
        (0x0123_7001, (0x1230, 0x123f)),
        (0x012f_f001, (0x1200, 0x13ff)),
        // Without S it is one page, whatever its last bits are.
        (0x012f_f000, (0x12ff, 0x12ff)),
        (0x0003_ffff_ffff_f001, (0, (1 << 39) - 1)),
        (ALL | 1, (0, u64::MAX)),
    ];
    for (high, pages) in cases {
        assert_eq!(block(high), Ok(pages), "{high:x}");
    }
}

#[test]
fn addresses_whose_upper_bits_do_not_repeat_bit_51_are_none() {
    for high in [1 << 52, 1 << 63, 1 << 51, 0x0010_0000_0000_0001, ALL, !0xffe] {
        assert_eq!(block(high), Err(Illegal), "{high:x}");
    }
    assert_eq!(block(0xfff8_0000_0000_0000), Ok((1 << 39, 1 << 39)));
}

#[test]
fn an_operation_that_is_not_known_and_a_reserved_bit_are_illegal() {
    let everything = service::invalidate(TAG, Invalidation::Everything);
    let device = service::forget_device(PciDevice::new(0, 0x12, 6, 4));
    assert_eq!(decode(device), Ok(Command::ForgetDevice { id: 0x1234 }));
    for opcode in 0..16 {
        let known = [2, 3].contains(&opcode);
        assert_eq!(decode([opcode << 60, 0]).is_ok(), known, "opcode {opcode}");
    }
    for bit in 0..60 {
        let [low, high] = everything;
        assert_eq!(decode([low ^ 1 << bit, high]).is_ok(), (32..48).contains(&bit), "bit {bit}");
        let [low, high] = device;
        assert_eq!(decode([low ^ 1 << bit, high]).is_ok(), bit < 16, "bit {bit}");
    }
    for bit in 0..64 {
        let [low, high] = service::invalidate(TAG, Invalidation::Leaves(bfns(0x1234, 1)));
        // S, PDE, and the address itself.
        let known = bit < 2 || (12..51).contains(&bit);
        assert_eq!(decode([low, high ^ 1 << bit]).is_ok(), known, "bit {}", bit + 64);
        let [low, high] = device;
        assert_eq!(decode([low, high ^ 1 << bit]), Err(Illegal), "bit {}", bit + 64);
    }
}

/// An oracle: seen to fire.
#[test]
fn an_illegal_command_is_seen_and_does_nothing() {
    let memory = memory();
    let table = table(UnitKind::AmdVi, &memory);
    table.map(7, 1, Mfn(RAM));
    let unit = attached(amd_facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    let [low, high] = service::invalidate(TAG, Invalidation::Everything);
    // GN: of guest translations, which the unit does not have.
    for command in [[low, high | 4], [low & !(3 << 60), high], [1 << 60, 0]] {
        let before = violations(&memory).len();
        unit.execute(&memory, command);
        let seen = Violation::IllegalCommand { unit: UNIT, command };
        assert_eq!(violations(&memory)[before..], [seen]);
        assert_eq!(unit.cached(TAG), (1, 3));
    }
    let other = UnitModel::new(UNIT, vtd_facts());
    let before = violations(&memory).len();
    other.execute(&memory, [low, high]);
    assert_eq!(violations(&memory).len(), before + 1, "and all of them are to other units");
}

#[test]
fn exactly_what_a_command_names_is_forgotten() {
    let memory = memory();
    let table = table(UnitKind::AmdVi, &memory);
    (0..16).for_each(|bfn| table.map(bfn, 1, Mfn(RAM + bfn)));
    let unit = attached(amd_facts(), &memory, &table);
    let fill = || (0..16).for_each(|bfn| assert_eq!(write(&unit, &memory, bfn), Ok(RAM + bfn)));
    let leaves = |first, pages| Invalidation::Leaves(bfns(first, pages));
    let tables = |first, pages| Invalidation::Tables(bfns(first, pages));
    fill();
    // Another domain id; a page; a block that is larger than what was asked for; the way, too; all.
    let cases = [
        (Tag(4), Invalidation::Everything, (16, 3)),
        (TAG, leaves(5, 1), (15, 3)),
        (TAG, leaves(6, 3), (0, 3)),
        (TAG, leaves(2, 2), (14, 3)),
        (TAG, leaves(16, 16), (16, 3)),
        (TAG, tables(7, 1), (15, 0)),
        (TAG, tables(1 << 27, 1), (16, 3)),
        (TAG, Invalidation::Everything, (0, 0)),
    ];
    for (tag, what, cached) in cases {
        unit.execute(&memory, service::invalidate(tag, what));
        assert_eq!(unit.cached(TAG), cached, "{what:?}");
        fill();
    }
    let counters = unit.counters();
    assert_eq!((counters.iotlb_flushes, counters.leaf_flushes, counters.map_syncs), (8, 4, 0));
    assert_eq!(violations(&memory), []);
}

/// Without PDE the walker goes on with the table it knows.
#[test]
fn a_command_without_pde_leaves_the_way_to_the_old_table() {
    let memory = memory();
    let (old, new) = (table(UnitKind::AmdVi, &memory), table(UnitKind::AmdVi, &memory));
    old.map(7, 1, Mfn(RAM));
    new.map(7, 1, Mfn(RAM + 1));
    let unit = attached(amd_facts(), &memory, &old);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    let entry = old.link(2, new.table(7, 1), pviommu_testbed::iommu::Rights::ALL);
    old.set(7, 2, entry);
    unit.execute(&memory, service::invalidate(TAG, Invalidation::Leaves(bfns(7, 1))));
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    unit.execute(&memory, service::invalidate(TAG, Invalidation::Tables(bfns(7, 1))));
    assert_eq!(write(&unit, &memory, 7), Ok(RAM + 1));
}

/// Bus frames of all widths there are, near each other or not.
fn ranges() -> impl Strategy<Value = BfnRange> {
    let first = (0..46_u32).prop_flat_map(|bits| 0..1_u64 << bits);
    let pages = (0..46_u32).prop_flat_map(|bits| 1..=1_u64 << bits);
    (first, pages).prop_map(|(first, pages)| {
        let last = (first + pages - 1).min((1 << 45) - 1);
        BfnRange::new(Bfn(first.min(last)), Bfn(last)).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// INV-03: what is removed is forgotten, and no more than it takes.
    #[test]
    fn the_block_is_the_smallest_that_covers_the_range_or_everything(
        range in ranges(),
        tag in any::<u16>(),
        way in any::<bool>(),
    ) {
        let what = if way { Invalidation::Tables(range) } else { Invalidation::Leaves(range) };
        let named = decode(service::invalidate(Tag(tag), what));
        let Ok(Command::ForgetPages { tag: Tag(its), first, last, tables }) = named else {
            return Err(TestCaseError::fail(format!("{named:?}")));
        };
        prop_assert_eq!((its, tables), (tag, way));
        prop_assert!(first <= range.first().0 && range.last().0 <= last);
        if (first, last) == (0, u64::MAX) {
            // Only where an address has more bits than it says plainly.
            prop_assert!(range.last().0 >> 39 != 0);
            return Ok(());
        }
        let pages = last - first + 1;
        prop_assert!(pages.is_power_of_two() && first % pages == 0, "a natural block");
        if pages > 1 {
            // Neither half would do.
            let middle = first + pages / 2;
            prop_assert!(range.first().0 < middle && middle <= range.last().0);
        }
    }

    /// Whatever the words are, the unit knows what to make of them.
    #[test]
    fn any_words_are_taken_apart(low in any::<u64>(), high in any::<u64>(), opcode in 0..16_u64) {
        let low = low & !(15 << 60) | opcode << 60;
        for words in [[low, high], [low & 0xf000_ffff_0000_0000, high & !0xffc]] {
            if let Ok(Command::ForgetPages { first, last, .. }) = decode(words) {
                prop_assert!(first <= last);
            }
        }
    }
}
