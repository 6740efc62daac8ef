//! Units that see stores late: those that cache what is not present, have a write buffer, or do
//! not snoop.

use pviommu_abi::{Bfn, DomId, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    platform::{Invalidation, Tag, UnitFacts, UnitFeatures, UnitId},
};
use pviommu_testbed::{
    iommu::{Direction, FaultReason, UnitModel, handmade::HandMade},
    machine::{Harshness, memory::Memory, poor_facts, vtd_facts},
};

const DEVICE: PciDevice = PciDevice::new(0, 0, 1, 0);
const TAG: Tag = Tag(3);
const RAM: u64 = 0x40_0000;

fn memory() -> Memory {
    let mut memory = Memory::bare(Mfn(0x1000), 300);
    memory.frames.add_ram(Mfn(RAM), 1024, 1);
    for page in 0..1024 {
        memory.frames.acquire(Mfn(RAM + page), DomId(1), true).unwrap();
    }
    memory
}

fn with(feature: UnitFeatures) -> UnitFacts {
    let facts = vtd_facts();
    UnitFacts { features: facts.features | feature, ..facts }
}

fn attached(facts: UnitFacts, memory: &Memory, table: &HandMade<'_>) -> UnitModel {
    let unit = UnitModel::new(UnitId(0), facts);
    unit.attach(memory, DEVICE, table.root(), TAG, true);
    unit
}

fn bfns(first: u64, pages: u64) -> BfnRange {
    BfnRange::of_pages(Bfn(first), pages).unwrap()
}

/// Where a write of the device to `bfn` arrives; `None` if nothing is present there.
fn write(unit: &UnitModel, memory: &Memory, bfn: u64) -> Option<u64> {
    let landed = unit.access_at(memory, DEVICE, bfn << 12, Direction::Write, |at| at.frame.0);
    assert!(matches!(landed, Ok(_) | Err(FaultReason::NotPresent)), "{landed:?}");
    landed.ok()
}

#[test]
fn an_upper_entry_that_was_absent_hides_its_whole_span_until_the_unit_is_told() {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    table.map(0, 1, Mfn(RAM));
    let unit = attached(with(UnitFeatures::CACHES_NOT_PRESENT), &memory, &table);
    // No table for 1 GiB from 0x40000 on: what is found absent is all of it.
    assert_eq!(write(&unit, &memory, 0x4_0000), None);
    for bfn in [0x4_0000, 0x4_0005, 0x7_ffff] {
        table.map(bfn, 1, Mfn(RAM + 1));
        assert_eq!(write(&unit, &memory, bfn), None);
    }
    assert_eq!(write(&unit, &memory, 0), Some(RAM));
    // A sync elsewhere, and a flush of leaves only, are not it.
    unit.sync_map(&memory, TAG, 0x8_0000, 0x8_0000);
    unit.invalidate(&memory, TAG, Invalidation::Leaves(bfns(0x4_0005, 1)));
    assert_eq!(write(&unit, &memory, 0x4_0005), None);
    unit.sync_map(&memory, TAG, 0x4_0005, 0x4_0005);
    assert_eq!(write(&unit, &memory, 0x4_0005), Some(RAM + 1));
    assert_eq!(write(&unit, &memory, 0x7_ffff), Some(RAM + 1));

    // The same by a flush of tables.
    assert_eq!(write(&unit, &memory, 0x20_0000), None);
    table.map(0x20_0007, 1, Mfn(RAM + 2));
    assert_eq!(write(&unit, &memory, 0x20_0007), None);
    unit.invalidate(&memory, TAG, Invalidation::Tables(bfns(0x20_0000, 1)));
    assert_eq!(write(&unit, &memory, 0x20_0007), Some(RAM + 2));
}

#[test]
fn a_helpful_unit_takes_only_the_page_for_absent() {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    let unit = UnitModel::new(UnitId(0), with(UnitFeatures::CACHES_NOT_PRESENT));
    let unit = unit.with_harshness(&Harshness::NONE);
    unit.attach(&memory, DEVICE, table.root(), TAG, true);
    assert_eq!(write(&unit, &memory, 0x4_0000), None);
    table.map(0x4_0000, 1, Mfn(RAM));
    table.map(0x4_0001, 1, Mfn(RAM + 1));
    assert_eq!(write(&unit, &memory, 0x4_0001), Some(RAM + 1));
    assert_eq!(write(&unit, &memory, 0x4_0000), None);
}

#[test]
fn absence_is_loaded_ahead_like_everything_else() {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    let unit = attached(with(UnitFeatures::CACHES_NOT_PRESENT), &memory, &table);
    assert!(!unit.prefetch(&memory, DEVICE, 7 << 12));
    table.map(9, 1, Mfn(RAM));
    assert_eq!(write(&unit, &memory, 9), None);
    assert_eq!(unit.faults().len(), 1);
}

#[test]
fn stores_behind_a_write_buffer_are_seen_after_a_sync_or_a_flush() {
    type Flush = fn(&UnitModel, &Memory);
    let flushes: [Flush; 3] = [
        |unit, memory| unit.sync_map(memory, TAG, 9, 9),
        // Of another page and of another tag: the buffer is the unit's.
        |unit, memory| unit.sync_map(memory, Tag(5), 0x100, 0x100),
        |unit, memory| unit.invalidate(memory, Tag(5), Invalidation::Leaves(bfns(0x100, 1))),
    ];
    for flush in flushes {
        let memory = memory();
        let table = HandMade::new(&memory, 4);
        table.map(7, 1, Mfn(RAM));
        table.map(8, 1, Mfn(RAM + 1));
        let unit = attached(with(UnitFeatures::WRITE_BUFFER), &memory, &table);
        // Added in a table the unit knows, and in one that it does not; changed; taken away.
        table.map(9, 1, Mfn(RAM + 2));
        table.map(0x4_0000, 1, Mfn(RAM + 3));
        table.map(7, 1, Mfn(RAM + 4));
        table.set(8, 1, 0);
        let seen = || [7, 8, 9, 0x4_0000].map(|bfn| write(&unit, &memory, bfn));
        assert_eq!(seen(), [Some(RAM), Some(RAM + 1), None, None]);
        flush(&unit, &memory);
        unit.invalidate(&memory, TAG, Invalidation::Everything);
        assert_eq!(seen(), [Some(RAM + 4), None, Some(RAM + 2), Some(RAM + 3)]);
    }
}

#[test]
fn a_device_that_comes_sees_what_was_stored_before() {
    let memory = memory();
    let (one, two) = (HandMade::new(&memory, 4), HandMade::new(&memory, 4));
    let unit = attached(with(UnitFeatures::WRITE_BUFFER), &memory, &one);
    two.map(7, 1, Mfn(RAM));
    one.map(7, 1, Mfn(RAM + 1));
    unit.attach(&memory, DEVICE, two.root(), Tag(4), true);
    assert_eq!(write(&unit, &memory, 7), Some(RAM));
    unit.attach(&memory, DEVICE, one.root(), TAG, true);
    assert_eq!(write(&unit, &memory, 7), Some(RAM + 1));
}

/// More tables than the model keeps copies of: those it does not keep it reads as they are.
#[test]
fn a_write_buffer_forgets_tables_that_are_freed_and_has_room_for_so_many() {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    let unit = attached(with(UnitFeatures::WRITE_BUFFER), &memory, &table);
    for round in 0..3 {
        for block in 0..80 {
            table.map(block << 9, 1, Mfn(RAM + block + round));
        }
        unit.invalidate(&memory, TAG, Invalidation::Everything);
        for block in 0..80 {
            assert_eq!(write(&unit, &memory, block << 9), Some(RAM + block + round));
        }
        for block in 0..80 {
            let leaves = table.table(block << 9, 1);
            table.set(block << 9, 2, 0);
            unit.invalidate(&memory, TAG, Invalidation::Tables(bfns(block << 9, 1)));
            unit.check_table_freed(&memory, leaves);
            table.free(leaves);
        }
    }
    assert_eq!(memory.violations.list(), []);
}

#[test]
fn a_buffer_and_a_walker_that_does_not_snoop_want_both() {
    let memory = memory();
    let table = HandMade::new(&memory, 4);
    table.map(7, 1, Mfn(RAM));
    let publish = || (1..=4).for_each(|level| memory.tables.publish(table.table(7, level), 0, 511));
    publish();
    let unit = attached(poor_facts(), &memory, &table);
    assert_eq!(write(&unit, &memory, 7), Some(RAM));
    table.map(8, 1, Mfn(RAM + 1));
    unit.sync_map(&memory, TAG, 8, 8);
    assert_eq!(write(&unit, &memory, 8), None, "not published");
    publish();
    assert_eq!(write(&unit, &memory, 8), None, "not synced");
    unit.sync_map(&memory, TAG, 8, 8);
    assert_eq!(write(&unit, &memory, 8), Some(RAM + 1));
}
