//! A unit with a table made by hand, and memory that it may reach.

use pviommu_abi::{Bfn, DomId, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    platform::{Tag, UnitFacts, UnitId},
};
use pviommu_testbed::{
    iommu::{Direction, FaultReason, UnitModel, handmade::HandMade},
    machine::{UnitKind, Violation, memory::Memory},
};

pub(crate) const DEVICE: PciDevice = PciDevice::new(0, 0, 1, 0);
pub(crate) const OTHER: PciDevice = PciDevice::new(0, 0x12, 6, 4);
pub(crate) const UNIT: UnitId = UnitId(0);
pub(crate) const TAG: Tag = Tag(3);
/// First of 1024 frames that are held.
pub(crate) const RAM: u64 = 0x40_0000;

/// Memory with 1024 pages of RAM, all of them held, and table frames.
pub(crate) fn memory() -> Memory {
    let mut memory = Memory::bare(Mfn(0x1000), 128);
    memory.frames.add_ram(Mfn(RAM), 1024, 1);
    for page in 0..1024 {
        memory.frames.acquire(Mfn(RAM + page), DomId(1), true).unwrap();
    }
    memory
}

/// An empty table of 4 levels for units of this make.
pub(crate) fn table(kind: UnitKind, memory: &Memory) -> HandMade<'_> {
    HandMade::of(kind.format(), memory, 4)
}

/// A unit of these facts with [`DEVICE`] in `table`.
pub(crate) fn attached(facts: UnitFacts, memory: &Memory, table: &HandMade<'_>) -> UnitModel {
    let unit = UnitModel::new(UNIT, facts);
    unit.attach(memory, DEVICE, table.root(), TAG, true);
    unit
}

pub(crate) fn bfns(first: u64, pages: u64) -> BfnRange {
    BfnRange::of_pages(Bfn(first), pages).unwrap()
}

/// Where a write of the device to `bfn` arrives.
pub(crate) fn write(unit: &UnitModel, memory: &Memory, bfn: u64) -> Result<u64, FaultReason> {
    unit.access_at(memory, DEVICE, bfn << 12, Direction::Write, |at| at.frame.0)
}

/// Whether a read of the device at `bfn` is let through.
pub(crate) fn read(unit: &UnitModel, memory: &Memory, bfn: u64) -> Result<(), FaultReason> {
    unit.access_at(memory, DEVICE, bfn << 12, Direction::Read, |_| ())
}

pub(crate) fn violations(memory: &Memory) -> Vec<Violation> {
    memory.violations.list()
}
