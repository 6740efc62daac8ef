//! Groups change when that was planned, and only those that nobody has anything of.

use std::sync::atomic::{AtomicU32, Ordering};

use pviommu_abi::{Errno, PciDevice};
use pviommu_hypervisor::{NewGroup, RegroupError};

use super::kit::{ALONE, BELOW, BESIDE, GROUP, config, grouped, owners, query, stats};
use crate::kit::{DEVICE, GUEST, OTHER, Vm, with};

/// Begins the change and ends it.
fn regroup(vm: &Vm<'_>, mut groups: Vec<NewGroup>) -> Result<(), RegroupError> {
    vm.bed.iommu().begin_regroup(&mut groups)?.finish()
}

fn groups(vm: &Vm<'_>) -> [Option<u32>; 4] {
    [DEVICE, BESIDE, BELOW, ALONE].map(|device| stats(vm.bed, device).group)
}

fn end(vm: &Vm<'_>) {
    assert_eq!(vm.bed.teardown(OTHER, 0), 0);
    vm.end();
}

#[test]
fn groups_that_nobody_has_change_and_are_given_as_they_are_then() {
    with(&config(), |vm| {
        assert_eq!(regroup(vm, grouped(&[(DEVICE, 1), (BESIDE, 1)])), Ok(()));
        assert_eq!(groups(vm), [Some(1), Some(1), None, None]);
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST), Some(GUEST), None]);
        assert_eq!(vm.bed.assign(OTHER, BELOW), Ok(()));
        assert_eq!(vm.bed.unassign(GUEST, 0, BESIDE), Ok(()));
        assert_eq!(vm.bed.unassign(OTHER, 0, BELOW), Ok(()));
        assert_eq!(regroup(vm, grouped(&GROUP.map(|device| (device, 9)))), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, BELOW), Ok(()));
        assert_eq!(owners(vm.bed), [Some(OTHER); 3]);
        end(vm);
    });
}

/// It grows, it shrinks, it is parted, others join: each is refused and changes nothing.
#[test]
fn a_group_with_an_owner_does_not_change() {
    let all = GROUP.map(|device| (device, 7));
    let refused: [Vec<(PciDevice, u32)>; 5] = [
        all.into_iter().chain([(ALONE, 7)]).collect(),
        all[..2].to_vec(),
        vec![],
        vec![(DEVICE, 1), (BESIDE, 2), (BELOW, 2)],
        vec![(DEVICE, 7), (BESIDE, 7), (BELOW, 3), (ALONE, 3)],
    ];
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        let before = groups(vm);
        for new in &refused {
            let end = regroup(vm, grouped(new));
            let names = |device: &PciDevice| end == Err(RegroupError::Owned(*device, GUEST));
            assert!(GROUP.iter().any(names), "{end:?} {new:?}");
            assert_eq!(groups(vm), before);
            assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EBUSY));
        }
        // Of another domain, whose device would join.
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
        assert_eq!(regroup(vm, grouped(&refused[0])), Err(RegroupError::Owned(ALONE, OTHER)));
        assert_eq!(regroup(vm, grouped(&refused[3])), Ok(()), "the rest is nobody's");
        end(vm);
    });
}

/// Sets are compared: other numbers are no change, and the guest keeps what it has.
#[test]
fn a_group_that_gets_another_number_has_not_changed() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, BESIDE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, ALONE), Ok(()));
        for (one, other) in [(3, Some(7)), (7, None), (0, Some(u32::MAX)), (u32::MAX, Some(0))] {
            let mut new: Vec<_> = GROUP.iter().map(|device| (*device, one)).collect();
            new.extend(other.map(|other| (ALONE, other)));
            let mut new = grouped(&new);
            let change = vm.bed.iommu().begin_regroup(&mut new).unwrap();
            assert_eq!(change.changes().count(), 0);
            assert_eq!(change.finish(), Ok(()));
            assert_eq!(query(vm, DEVICE).group, query(vm, BELOW).group);
            assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EBUSY));
        }
        assert_eq!(vm.bed.unassign(GUEST, 0, BESIDE), Ok(()));
        assert_eq!(owners(vm.bed), [None; 3]);
        end(vm);
    });
}

/// Between the two halves what changes is nobody's, in the old grouping and in the new one.
#[test]
fn what_is_being_changed_is_given_to_nobody_and_all_else_is() {
    with(&config(), |vm| {
        let iommu = vm.bed.iommu();
        let mut new = grouped(&[(DEVICE, 7), (BESIDE, 7)]);
        let change = iommu.begin_regroup(&mut new).unwrap();
        let mut changes: Vec<_> = change.changes().collect();
        changes.sort_by_key(|device| device.sbdf());
        assert_eq!(changes, GROUP);
        for device in GROUP {
            assert_eq!(vm.bed.assign(GUEST, device), Err(Errno::EAGAIN));
        }
        assert_eq!(vm.bed.assign(GUEST, ALONE), Ok(()));
        let mut second = grouped(&[]);
        assert_eq!(iommu.begin_regroup(&mut second).err(), Some(RegroupError::Busy));
        // The registers could not be written.
        change.abandon();
        assert_eq!(groups(vm), [Some(7), Some(7), Some(7), None]);
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        assert_eq!(owners(vm.bed), [Some(GUEST); 3]);
        assert_eq!(vm.bed.unassign(GUEST, 0, BELOW), Ok(()));
        // Forgotten, it is given up, too.
        drop(iommu.begin_regroup(&mut new));
        assert_eq!(regroup(vm, grouped(&[(DEVICE, 7), (BESIDE, 7)])), Ok(()));
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        assert_eq!(owners(vm.bed), [None, None, Some(GUEST)]);
        vm.end();
    });
}

#[test]
fn a_list_of_another_length_is_refused() {
    with(&config(), |vm| {
        for length in [0, 3, 5] {
            let mut new = vec![NewGroup::new(None); length];
            let iommu = vm.bed.iommu();
            assert_eq!(iommu.begin_regroup(&mut new).err(), Some(RegroupError::WrongLength));
            assert_eq!(iommu.group_changed(&mut new), Err(RegroupError::WrongLength));
        }
        vm.end();
    });
}

/// One CPU changes groups all the time, and another gives and takes: nobody has part of a group.
#[test]
fn whoever_is_given_something_meanwhile_has_a_whole_group() {
    let mut config = config();
    config.cpus = 2;
    with(&config, |vm| {
        let (bed, iommu) = (vm.bed, vm.bed.iommu());
        let ways = [grouped(&[(DEVICE, 1), (BESIDE, 1)]), grouped(&[(DEVICE, 2), (BELOW, 2)])];
        let (done, given) = (AtomicU32::new(0), AtomicU32::new(0));
        let enough = || done.load(Ordering::Relaxed) > 50 && given.load(Ordering::Relaxed) > 50;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for mut new in ways.iter().cycle().cloned().take_while(|_| !enough()) {
                    let change = iommu.begin_regroup(&mut new);
                    std::thread::yield_now();
                    if change.is_ok_and(|change| change.finish().is_ok()) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::yield_now();
                }
            });
            while !enough() {
                if iommu.assign(bed.domain(GUEST), 1, DEVICE).is_err() {
                    std::thread::yield_now();
                    continue;
                }
                // It cannot change now.
                let (has, group) = (owners(bed), stats(bed, DEVICE).group);
                let of_it = GROUP.map(|it| it == DEVICE || group == stats(bed, it).group);
                assert_eq!(has.map(|owner| owner == Some(GUEST)), of_it);
                assert_eq!(iommu.unassign(bed.domain(GUEST), 1, DEVICE), Ok(()));
                given.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        vm.end();
    });
}
