//! A group is given whole.

use pviommu_abi::{DeviceFlags, Errno};
use pviommu_testbed::machine::Config;

use super::kit::{ALONE, BESIDE, query, unowned};
use crate::kit::{DEVICE, GUEST, OTHER, RW, two_guests, with};

/// Two devices of one group and one that is alone; nobody has any.
fn config() -> Config {
    let devices = vec![unowned(DEVICE, Some(7)), unowned(BESIDE, Some(7)), unowned(ALONE, None)];
    Config { devices, ..two_guests(16) }
}

#[test]
fn a_device_is_given_to_nobody_but_who_has_the_others_of_its_group() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, BESIDE), Err(Errno::EBUSY));
        assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 10, 1) && !vm.reads(BESIDE, 10), "contexts are not shared");
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EBUSY), "one is left");
        assert_eq!(vm.bed.unassign(GUEST, 0, BESIDE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, BESIDE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::EBUSY));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

/// Of two domains that ask at the same time for one device each, one gets nothing.
#[test]
fn two_domains_that_race_for_a_group_do_not_share_it() {
    let mut config = config();
    config.cpus = 2;
    for _ in 0..40 {
        with(&config, |vm| {
            let iommu = vm.bed.iommu();
            let give = |domain, cpu, device| iommu.assign(vm.bed.domain(domain), cpu, device);
            vm.bed.board().set_device_owner(DEVICE, Some(GUEST));
            vm.bed.board().set_device_owner(BESIDE, Some(OTHER));
            let (first, second) = std::thread::scope(|scope| {
                let first = scope.spawn(|| give(GUEST, 0, DEVICE));
                let second = scope.spawn(|| give(OTHER, 1, BESIDE));
                (first.join().unwrap(), second.join().unwrap())
            });
            assert!([first, second].contains(&Err(Errno::EBUSY)), "{first:?} {second:?}");
            assert!([first, second].contains(&Ok(())), "{first:?} {second:?}");
            assert_eq!(vm.bed.teardown(OTHER, 0), 0);
            vm.end();
        });
    }
}

#[test]
fn a_guest_is_told_which_of_its_devices_are_of_one_group_and_whether_there_are_others() {
    with(&config(), |vm| {
        for device in [DEVICE, ALONE] {
            assert_eq!(vm.bed.assign(GUEST, device), Ok(()));
        }
        assert!(query(vm, DEVICE).state.contains(DeviceFlags::HIDDEN_MEMBERS));
        assert!(!query(vm, ALONE).state.contains(DeviceFlags::HIDDEN_MEMBERS));
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        let told = [DEVICE, BESIDE, ALONE].map(|device| query(vm, device));
        assert!(told.iter().all(|it| !it.state.contains(DeviceFlags::HIDDEN_MEMBERS)));
        assert_eq!(told[0].group, told[1].group);
        assert_ne!(told[0].group, told[2].group);
        assert_ne!(told[0].moves_with, told[1].moves_with, "each in a context of its own");
        vm.end();
    });
}
