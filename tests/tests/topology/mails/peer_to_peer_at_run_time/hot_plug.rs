//! Functions that come and go.

use pviommu_abi::{DeviceFlags, Errno};
use pviommu_hypervisor::{
    Fate,
    topology::{Change, Function},
};

use super::{
    super::kit::{drive, end, owner, told, works},
    Drives, LATE, ONE, PORTS, SECOND, SWITCH, drives, owned,
};
use crate::guest::{GUEST, OTHER, with};

/// A function that comes joins a group, or one that goes leaves it: not while somebody has that group.
#[test]
fn a_function_is_hot_added_and_removed_only_where_nobody_has_the_group() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let iommu = vm.bed.iommu();
        let second = drives.topology.function(SECOND).copied().unwrap();
        let late = Function { address: LATE, ..second };
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(drives.change(vm, Change::Add(&[late])), owned(SECOND, GUEST));
        assert!(drives.topology.function(LATE).is_none());
        assert_eq!(vm.bed.assign(OTHER, LATE), Err(Errno::ENODEV));
        assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));

        // Whoever has the other drive has nothing to do with it.
        assert_eq!(vm.bed.assign(OTHER, ONE), Ok(()));
        assert_eq!(drives.change(vm, Change::Add(&[late])), Ok(()));
        assert_eq!(iommu.plug(LATE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(owner(vm.bed, LATE), Some(GUEST));
        assert_eq!(vm.bed.assign(OTHER, LATE), Err(Errno::EBUSY));
        drive(vm, LATE);

        assert_eq!(drives.change(vm, Change::Remove(&[LATE])), owned(SECOND, GUEST));
        assert_eq!(iommu.unplug(LATE), Err(Errno::EBUSY));
        assert!(drives.topology.function(LATE).is_some() && works(vm, LATE));
        assert_eq!(vm.bed.unassign(GUEST, 0, LATE), Ok(()));
        assert_eq!(iommu.unplug(LATE), Ok(()));
        assert_eq!(drives.change(vm, Change::Remove(&[LATE])), Ok(()));
        assert!(drives.is_known_as_it_is());
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(told(vm, SECOND), DeviceFlags::INTERRUPTS_ISOLATED);
        assert_eq!(vm.bed.assign(GUEST, LATE), Err(Errno::ENODEV));
        end(vm);
    });
}

/// Nobody else has anything of its group, which the drive leaves all the same.
#[test]
fn a_drive_that_a_guest_has_is_not_taken_out() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        drive(vm, ONE);
        for gone in [ONE, PORTS[0], SWITCH] {
            assert_eq!(drives.change(vm, Change::Remove(&[gone])), owned(ONE, GUEST));
            assert!(drives.is_known_as_it_is() && works(vm, ONE));
        }
        assert_eq!(drives.change(vm, Change::Remove(&[SECOND])), Ok(()), "this one is nobody's");
        end(vm);
    });
}

/// Nobody asked before it came: it is not plugged in while the others are somebody's.
#[test]
fn a_function_that_has_come_taints_the_group_that_a_guest_has() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        let second = drives.topology.function(SECOND).copied().unwrap();
        let late = [Function { address: LATE, ..second }];
        let Drives { topology, groups, .. } = &mut drives;
        let told = vm.bed.iommu().topology_changed(topology, Change::Add(&late), groups);
        assert_eq!(told, Ok(1));
        assert_eq!(drives.fate(vm, SECOND), Fate::Tainted);
        assert_eq!(vm.bed.iommu().plug(LATE), Err(Errno::EBUSY));
        assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));
        assert_eq!(vm.bed.iommu().approve(SECOND), Ok(()));
        assert_eq!(vm.bed.iommu().plug(LATE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Ok(()));
        assert_eq!(owner(vm.bed, LATE), Some(OTHER));
        end(vm);
    });
}
