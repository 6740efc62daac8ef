//! A group is split only by name: each device of it that has another owner, or the owner.

use pviommu_abi::{DeviceFlags, Errno};
use pviommu_hypervisor::{OptIns, Risks, Scope};

use super::kit::{ALONE, BELOW, BESIDE, config, is_told, owners, stats};
use crate::kit::{DEVICE, GUEST, OTHER, Vm, with};

fn accept(vm: &Vm<'_>, device: pviommu_abi::PciDevice) {
    let accepted = vm.bed.iommu().accept_risks(device, Scope::Device, Risks::SPLIT_GROUP);
    assert_eq!(accepted, Ok(()));
}

fn end(vm: &Vm<'_>) {
    assert_eq!(vm.bed.teardown(OTHER, 0), 0);
    vm.end();
}

#[test]
fn a_group_is_split_between_owners_if_that_is_accepted_for_each_of_the_devices() {
    with(&config(), |vm| {
        accept(vm, DEVICE);
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST), None, None]);
        assert!(stats(vm.bed, DEVICE).alone);
        assert_eq!(vm.bed.assign(OTHER, BESIDE), Err(Errno::EBUSY), "this one is not");
        accept(vm, BESIDE);
        assert_eq!(vm.bed.assign(OTHER, BESIDE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST), Some(OTHER), None]);
        assert_eq!(vm.bed.assign(OTHER, BELOW), Err(Errno::EBUSY));
        assert!(is_told(vm, DEVICE, DeviceFlags::HIDDEN_MEMBERS | DeviceFlags::SHARING_RISK));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(owners(vm.bed), [None, Some(OTHER), None]);
        end(vm);
    });
}

/// What was given whole is not split by what is accepted later.
#[test]
fn a_group_that_one_has_whole_is_not_split() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        let all = Risks::SPLIT_GROUP;
        assert_eq!(vm.bed.iommu().accept_risks(DEVICE, Scope::Group, all), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EBUSY));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(owners(vm.bed), [None; 3], "it goes as it came");
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        end(vm);
    });
}

/// The rest is given whole to who has the one already.
#[test]
fn who_has_one_of_a_group_is_given_the_rest_of_it() {
    with(&config(), |vm| {
        accept(vm, DEVICE);
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST); 3]);
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EBUSY), "the rest is not for sharing");
        assert_eq!(vm.bed.unassign(GUEST, 0, BESIDE), Ok(()));
        assert_eq!(owners(vm.bed), [None; 3]);
        vm.end();
    });
}

#[test]
fn domains_whose_administrators_are_trusted_share_a_group_among_each_other_only() {
    for trusted in 0..4usize {
        let mut config = config();
        for (bit, domain) in config.domains.iter_mut().enumerate() {
            if trusted & 1 << bit != 0 {
                domain.opt_ins = OptIns::SPLIT_GROUPS;
            }
        }
        with(&config, |vm| {
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
            let expected = if trusted == 3 { Ok(()) } else { Err(Errno::EBUSY) };
            assert_eq!(vm.bed.assign(OTHER, BESIDE), expected, "{trusted}");
            assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
            assert!(!stats(vm.bed, ALONE).alone, "there is no rest");
            end(vm);
        });
    }
}

/// To another domain it goes as it came.
#[test]
fn what_was_given_alone_goes_to_another_domain_alone() {
    with(&config(), |vm| {
        accept(vm, BESIDE);
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        assert_eq!(vm.bed.reassign(GUEST, OTHER, BESIDE), Ok(()));
        assert_eq!(owners(vm.bed), [None, Some(OTHER), None]);
        end(vm);
    });
}
