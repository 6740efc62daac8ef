//! Whatever fails while a group is given, nothing of it stays given.

use pviommu_abi::Errno;
use pviommu_hypervisor::{Background, DefaultMap};
use pviommu_testbed::{
    iommu::DeviceEntry,
    machine::{Half, Step, When, try_run},
};

use super::kit::{BELOW, BESIDE, GROUP, config, direct, owners, stats};
use crate::{
    kinds,
    kit::{DEVICE, GUEST, OTHER, Vm, with},
};

fn entries(vm: &Vm<'_>) -> Vec<DeviceEntry> {
    GROUP.into_iter().flat_map(|device| vm.bed.board().device_entries(device)).collect()
}

#[test]
fn a_group_of_which_one_is_refused_its_entry_is_given_to_nobody() {
    with(&config().with_default_map(DefaultMap::Guest), |vm| {
        let before = entries(vm);
        // More often than there are tags, so that one that is lost shows.
        for n in (1..=3).cycle().take(300) {
            vm.bed.schedule().set(Step::AttachRefused, When::Nth(n));
            assert_eq!(vm.bed.assign(GUEST, BESIDE), Err(Errno::ENOMEM));
            vm.bed.schedule().clear();
            assert_eq!((owners(vm.bed), entries(vm)), ([None; 3], before.clone()));
        }
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Ok(()), "all of it is well");
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

/// What was behind the failed unit is broken, and so nobody's is the group.
#[test]
fn a_group_of_which_the_unit_fails_is_nobodys_for_good() {
    for half in [Half::Nothing, Half::Done] {
        for n in 1..=3 {
            with(&config().with_default_map(DefaultMap::Guest), |vm| {
                vm.bed.schedule().hardware_fails(half);
                vm.bed.schedule().set(Step::Attach, When::Nth(n));
                assert_eq!(vm.bed.assign(GUEST, BESIDE), Err(Errno::EIO));
                vm.bed.schedule().clear();
                assert_eq!(owners(vm.bed), [None; 3]);
                for device in GROUP {
                    assert_eq!(vm.bed.assign(OTHER, device), Err(Errno::EBADF));
                }
                assert_eq!(vm.bed.violations(), []);
            });
        }
    }
}

/// The opt-in for what the firmware of one needs, whichever it is.
#[test]
fn a_group_is_refused_for_what_one_of_it_lacks() {
    for at in 0..3 {
        let mut config = config();
        config.devices[at].reserved.push(direct());
        config.quarantine = Some(Background::Fault);
        with(&config, |vm| {
            for device in GROUP {
                assert_eq!(vm.bed.assign(GUEST, device), Err(Errno::EPERM));
                assert_eq!(owners(vm.bed), [None; 3]);
            }
            vm.end();
        });
    }
}

#[test]
fn a_group_of_which_one_was_stopped_is_given_when_that_is_started_again() {
    let mut config = config();
    config.faults.storm = 2;
    with(&config, |vm| {
        for _ in 0..4 {
            assert!(vm.bed.dma_write(BELOW, 1 << 58, &[0; 4]).is_err());
        }
        vm.bed.report_faults(0);
        assert!(stats(vm.bed, BELOW).stopped);
        for device in GROUP {
            assert_eq!(vm.bed.assign(GUEST, device), Err(Errno::EBADF));
        }
        assert_eq!(owners(vm.bed), [None; 3]);
        assert_eq!(vm.bed.iommu().restart(BELOW), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        vm.end();
    });
}

/// Whatever allocation fails while the quarantine of all of it is built.
#[test]
fn a_group_is_given_to_nobody_when_there_is_no_memory_for_the_quarantine_of_one() {
    let config = config().with_quarantine(Background::Scratch);
    let mut refused = 0;
    for n in 1.. {
        let given = try_run(&kinds::of_this_kind(&config), |bed| {
            bed.schedule().set(Step::Alloc, When::Nth(n));
            let given = bed.assign(GUEST, DEVICE);
            bed.schedule().clear();
            assert_eq!(owners(bed), [given.is_ok().then_some(GUEST); 3]);
            if given.is_err() {
                assert_eq!(bed.assign(OTHER, BELOW), Ok(()), "it is well");
            }
            assert_eq!((bed.teardown(GUEST, 0), bed.teardown(OTHER, 0)), (0, 0));
            bed.assert_clean();
            given
        });
        match given {
            Ok(Ok(())) => break,
            Ok(Err(Errno::ENOMEM)) => refused += 1,
            other => unreachable!("{other:?}"),
        }
    }
    assert!(refused > 6, "{refused}");
}
