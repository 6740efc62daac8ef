//! How the platform has a unit do something: in the words that the unit reads.
//!
//! A VT-d unit is told by the model's own methods. An AMD-Vi unit gets the words of the service's encoders,
//! and takes them apart by itself.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    format::FormatKind,
    platform::{Invalidation, TableRoot, Tag},
    unit::amdvi::{command, device_entry},
};

use super::memory::Memory;
use crate::iommu::{UnitModel, Why};

fn is_amd(unit: &UnitModel) -> bool {
    unit.facts().format == FormatKind::AmdV1
}

/// Fills the device table of a unit, before it is switched on, so that nobody passes.
pub(super) fn bring_up(unit: UnitModel) -> UnitModel {
    if is_amd(&unit) { unit.with_device_table(device_entry::BLOCKED) } else { unit }
}

/// Points the entry of `device` at `root` under `tag`; forgets the cached entry if `forget`.
pub(super) fn attach(
    unit: &UnitModel,
    memory: &Memory,
    device: PciDevice,
    (root, tag): (TableRoot, Tag),
    forget: bool,
) {
    if is_amd(unit) {
        write(unit, memory, device, device_entry::translated(root, tag), forget);
    } else {
        unit.attach(memory, device, root, tag, forget);
    }
}

/// Makes the entry of `device` refuse everything; forgets the cached entry if `forget`.
pub(super) fn block(unit: &UnitModel, memory: &Memory, device: PciDevice, forget: bool) {
    if is_amd(unit) {
        write(unit, memory, device, device_entry::BLOCKED, forget);
    } else {
        unit.block(device, forget);
    }
}

fn write(
    unit: &UnitModel,
    memory: &Memory,
    device: PciDevice,
    entry: device_entry::Translation,
    forget: bool,
) {
    unit.write_device_entry(memory, device, entry);
    if forget {
        unit.execute(memory, command::forget_device(device));
    }
}

/// Forgets what is cached under `tag`, but what leads to a frame that `kept` says.
pub(super) fn invalidate(
    unit: &UnitModel,
    memory: &Memory,
    tag: Tag,
    what: Invalidation,
    kept: impl Fn(Mfn) -> bool,
) {
    if is_amd(unit) {
        unit.execute_but(memory, command::invalidate(tag, what), Why::Removal, kept);
    } else {
        unit.invalidate_but(memory, tag, what, kept);
    }
}

/// Makes entries of `range` visible that have become present.
pub(super) fn sync_map(unit: &UnitModel, memory: &Memory, tag: Tag, range: BfnRange) {
    if is_amd(unit) {
        // What was absent may be an entry above the leaves.
        let what = Invalidation::Tables(range);
        unit.execute_but(memory, command::invalidate(tag, what), Why::Sync, |_| false);
    } else {
        unit.sync_map(memory, tag, range.first().0, range.last().0);
    }
}
