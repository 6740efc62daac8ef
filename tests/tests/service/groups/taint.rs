//! Groups change and nobody asked: what became reachable is cut off, and nobody is given any of it.

use pviommu_abi::{DeviceFlags, DomId, Errno, PciDevice};
use pviommu_hypervisor::{
    DefaultMap, Fate, NewGroup, OptIns, RegroupError, Risks, Scope,
    operator::Reason,
    platform::{Access, SourceId},
};

use super::kit::{ALONE, BELOW, BESIDE, GROUP, config, fate, grouped, is_told, owners, stats};
use crate::kit::{DEVICE, GUEST, OTHER, Vm, with};

/// What has changed already, and how many devices are tainted.
fn changed(vm: &Vm<'_>, groups: &[(PciDevice, u32)]) -> (usize, Vec<NewGroup>) {
    let mut groups = grouped(groups);
    let count = vm.bed.iommu().group_changed(&mut groups).unwrap();
    (count, groups)
}

fn is_stopped(vm: &Vm<'_>, device: PciDevice) -> bool {
    let stopped = stats(vm.bed, device).stopped;
    assert_eq!(vm.bed.board().is_stopped(device), stopped, "the unit was told");
    stopped
}

fn end(vm: &Vm<'_>) {
    assert_eq!(vm.bed.teardown(OTHER, 0), 0);
    vm.end();
}

/// Nobody's device comes within reach of a guest's: it is switched off, and the guest goes on.
#[test]
fn what_joins_the_group_of_an_owner_is_stopped() {
    with(&config().with_default_map(DefaultMap::Guest), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let new: Vec<_> = GROUP.iter().chain([&ALONE]).map(|device| (*device, 7)).collect();
        let (count, told) = changed(vm, &new);
        assert_eq!(count, 4);
        assert_eq!(fate(&told, ALONE), Fate::Stopped);
        for device in GROUP {
            assert_eq!(fate(&told, device), Fate::Tainted);
            assert!(stats(vm.bed, device).tainted && !is_stopped(vm, device));
            assert!(vm.lands_in(device, 5, 5), "who has it keeps it");
        }
        assert!(is_stopped(vm, ALONE));
        assert_eq!(vm.bed.iommu().restart(ALONE), Err(Errno::EBADF));
        assert!(is_stopped(vm, ALONE));
        assert_eq!(vm.bed.assign(OTHER, ALONE), Err(Errno::EBADF));
        assert_eq!(vm.bed.assign(GUEST, ALONE), Err(Errno::EBADF));
        end(vm);
    });
}

/// Two domains that can reach each other's devices: all of them are switched off.
#[test]
fn groups_of_two_owners_that_become_one_are_stopped() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
        let (count, told) = changed(vm, &[(DEVICE, 1), (ALONE, 1), (BESIDE, 2), (BELOW, 2)]);
        assert_eq!(count, 4);
        for (device, expected) in [
            (DEVICE, Fate::Stopped),
            (ALONE, Fate::Stopped),
            (BESIDE, Fate::Tainted),
            (BELOW, Fate::Tainted),
        ] {
            assert_eq!(fate(&told, device), expected, "{device}");
            assert_eq!(is_stopped(vm, device), expected == Fate::Stopped);
        }
        assert!(is_told(vm, DEVICE, DeviceFlags::STOPPED | DeviceFlags::HIDDEN_MEMBERS));
        assert!(!vm.writes(DEVICE, 5));
        let told = vm.bed.iommu().explain(0, SourceId(DEVICE), 5 << 12, Access::WRITE).unwrap();
        assert_eq!(told.reason, Reason::CutOff);
        let said = told.to_string();
        assert!(said.contains("no DMA until that is approved and it is started again"), "{said}");
        for device in [DEVICE, ALONE] {
            assert_eq!(vm.bed.iommu().restart(device), Err(Errno::EBADF));
            assert_eq!(vm.bed.iommu().approve(device), Err(Errno::EBUSY));
        }
        end(vm);
    });
}

/// It is given again when nobody has any of it and somebody has looked at it.
#[test]
fn a_tainted_group_is_given_to_nobody_until_it_is_unowned_and_approved() {
    with(&config(), |vm| {
        let iommu = vm.bed.iommu();
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let grown: Vec<_> = GROUP.iter().chain([&ALONE]).map(|device| (*device, 3)).collect();
        assert_eq!(changed(vm, &grown).0, 4);
        assert_eq!(iommu.approve(ALONE), Err(Errno::EBUSY));
        assert_eq!(vm.bed.unassign(GUEST, 0, BELOW), Ok(()));
        assert_eq!(owners(vm.bed), [None; 3], "what came together went");
        for device in GROUP.into_iter().chain([ALONE]) {
            assert_eq!(vm.bed.assign(OTHER, device), Err(Errno::EBADF));
        }
        // Back as it was: that heals nothing by itself.
        let (count, told) = changed(vm, &GROUP.map(|device| (device, 7)));
        assert_eq!((count, fate(&told, DEVICE)), (0, Fate::Changed));
        assert_eq!(vm.bed.assign(OTHER, BESIDE), Err(Errno::EBADF));
        assert_eq!(iommu.approve(BELOW), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, BESIDE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(OTHER); 3]);
        assert_eq!(vm.bed.assign(GUEST, ALONE), Err(Errno::EBADF), "that one was not");
        assert_eq!(iommu.approve(ALONE), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, ALONE), Err(Errno::EBADF), "it is stopped still");
        assert_eq!(iommu.restart(ALONE), Ok(()));
        assert!(!is_stopped(vm, ALONE));
        assert_eq!(vm.bed.assign(GUEST, ALONE), Ok(()));
        assert_eq!(iommu.approve(PciDevice::new(0, 9, 9, 0)), Err(Errno::ENODEV));
        end(vm);
    });
}

/// What became smaller reaches nobody new: nothing is stopped, and it is tainted all the same.
#[test]
fn a_group_of_an_owner_that_is_parted_is_tainted_and_goes_on() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let (count, told) = changed(vm, &[(DEVICE, 7), (BESIDE, 7)]);
        assert_eq!(count, 3);
        for device in GROUP {
            assert_eq!(fate(&told, device), Fate::Tainted);
            assert!(!is_stopped(vm, device));
        }
        assert_eq!(fate(&told, ALONE), Fate::Unchanged);
        vm.end();
    });
}

#[test]
fn a_change_of_what_nobody_has_taints_nothing() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
        let (count, told) = changed(vm, &[(DEVICE, 7), (BESIDE, 7)]);
        assert_eq!((count, fate(&told, BELOW)), (0, Fate::Changed));
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        let (count, _) = changed(vm, &[(DEVICE, 8), (BESIDE, 8), (ALONE, 4)]);
        assert_eq!(count, 0, "numbers only");
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Ok(()));
        end(vm);
    });
}

/// Owners that share a group by consent: what joins is stopped, and they are not.
#[test]
fn owners_who_share_a_group_at_that_risk_are_not_stopped_by_a_third_device() {
    for one_is_not_asked in [false, true] {
        let mut config = config();
        config.domains.iter_mut().for_each(|it| it.opt_ins = OptIns::SPLIT_GROUPS);
        if one_is_not_asked {
            // It has what it has by no risk: it was alone.
            config.devices[2].group = None;
        }
        with(&config, |vm| {
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
            assert_eq!(vm.bed.assign(OTHER, BELOW), Ok(()));
            let new: Vec<_> = GROUP.iter().chain([&ALONE]).map(|device| (*device, 3)).collect();
            let (count, _) = changed(vm, &new);
            assert_eq!(count, 4);
            let expected = [one_is_not_asked, true, one_is_not_asked, true];
            assert_eq!([DEVICE, BESIDE, BELOW, ALONE].map(|it| is_stopped(vm, it)), expected);
            end(vm);
        });
    }
}

/// What was begun is void, and what it kept is free.
#[test]
fn a_change_that_has_happened_voids_one_that_was_begun() {
    with(&config(), |vm| {
        let iommu = vm.bed.iommu();
        let mut new = grouped(&[]);
        let change = iommu.begin_regroup(&mut new).unwrap();
        let (count, _) = changed(vm, &[(DEVICE, 7), (BESIDE, 7)]);
        assert_eq!(count, 0);
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        let mut next = grouped(&[(DEVICE, 7), (BESIDE, 7), (ALONE, 7)]);
        let second = iommu.begin_regroup(&mut next).unwrap();
        assert_eq!(change.finish(), Err(RegroupError::Void));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::EAGAIN), "the second one goes on");
        assert_eq!(second.finish(), Ok(()));
        assert_eq!(stats(vm.bed, ALONE).group, Some(7));
        vm.end();
    });
}

/// From one domain to another: what is tainted meanwhile stays where it is.
#[test]
fn a_tainted_group_is_not_reassigned() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(changed(vm, &[]).0, 3);
        let all = Risks::all();
        assert_eq!(vm.bed.iommu().accept_risks(DEVICE, Scope::Group, all), Ok(()));
        let end = vm.bed.reassign(GUEST, OTHER, DEVICE);
        assert_eq!(end, Err(pviommu_hypervisor::ReassignError::Kept(Errno::EBADF)));
        let has: [Option<DomId>; 3] = owners(vm.bed);
        assert_eq!(has, [Some(GUEST); 3]);
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}
