//! The caches of the IOMMU model: stale until they are told, and no longer.

use pviommu_abi::{Bfn, DomId, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    platform::{Invalidation, Tag, UnitFacts, UnitFeatures, UnitId},
};
use pviommu_testbed::{
    iommu::{Direction, FaultReason, Rights, UnitModel, handmade::HandMade},
    machine::{Violation, memory::Memory},
};

use crate::{hand_made, kinds};

const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 8 };
const TAG: Tag = Tag(3);
const RAM: u64 = 0x40_0000;

/// Memory with 1024 pages of RAM, all of them held, and table frames.
fn memory() -> Memory {
    let mut memory = Memory::bare(Mfn(0x1000), 64);
    memory.frames.add_ram(Mfn(RAM), 1024, 1);
    for page in 0..1024 {
        memory.frames.acquire(Mfn(RAM + page), DomId(1), true).unwrap();
    }
    memory
}

fn unit(facts: UnitFacts, memory: &Memory, table: &HandMade<'_>) -> UnitModel {
    let unit = UnitModel::new(UnitId(0), facts);
    unit.attach(memory, DEVICE, table.root(), TAG, true);
    unit
}

fn bfns(first: u64, pages: u64) -> BfnRange {
    BfnRange::of_pages(Bfn(first), pages).unwrap()
}

/// Where a write of the device to `bfn` arrives.
fn write(unit: &UnitModel, memory: &Memory, bfn: u64) -> Result<u64, FaultReason> {
    let mut at = None;
    unit.access(memory, DEVICE, bfn << 12, Direction::Write, |frame| at = Some(frame.0))?;
    Ok(at.unwrap())
}

#[test]
fn a_translation_stays_until_it_is_invalidated() {
    let memory = memory();
    let table = hand_made(&memory, 4);
    table.map(7, 1, Mfn(RAM));
    let unit = unit(kinds::unit().facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    table.set(7, 1, 0);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(8, 4)));
    unit.invalidate(&memory, Tag(4), Invalidation::Everything);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(6, 2)));
    assert_eq!(write(&unit, &memory, 7), Err(FaultReason::NotPresent));
    assert_eq!(unit.take_faults()[0].address, 7 << 12);
    assert_eq!(memory.violations.list(), []);
}

#[test]
fn a_prefetched_translation_is_as_stale_as_a_used_one() {
    let memory = memory();
    let table = hand_made(&memory, 4);
    table.map(7, 1, Mfn(RAM));
    let unit = unit(kinds::unit().facts(), &memory, &table);
    assert!(unit.prefetch(&memory, DEVICE, 7 << 12));
    assert!(!unit.prefetch(&memory, DEVICE, 9 << 12));
    assert_eq!(unit.faults(), []);
    table.set(7, 1, 0);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
}

#[test]
fn a_leaf_only_invalidation_leaves_the_way_to_the_old_table() {
    let memory = memory();
    let table = hand_made(&memory, 4);
    table.map(7, 1, Mfn(RAM));
    let unit = unit(kinds::unit().facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    assert_eq!(unit.cached(TAG), (1, 3));

    // Another leaf table takes the place of the first.
    let other = hand_made(&memory, 4);
    other.map(7, 1, Mfn(RAM + 1));
    table.set(7, 2, table.link(2, other.table(7, 1), Rights::ALL));
    unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(7, 1)));
    assert_eq!(unit.cached(TAG), (0, 3));
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));

    unit.invalidate(&memory, TAG, Invalidation::Tables(bfns(7, 1)));
    assert_eq!(unit.cached(TAG), (0, 0));
    assert_eq!(write(&unit, &memory, 7), Ok(RAM + 1));
}

#[test]
fn the_permissions_of_the_way_are_cached_with_it() {
    let memory = memory();
    let table = hand_made(&memory, 4);
    table.map(7, 1, Mfn(RAM));
    table.map(8, 1, Mfn(RAM + 1));
    let leaves = table.table(7, 1);
    table.set(7, 2, table.link(2, leaves, Rights { read: true, write: false }));
    let unit = unit(kinds::unit().facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 7), Err(FaultReason::NotWritable));
    table.set(7, 2, table.link(2, leaves, Rights::ALL));
    assert_eq!(write(&unit, &memory, 8), Err(FaultReason::NotWritable));
    unit.invalidate(&memory, TAG, Invalidation::Tables(bfns(8, 1)));
    assert_eq!(write(&unit, &memory, 8), Ok(RAM + 1));
}

#[test]
fn one_page_invalidated_evicts_the_whole_large_page() {
    let memory = memory();
    let table = hand_made(&memory, 4);
    table.map(0x200, 2, Mfn(RAM));
    let unit = unit(kinds::unit().facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 0x3ff), Ok(RAM + 0x1ff));
    table.set(0x200, 2, 0);
    assert_eq!(write(&unit, &memory, 0x200), Ok(RAM));
    unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(0x300, 1)));
    assert_eq!(write(&unit, &memory, 0x200), Err(FaultReason::NotPresent));
}

#[test]
fn what_was_not_present_is_cached_only_where_the_unit_says_so() {
    for caching in [false, true] {
        let memory = memory();
        let mut facts = kinds::unit().facts();
        facts.features.set(UnitFeatures::CACHES_NOT_PRESENT, caching);
        let table = hand_made(&memory, 4);
        let unit = unit(facts, &memory, &table);
        assert_eq!(write(&unit, &memory, 7), Err(FaultReason::NotPresent));
        table.map(7, 1, Mfn(RAM));
        let expected = if caching { Err(FaultReason::NotPresent) } else { Ok(RAM) };
        assert_eq!(write(&unit, &memory, 7), expected);
        unit.sync_map(&memory, TAG, 7, 7);
        assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    }
}

#[test]
fn a_unit_that_does_not_snoop_sees_what_was_published() {
    let memory = memory();
    let mut facts = kinds::unit().facts();
    facts.features.remove(UnitFeatures::COHERENT);
    let table = hand_made(&memory, 3);
    facts.features.insert(UnitFeatures::LEVELS_3);
    table.map(7, 1, Mfn(RAM));
    let unit = unit(facts, &memory, &table);
    for level in 1..=3 {
        assert_eq!(write(&unit, &memory, 7), Err(FaultReason::NotPresent));
        memory.tables.publish(table.table(7, level), 0, 511);
    }
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
}

#[test]
fn a_device_entry_stays_cached_until_it_is_told_to_be_forgotten() {
    let memory = memory();
    let (old, new) = (hand_made(&memory, 4), hand_made(&memory, 4));
    old.map(7, 1, Mfn(RAM));
    new.map(7, 1, Mfn(RAM + 1));
    let unit = unit(kinds::unit().facts(), &memory, &old);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    unit.attach(&memory, DEVICE, new.root(), Tag(4), false);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    unit.attach(&memory, DEVICE, new.root(), Tag(4), true);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM + 1));
    unit.block(DEVICE, true);
    assert_eq!(write(&unit, &memory, 7), Err(FaultReason::Blocked));
    assert_eq!(memory.violations.list(), Vec::<Violation>::new());
}

#[test]
fn addresses_out_of_range_fault_and_interrupts_are_no_dma() {
    let memory = memory();
    let table = hand_made(&memory, 4);
    let unit = unit(kinds::unit().facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 1 << 36), Err(FaultReason::AddressWidth));
    assert_eq!(write(&unit, &memory, 0xfee00), Err(FaultReason::Interrupt));
    assert_eq!(unit.counters().faults, 1);
}
