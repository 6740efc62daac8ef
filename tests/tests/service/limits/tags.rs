//! Tags of a unit: few, and shared by all domains.

use pviommu_abi::{ContextId, Errno, PciDevice};
use pviommu_hypervisor::platform::UnitId;
use pviommu_testbed::machine::{Config, DeviceConfig, vtd_facts};

use super::told;
use crate::kit::{DEVICE, OTHER, RW, SECOND, Vm, err, two_guests, with};

const THIRD: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 5 << 3 };
const BEHIND_ANOTHER: PciDevice = PciDevice { seg: 0, bus: 1, devfn: 0 };

/// Two devices of the guest behind one unit, one behind another; each domain has one tag of a unit.
fn config() -> Config {
    let mut config = two_guests(2048);
    config.units.push(vtd_facts());
    config.devices.push(DeviceConfig { function: THIRD, ..DeviceConfig::default() });
    let unit = UnitId(1);
    config.devices.push(DeviceConfig { function: BEHIND_ANOTHER, unit, ..DeviceConfig::default() });
    config.domains.iter_mut().for_each(|domain| domain.limits.max_tags = 1);
    config
}

fn tags(vm: &Vm<'_>) -> (u32, u32) {
    let limits = told(vm);
    (limits.tags_used, limits.tags_allowed)
}

#[test]
fn contexts_without_devices_have_no_tag() {
    with(&config(), |vm| {
        vm.context();
        assert_eq!(tags(vm), (0, 1));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

/// INV-57.
#[test]
fn as_many_contexts_have_devices_behind_a_unit_as_are_allowed() {
    with(&config(), |vm| {
        let (first, second) = (vm.attached_context(), vm.context());
        assert_eq!(tags(vm), (1, 1));
        assert_eq!(vm.map(first, 10, 1, 1, RW), (0, 1));
        assert_eq!(vm.attach(THIRD, second), err(Errno::ENOSPC));
        assert_eq!(vm.attach(DEVICE, second), err(Errno::ENOSPC), "both exist for a moment");
        assert!(vm.lands_in(DEVICE, 10, 1), "it stays where it was");
        assert_eq!(vm.attach(THIRD, first), 0, "it is there already");
        assert!(vm.lands_in(THIRD, 10, 1));
        assert_eq!(vm.attach(BEHIND_ANOTHER, second), 0, "another unit");
        assert_eq!(tags(vm), (1, 1));

        let other = Vm::new(vm.bed, OTHER, 0);
        let theirs = other.context();
        assert_eq!(other.attach(SECOND, theirs), 0, "another domain");

        for device in [DEVICE, THIRD] {
            assert_eq!(vm.attach(device, ContextId::DEFAULT), 0);
        }
        assert_eq!(vm.attach(THIRD, second), 0);
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}
