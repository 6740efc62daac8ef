//! Devices that come and go: what is not there is of no group and nobody's.

use pviommu_abi::{DeviceFlags, Errno, PciDevice};
use pviommu_hypervisor::RegroupError;

use super::kit::{ALONE, BELOW, BESIDE, config, grouped, is_told, owners, stats};
use crate::kit::{DEVICE, GUEST, OTHER, with};

#[test]
fn a_device_that_is_plugged_in_is_of_its_group_and_given_with_it() {
    let mut config = config();
    config.devices[2].absent = true;
    with(&config, |vm| {
        let iommu = vm.bed.iommu();
        assert_eq!(vm.bed.assign(GUEST, BELOW), Err(Errno::ENODEV));
        assert_eq!(iommu.unplug(BELOW), Err(Errno::ENODEV));
        assert_eq!(iommu.plug(PciDevice::new(0, 9, 9, 0)), Err(Errno::ENODEV));
        assert!(stats(vm.bed, BELOW).to_string().contains("not plugged in"));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST), Some(GUEST), None]);
        assert!(!is_told(vm, DEVICE, DeviceFlags::HIDDEN_MEMBERS));
        assert_eq!(iommu.plug(BELOW), Err(Errno::EBUSY), "the group has an owner");
        assert_eq!(iommu.plug(BESIDE), Err(Errno::EEXIST));
        assert_eq!(vm.bed.assign(OTHER, BELOW), Err(Errno::ENODEV));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(iommu.plug(BELOW), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST); 3]);
        vm.end();
    });
}

#[test]
fn a_device_that_somebody_has_is_not_unplugged() {
    with(&config(), |vm| {
        let iommu = vm.bed.iommu();
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        assert_eq!(iommu.unplug(BELOW), Err(Errno::EBUSY));
        assert_eq!(vm.bed.unassign(GUEST, 0, BELOW), Ok(()));
        assert_eq!(iommu.unplug(BELOW), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST), Some(GUEST), None]);
        vm.end();
    });
}

/// What comes may be told to be of another group first; then nobody's group grows.
#[test]
fn what_is_not_there_changes_groups_whoever_has_the_others() {
    let mut config = config();
    config.devices[2].absent = true;
    with(&config, |vm| {
        let iommu = vm.bed.iommu();
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let mut new = grouped(&[(DEVICE, 7), (BESIDE, 7), (BELOW, 3), (ALONE, 3)]);
        let change = iommu.begin_regroup(&mut new).unwrap();
        assert_eq!(change.changes().count(), 0);
        assert_eq!(iommu.plug(BELOW), Err(Errno::EAGAIN));
        assert_eq!(iommu.unplug(ALONE), Err(Errno::EAGAIN));
        assert_eq!(change.finish(), Ok(()));
        assert_eq!(iommu.plug(BELOW), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
        assert_eq!(stats(vm.bed, BELOW).owner, Some(OTHER));
        let mut new = grouped(&[(DEVICE, 7), (BESIDE, 7), (ALONE, 3)]);
        let refused = iommu.begin_regroup(&mut new).err();
        assert_eq!(refused, Some(RegroupError::Owned(ALONE, OTHER)));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}
