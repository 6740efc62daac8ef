//! The checks of the machine, each provoked.

use pviommu_abi::{Bfn, DomId, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn, MfnRange},
    platform::{Invalidation, Tag, UnitId},
};
use pviommu_testbed::{
    iommu::{Direction, FaultReason, UnitModel, handmade::HandMade},
    machine::{Reach, Violation, memory::Memory, tables::POISON, vtd_facts},
};

const DOMAIN: DomId = DomId(1);
const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 8 };
const OTHER: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 16 };
const UNIT: UnitId = UnitId(0);
const TAG: Tag = Tag(3);
const FRAME: Mfn = Mfn(0x40_0000);

/// Memory with one held page at `FRAME`, and registers behind it.
fn memory() -> Memory {
    let mut memory = Memory::bare(Mfn(0x1000), 64);
    memory.frames.add_ram(FRAME, 4, 1);
    memory.frames.add_mmio(Mfn(FRAME.0 + 0x100), 1);
    memory.frames.acquire(FRAME, DOMAIN, true).unwrap();
    memory
}

/// A unit whose device reaches `FRAME` at bus frame 7.
fn unit(memory: &Memory) -> (UnitModel, HandMade<'_>) {
    let unit = UnitModel::new(UNIT, vtd_facts());
    let table = HandMade::new(memory, 4);
    table.map(7, 1, FRAME);
    unit.attach(memory, DEVICE, table.root(), TAG, true);
    (unit, table)
}

fn read(unit: &UnitModel, memory: &Memory, bfn: u64) -> Result<(), FaultReason> {
    unit.access(memory, DEVICE, bfn << 12, Direction::Read, |_| ())
}

fn access(frame: Mfn, reach: Reach) -> Violation {
    Violation::Access { unit: UNIT, device: DEVICE, address: 7 << 12, frame, reach }
}

fn seven() -> BfnRange {
    BfnRange::of_pages(Bfn(7), 1).unwrap()
}

#[test]
fn inv_20_an_access_to_a_page_no_reference_holds_is_stopped() {
    let memory = memory();
    let (unit, _table) = unit(&memory);
    assert_eq!(read(&unit, &memory, 7), Ok(()));
    memory.frames.release(FRAME, DOMAIN, true).unwrap();
    assert_eq!(read(&unit, &memory, 7), Err(FaultReason::Stopped));
    memory.frames.free(FRAME).unwrap();
    assert!(!unit.prefetch(&memory, DEVICE, 7 << 12));
    let expected = [access(FRAME, Reach::NotHeld), access(FRAME, Reach::Free)];
    assert_eq!(memory.violations.list(), expected);
}

#[test]
fn registers_need_no_reference_and_nothing_else_is_reachable() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    table.map(8, 1, Mfn(FRAME.0 + 0x100));
    assert_eq!(read(&unit, &memory, 8), Ok(()));
    // A page table, and a frame that does not exist.
    for frame in [table.root().frame, Mfn(0x99_9999)] {
        table.map(7, 1, frame);
        assert_eq!(read(&unit, &memory, 7), Err(FaultReason::Stopped));
        assert_eq!(memory.violations.list().pop(), Some(access(frame, Reach::Forbidden)));
        unit.invalidate(&memory, TAG, Invalidation::Everything);
    }
}

#[test]
fn inv_07_a_walk_through_a_freed_table_is_seen() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    let leaves = table.table(7, 1);
    table.free(leaves);
    assert_eq!(memory.tables.entry(leaves, 7, true), None);
    assert_eq!(read(&unit, &memory, 7), Err(FaultReason::BadTable));
    let walked =
        Violation::WalkedFreeTable { unit: UNIT, tag: TAG, address: 7 << 12, frame: leaves };
    assert_eq!(memory.violations.list(), [walked]);
}

#[test]
fn poison_is_reserved_at_every_level() {
    for level in 1..=4 {
        let memory = memory();
        let (unit, table) = unit(&memory);
        table.set(7, level, POISON);
        assert_eq!(read(&unit, &memory, 7), Err(FaultReason::ReservedBits));
        let entry = POISON;
        let address = 7 << 12;
        let reserved = Violation::ReservedBits { unit: UNIT, address, level, entry };
        assert_eq!(memory.violations.list(), [reserved]);
    }
}

#[test]
fn inv_20_a_page_released_before_its_flush_is_seen_at_release_and_at_flush() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    read(&unit, &memory, 7).unwrap();
    table.set(7, 1, 0);
    memory.frames.release(FRAME, DOMAIN, true).unwrap();
    unit.check_released(&memory, MfnRange::of_pages(FRAME, 1).unwrap());
    unit.invalidate(&memory, TAG, Invalidation::Leaves(seven()));
    let expected = [
        Violation::ReleasedWhileCached { unit: UNIT, frame: FRAME },
        Violation::ReleasedBeforeFlush { unit: UNIT, tag: TAG, bfn: 7, frame: FRAME },
    ];
    assert_eq!(memory.violations.list(), expected);
}

#[test]
fn a_page_flushed_before_its_release_is_in_order() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    read(&unit, &memory, 7).unwrap();
    table.set(7, 1, 0);
    unit.invalidate(&memory, TAG, Invalidation::Leaves(seven()));
    memory.frames.release(FRAME, DOMAIN, true).unwrap();
    unit.check_released(&memory, MfnRange::of_pages(FRAME, 1).unwrap());
    assert_eq!(memory.violations.list(), []);
}

#[test]
fn inv_07_a_table_freed_before_its_flush_is_seen_at_free_and_at_flush() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    read(&unit, &memory, 7).unwrap();
    let leaves = table.table(7, 1);
    table.set(7, 2, 0);
    // A leaf-only flush is not enough.
    unit.invalidate(&memory, TAG, Invalidation::Leaves(seven()));
    unit.check_table_freed(&memory, leaves);
    table.free(leaves);
    unit.invalidate(&memory, TAG, Invalidation::Tables(seven()));
    let expected = [
        Violation::TableFreedWhileNamed { unit: UNIT, frame: leaves },
        Violation::TableFreedBeforeFlush { unit: UNIT, tag: TAG, frame: leaves },
    ];
    assert_eq!(memory.violations.list(), expected);
    unit.check_table_freed(&memory, leaves);
    assert_eq!(memory.violations.count(), 2);
}

#[test]
fn a_root_is_named_until_the_last_device_has_left_it() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    let root = table.root();
    unit.attach(&memory, OTHER, root, TAG, true);
    read(&unit, &memory, 7).unwrap();
    unit.block(DEVICE, true);
    unit.check_table_freed(&memory, root.frame);
    let named = Violation::TableFreedWhileNamed { unit: UNIT, frame: root.frame };
    assert_eq!(memory.violations.list(), [named]);
    unit.block(OTHER, true);
    unit.invalidate(&memory, TAG, Invalidation::Everything);
    unit.check_table_freed(&memory, root.frame);
    assert_eq!(memory.violations.count(), 1);
}

#[test]
fn a_tag_has_one_root_and_is_flushed_before_it_gets_another() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    let other = HandMade::new(&memory, 4);
    read(&unit, &memory, 7).unwrap();
    unit.attach(&memory, OTHER, other.root(), TAG, true);
    let expected = [
        Violation::TagWithTwoRoots { unit: UNIT, tag: TAG },
        Violation::TagReusedBeforeFlush { unit: UNIT, tag: TAG },
    ];
    assert_eq!(memory.violations.list(), expected);

    unit.block(DEVICE, true);
    unit.invalidate(&memory, TAG, Invalidation::Everything);
    unit.attach(&memory, DEVICE, other.root(), TAG, true);
    unit.attach(&memory, DEVICE, table.root(), Tag(4), true);
    assert_eq!(memory.violations.count(), 2);
}

#[test]
fn inv_08_device_entries_that_no_unit_accepts_are_seen() {
    let memory = memory();
    let (unit, table) = unit(&memory);
    unit.attach(&memory, OTHER, table.root(), Tag(0), true);
    unit.attach(&memory, OTHER, table.root(), Tag(256), true);
    let mut root = table.root();
    root.levels = 3;
    unit.attach(&memory, OTHER, root, Tag(5), true);
    root = table.root();
    root.frame = FRAME;
    unit.attach(&memory, OTHER, root, Tag(6), true);
    let expected = [
        Violation::BadTag { unit: UNIT, tag: Tag(0) },
        Violation::BadTag { unit: UNIT, tag: Tag(256) },
        Violation::BadRoot { unit: UNIT, frame: table.root().frame, levels: 3 },
        Violation::BadRoot { unit: UNIT, frame: FRAME, levels: 4 },
    ];
    assert_eq!(memory.violations.list(), expected);
}
