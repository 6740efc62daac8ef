//! A group is given whole and taken away whole.

use pviommu_abi::{DeviceFlags, Errno};
use pviommu_hypervisor::DefaultMap;

use super::kit::{ALONE, BELOW, BESIDE, GROUP, config, is_told, owners, query, stats};
use crate::kit::{DEVICE, GUEST, OTHER, RW, with};

#[test]
fn who_is_given_one_device_of_a_group_gets_all_of_it_and_nobody_else_any() {
    for asked in GROUP {
        with(&config(), |vm| {
            assert_eq!(vm.bed.assign(GUEST, asked), Ok(()));
            assert_eq!(owners(vm.bed), [Some(GUEST); 3]);
            for device in GROUP {
                assert_eq!(vm.bed.assign(OTHER, device), Err(Errno::EBUSY));
                assert_eq!(vm.bed.unassign(OTHER, 0, device), Err(Errno::ENODEV));
            }
            assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
            assert_eq!(vm.bed.assign(GUEST, asked), Err(Errno::EBUSY), "it has it");
            assert_eq!(vm.bed.unassign(GUEST, 0, BELOW), Ok(()));
            assert_eq!(owners(vm.bed), [None; 3]);
            assert_eq!(vm.bed.assign(OTHER, BESIDE), Ok(()));
            assert_eq!(owners(vm.bed), [Some(OTHER); 3]);
            assert_eq!(vm.bed.teardown(OTHER, 0), 0);
            assert_eq!(owners(vm.bed), [None; 3]);
            vm.end();
        });
    }
}

/// Unless the embedder forbids it, each is where its driver put it.
#[test]
fn of_one_owner_devices_of_a_group_may_be_in_contexts_of_their_own() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 10, 1) && !vm.reads(BESIDE, 10), "contexts are not shared");
        assert_eq!(vm.attach(BESIDE, context), 0);
        assert!(vm.lands_in(BESIDE, 10, 1) && !vm.reads(BELOW, 10));
        vm.end();
    });
}

/// All of it starts in the default context, with what is mapped there.
#[test]
fn a_group_that_is_given_finds_the_default_map() {
    with(&config().with_default_map(DefaultMap::Guest), |vm| {
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        assert!(GROUP.into_iter().all(|device| vm.lands_in(device, 5, 5)));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert!(!GROUP.into_iter().any(|device| vm.reads(device, 5)));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

/// Of two domains that ask at the same time for one device each, one gets everything.
#[test]
fn of_two_domains_that_race_for_a_group_one_gets_all_of_it() {
    let mut config = config();
    config.cpus = 2;
    for round in 0..40 {
        with(&config, |vm| {
            let iommu = vm.bed.iommu();
            let give = |domain, cpu, device| iommu.assign(vm.bed.domain(domain), cpu, device);
            let asked = if round % 2 == 0 { (DEVICE, BELOW) } else { (BELOW, DEVICE) };
            let (first, second) = std::thread::scope(|scope| {
                let first = scope.spawn(|| give(GUEST, 0, asked.0));
                let second = scope.spawn(|| give(OTHER, 1, asked.1));
                (first.join().unwrap(), second.join().unwrap())
            });
            let winner = match (first, second) {
                (Ok(()), Err(Errno::EBUSY)) => GUEST,
                (Err(Errno::EBUSY), Ok(())) => OTHER,
                other => unreachable!("{other:?}"),
            };
            assert_eq!(owners(vm.bed), [Some(winner); 3]);
            GROUP.into_iter().for_each(|device| vm.bed.note_owner(device));
            assert_eq!(vm.bed.teardown(OTHER, 0), 0);
            vm.end();
        });
    }
}

/// While the devices of a dying domain go one by one, nobody gets any.
#[test]
fn a_group_is_given_again_when_the_last_of_it_has_left_a_dying_domain() {
    use pviommu_hypervisor::Outcome;
    use pviommu_testbed::machine::{Step, When};
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Ok(()));
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let tear_down = || vm.bed.iommu().teardown(vm.bed.domain(OTHER), 0);
        for left in [2, 1] {
            assert_eq!(tear_down(), Outcome::Continue);
            let has = owners(vm.bed).into_iter().flatten().count();
            assert_eq!(has, left);
            assert!(GROUP.into_iter().all(|it| vm.bed.assign(GUEST, it) == Err(Errno::EBUSY)));
        }
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        vm.end();
    });
}

#[test]
fn a_guest_is_told_which_of_its_devices_are_of_one_group() {
    with(&config(), |vm| {
        for device in [DEVICE, ALONE] {
            assert_eq!(vm.bed.assign(GUEST, device), Ok(()));
        }
        let told = [DEVICE, BESIDE, BELOW, ALONE].map(|device| query(vm, device));
        assert!(told.iter().all(|it| !it.state.contains(DeviceFlags::HIDDEN_MEMBERS)));
        assert_eq!(told[0].group, told[1].group);
        assert_eq!(told[0].group, told[2].group);
        assert_ne!(told[0].group, told[3].group);
        assert_ne!(told[0].moves_with, told[1].moves_with, "each in a context of its own");
        for (device, shared) in [(DEVICE, true), (BELOW, true), (ALONE, false)] {
            assert_eq!(is_told(vm, device, DeviceFlags::SHARING_RISK), shared);
        }
        assert!(stats(vm.bed, BELOW).to_string().contains("of group 7"));
        vm.end();
    });
}
