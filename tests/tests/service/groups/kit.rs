//! A group of three, and what is asked about it.

use pviommu_abi::{Bfn, DeviceFlags, DomId, PciDevice, QueryDevice};
use pviommu_hypervisor::{
    Fate, NewGroup, Reserved, ReservedKind, addr::BfnRange, operator::DeviceStats,
};
use pviommu_testbed::machine::{Bed, Config, DeviceConfig, reserved};

use crate::kit::{DEVICE, Vm, two_guests};

/// The function beside 00:03.0, of one group with it.
pub(super) const BESIDE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: (3 << 3) + 1 };
/// The third of that group, elsewhere.
pub(super) const BELOW: PciDevice = PciDevice { seg: 0, bus: 7, devfn: 0 };
/// One that has nothing to do with it.
pub(super) const ALONE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 5 << 3 };
/// All of the group.
pub(super) const GROUP: [PciDevice; 3] = [DEVICE, BESIDE, BELOW];

/// All devices of the machine, as the service lists them.
pub(super) const SORTED: [PciDevice; 4] = [DEVICE, BESIDE, ALONE, BELOW];

/// A device that nobody has.
pub(super) fn unowned(function: PciDevice, group: Option<u32>) -> DeviceConfig {
    DeviceConfig { function, group, unowned: true, ..DeviceConfig::default() }
}

/// Three devices of one group and one that is alone; nobody has any, and two guests may.
pub(super) fn config() -> Config {
    let group = GROUP.into_iter().map(|function| unowned(function, Some(7)));
    let devices = group.chain([unowned(ALONE, None)]).collect();
    Config { devices, ..two_guests(16) }
}

/// Two bus frames that the firmware of a device uses.
pub(super) fn direct() -> Reserved {
    reserved(BfnRange::of_pages(Bfn(0x8000), 2).unwrap(), ReservedKind::Direct)
}

/// These devices are of these groups, and all others of the group alone.
pub(super) fn grouped(groups: &[(PciDevice, u32)]) -> Vec<NewGroup> {
    let group = |device| groups.iter().find(|(it, _)| *it == device).map(|(_, group)| *group);
    SORTED.map(|device| NewGroup::new(group(device))).to_vec()
}

/// What has become of `device` by that change.
pub(super) fn fate(groups: &[NewGroup], device: PciDevice) -> Fate {
    let at = SORTED.iter().position(|it| *it == device).unwrap();
    groups[at].fate()
}

pub(super) fn stats(bed: &Bed<'_>, device: PciDevice) -> DeviceStats {
    bed.iommu().device_stats(device).unwrap()
}

/// Who has the devices of the group, one after the other.
pub(super) fn owners(bed: &Bed<'_>) -> [Option<DomId>; 3] {
    GROUP.map(|device| stats(bed, device).owner)
}

/// What the guest is told of `device`.
pub(super) fn query(vm: &Vm<'_>, device: PciDevice) -> QueryDevice {
    vm.describe(device)
}

/// True if the guest is told `flag` of `device`.
pub(super) fn is_told(vm: &Vm<'_>, device: PciDevice, flag: DeviceFlags) -> bool {
    query(vm, device).state.contains(flag)
}
