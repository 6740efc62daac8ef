//! Access control that somebody else has changed: it is so already, and what is nobody's is cut off.

use pviommu_abi::{DeviceFlags, Errno};
use pviommu_hypervisor::{Fate, topology::AcsBits};

use super::{
    super::kit::{drive, end, other, owner, stats, told, works},
    ONE, PORTS, REDIRECTION, SECOND, drives, drives_behind, together,
};
use crate::guest::{GUEST, OTHER, with};

/// One guest has a drive and nobody the other: that one is stopped, the guest goes on, and nobody gets either
/// until somebody has looked at it.
#[test]
fn access_control_that_is_cleared_behind_our_back_stops_the_neighbour_and_not_the_owner() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let iommu = vm.bed.iommu();
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        drive(vm, ONE);
        let cleared = drives.space.control(PORTS[1]).unwrap() - REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[1], cleared), 2);
        assert_eq!([ONE, SECOND].map(|it| drives.fate(vm, it)), [Fate::Tainted, Fate::Stopped]);
        assert!(drives.space.reaches(SECOND, ONE), "which is why");
        assert!(drives.is_known_as_it_is() && together(vm));
        assert!(vm.bed.board().is_stopped(SECOND) && !vm.bed.board().is_stopped(ONE));
        assert!(works(vm, ONE));
        let expected = DeviceFlags::SHARING_RISK
            | DeviceFlags::HIDDEN_MEMBERS
            | DeviceFlags::INTERRUPTS_ISOLATED;
        assert_eq!(told(vm, ONE), expected);
        for domain in [GUEST, OTHER] {
            assert_eq!(vm.bed.assign(domain, SECOND), Err(Errno::EBADF));
        }
        assert_eq!(iommu.approve(SECOND), Err(Errno::EBUSY), "while somebody has of it");
        assert_eq!(iommu.restart(SECOND), Err(Errno::EBADF));

        assert_eq!(vm.bed.unassign(GUEST, 0, ONE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, ONE), Err(Errno::EBADF));
        assert_eq!(iommu.approve(ONE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, ONE), Err(Errno::EBADF), "its neighbour is stopped still");
        assert_eq!(iommu.restart(SECOND), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, ONE), Ok(()));
        assert_eq!(owner(vm.bed, SECOND), Some(OTHER));
        let second = other(vm);
        drive(&second, ONE);
        drive(&second, SECOND);
        end(vm);
    });
}

/// Each of two guests has one: neither is worth more than the other.
#[test]
fn drives_of_two_guests_that_reach_each_other_all_of_a_sudden_are_both_stopped() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let second = other(vm);
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Ok(()));
        drive(vm, ONE);
        drive(&second, SECOND);
        let cleared = drives.space.control(PORTS[0]).unwrap() - REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[0], cleared), 2);
        assert_eq!([ONE, SECOND].map(|it| drives.fate(vm, it)), [Fate::Stopped; 2]);
        assert!(!works(vm, ONE) && !works(&second, SECOND));
        assert!(told(vm, ONE).contains(DeviceFlags::STOPPED));
        // Set again, it is as it was, but for somebody's word.
        let on = cleared | REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[0], on), 2);
        assert!(!together(vm) && !works(vm, ONE));
        for (domain, device) in [(GUEST, ONE), (OTHER, SECOND)] {
            assert_eq!(vm.bed.unassign(domain, 0, device), Ok(()));
            assert_eq!(vm.bed.iommu().approve(device), Ok(()));
            assert_eq!(vm.bed.iommu().restart(device), Ok(()));
            assert_eq!(vm.bed.assign(domain, device), Ok(()));
        }
        end(vm);
    });
}

/// Nobody has any: the groups are what they are now, and nothing is to be done.
#[test]
fn access_control_of_what_nobody_has_only_makes_other_groups() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let cleared = drives.space.control(PORTS[0]).unwrap() - REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[0], cleared), 0);
        assert_eq!(drives.fate(vm, ONE), Fate::Changed);
        assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(owner(vm.bed, ONE), Some(GUEST));
        end(vm);
    });
}

/// It reaches them already, and does DMA everywhere: what the owner has is stopped, for the neighbour cannot be.
#[test]
fn a_neighbour_behind_no_unit_stops_what_a_guest_has_when_it_is_let_through() {
    let mut room = Vec::new();
    let mut drives = drives_behind(&mut room, None);
    with(&drives.config.clone(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        drive(vm, ONE);
        let cleared = drives.space.control(PORTS[1]).unwrap() - REDIRECTION;
        assert_eq!(drives.is_set(vm, PORTS[1], cleared), 1);
        assert_eq!(drives.fate(vm, ONE), Fate::Stopped);
        assert!(!works(vm, ONE) && stats(vm.bed, ONE).tainted);
        end(vm);
    });
}

/// Another register than before, in both directions at once: what is open now is what counts.
#[test]
fn access_control_that_is_cleared_and_set_at_once_is_noticed_all_the_same() {
    let mut room = Vec::new();
    let mut drives = drives(&mut room);
    with(&drives.config.clone(), |vm| {
        let without_validation =
            drives.space.control(PORTS[1]).unwrap() - AcsBits::SOURCE_VALIDATION;
        assert_eq!(drives.is_set(vm, PORTS[1], without_validation), 0);
        let cleared = (without_validation - REDIRECTION) | AcsBits::SOURCE_VALIDATION;
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()), "both");
        assert_eq!(drives.is_set(vm, PORTS[1], cleared), 0, "they were together before");
        assert!(drives.is_known_as_it_is() && drives.space.reaches(SECOND, ONE) && together(vm));
        end(vm);
    });
}
