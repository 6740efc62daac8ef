//! How the platform has a unit do something: in the words that the unit reads.
//!
//! A VT-d unit is told by the model's own methods. An AMD-Vi unit gets the words of the service's encoders,
//! and takes them apart by itself; where those are not built in, it serves nobody.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    platform::{Invalidation, TableRoot, Tag},
};

use super::memory::Memory;
use crate::iommu::UnitModel;

/// Fills the device table of a unit, before it is switched on, so that nobody passes.
pub(super) fn bring_up(unit: UnitModel) -> UnitModel {
    #[cfg(feature = "amdvi")]
    if words::are_for(&unit) {
        return words::bring_up(unit);
    }
    unit
}

/// Points the entry of `device` at `root` under `tag`; forgets the cached entry if `forget`.
pub(super) fn attach(
    unit: &UnitModel,
    memory: &Memory,
    device: PciDevice,
    (root, tag): (TableRoot, Tag),
    forget: bool,
) {
    #[cfg(feature = "amdvi")]
    if words::are_for(unit) {
        return words::attach(unit, memory, device, (root, tag), forget);
    }
    unit.attach(memory, device, root, tag, forget);
}

/// Makes the entry of `device` refuse everything; forgets the cached entry if `forget`.
pub(super) fn block(unit: &UnitModel, memory: &Memory, device: PciDevice, forget: bool) {
    #[cfg(feature = "amdvi")]
    if words::are_for(unit) {
        return words::block(unit, memory, device, forget);
    }
    let _ = memory;
    unit.block(device, forget);
}

/// Forgets what is cached under `tag`, but what leads to a frame that `kept` says.
pub(super) fn invalidate(
    unit: &UnitModel,
    memory: &Memory,
    tag: Tag,
    what: Invalidation,
    kept: impl Fn(Mfn) -> bool,
) {
    #[cfg(feature = "amdvi")]
    if words::are_for(unit) {
        return words::invalidate(unit, memory, tag, what, kept);
    }
    unit.invalidate_but(memory, tag, what, kept);
}

/// Makes entries of `range` visible that have become present.
pub(super) fn sync_map(unit: &UnitModel, memory: &Memory, tag: Tag, range: BfnRange) {
    #[cfg(feature = "amdvi")]
    if words::are_for(unit) {
        return words::sync_map(unit, memory, tag, range);
    }
    unit.sync_map(memory, tag, range.first().0, range.last().0);
}

/// What an AMD-Vi unit is told.
#[cfg(feature = "amdvi")]
mod words {
    use pviommu_hypervisor::{
        format::FormatKind,
        unit::amdvi::{command, device_entry},
    };

    use super::{BfnRange, Invalidation, Memory, Mfn, PciDevice, TableRoot, Tag, UnitModel};
    use crate::iommu::Why;

    pub(super) fn are_for(unit: &UnitModel) -> bool {
        unit.facts().format == FormatKind::AmdV1
    }

    pub(super) fn bring_up(unit: UnitModel) -> UnitModel {
        unit.with_device_table(device_entry::BLOCKED)
    }

    pub(super) fn attach(
        unit: &UnitModel,
        memory: &Memory,
        device: PciDevice,
        (root, tag): (TableRoot, Tag),
        forget: bool,
    ) {
        write(unit, memory, device, device_entry::translated(root, tag), forget);
    }

    pub(super) fn block(unit: &UnitModel, memory: &Memory, device: PciDevice, forget: bool) {
        write(unit, memory, device, device_entry::BLOCKED, forget);
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

    pub(super) fn invalidate(
        unit: &UnitModel,
        memory: &Memory,
        tag: Tag,
        what: Invalidation,
        kept: impl Fn(Mfn) -> bool,
    ) {
        unit.execute_but(memory, command::invalidate(tag, what), Why::Removal, kept);
    }

    pub(super) fn sync_map(unit: &UnitModel, memory: &Memory, tag: Tag, range: BfnRange) {
        // What was absent may be an entry above the leaves.
        let what = Invalidation::Tables(range);
        unit.execute_but(memory, command::invalidate(tag, what), Why::Sync, |_| false);
    }
}
