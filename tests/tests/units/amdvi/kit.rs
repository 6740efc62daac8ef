//! A unit, and what its driver is told and lent.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{RegisterBlock, SourceId, TableRoot, Tag},
    unit::{
        acpi::{IvInfo, IvhdFlags},
        amdvi::{AmdVi, BringUpError, Interrupts, IrqEntries, Quirks, Resources, Settings},
    },
};
use pviommu_testbed::hardware::amdvi::{Unit, Verdict};

/// Extended features as QEMU has them: all commands, 6 levels.
pub(crate) const FEATURES: u64 = 0x29d3;
/// Without INVALIDATE_IOMMU_ALL.
pub(crate) const ONE_BY_ONE: u64 = FEATURES & !(1 << 6);
/// A capability block with the extended feature register.
pub(crate) const HEADER: u32 = 1 << 27 | 0x000b_000f;
/// Pages of the device table: ids of buses 0 and 1.
pub(crate) const TABLE_PAGES: usize = 4;
pub(crate) const TIMEOUT: u64 = 1000;

pub(crate) const TAG: Tag = Tag(7);

/// A unit that is off.
pub(crate) fn unit() -> Unit {
    Unit::new(16, FEATURES)
}

pub(crate) fn settings() -> Settings {
    Settings {
        segment: 0,
        cpus: 4,
        header: HEADER,
        // 48 bits each.
        info: IvInfo(48 << 8 | 48 << 15),
        flags: IvhdFlags::COHERENT,
        extended_features: None,
        quirks: Quirks::empty(),
        interrupt_entries: IrqEntries::Short,
        interrupts: Interrupts::Pass,
        timeout_us: TIMEOUT,
    }
}

/// What is lent to the driver of `unit`, which it reaches by `registers`.
pub(crate) fn resources<'u>(unit: &'u Unit, registers: &'u dyn RegisterBlock) -> Resources<'u> {
    Resources {
        registers,
        host: unit,
        device_table: unit.ram.lend(TABLE_PAGES),
        commands: unit.ram.lend(1),
        events: unit.ram.lend(1),
        status: unit.ram.lend(1),
    }
}

pub(crate) fn try_with<'u>(unit: &'u Unit, settings: &Settings) -> Result<AmdVi<'u>, BringUpError> {
    AmdVi::bring_up(resources(unit, unit), settings, |_| None)
}

/// The driver of a unit that was brought up without a mistake.
pub(crate) fn with<'u>(unit: &'u Unit, settings: &Settings) -> AmdVi<'u> {
    let driver = try_with(unit, settings).unwrap();
    assert_eq!(unit.mistakes(), []);
    unit.take_done();
    driver
}

pub(crate) fn up(unit: &Unit) -> AmdVi<'_> {
    with(unit, &settings())
}

/// The function with this id.
pub(crate) fn source(id: u16) -> SourceId {
    let [bus, devfn] = id.to_be_bytes();
    SourceId(PciDevice { seg: 0, bus, devfn })
}

pub(crate) fn root(frame: u64) -> TableRoot {
    TableRoot { frame: Mfn(frame), levels: 4 }
}

/// What a request meets that goes through the table at `frame`.
pub(crate) fn through(frame: u64) -> Verdict {
    Verdict::Translated(root(frame))
}
