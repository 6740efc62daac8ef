//! Functions of one group, and what is asked about them.

use pviommu_abi::{DeviceHandle, PciDevice, QueryDevice, Subop};
use pviommu_testbed::machine::DeviceConfig;

use crate::kit::Vm;

/// The function beside 00:03.0.
pub(super) const BESIDE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: (3 << 3) + 1 };
/// One that has nothing to do with it.
pub(super) const ALONE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 5 << 3 };

/// A device that nobody has.
pub(super) fn unowned(function: PciDevice, group: Option<u32>) -> DeviceConfig {
    DeviceConfig { function, group, unowned: true, ..DeviceConfig::default() }
}

/// What the guest is told of `device`.
pub(super) fn query(vm: &Vm<'_>, device: PciDevice) -> QueryDevice {
    let mut query = QueryDevice { device: DeviceHandle::pci(device), ..QueryDevice::default() };
    assert_eq!(vm.op(Subop::QUERY_DEVICE, &mut query), 0);
    query
}
