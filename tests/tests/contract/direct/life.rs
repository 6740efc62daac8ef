//! INV-31: a direct range is there from before the device comes until after it has left.

use pviommu_abi::{ContextId, FreeFlags, OwnershipMode};
use pviommu_hypervisor::{Background, DefaultMap, Role};
use pviommu_testbed::machine::{Config, Step, When};

use super::kit::{ALL, READ_ONLY, SECOND, THIRD, check, direct, machine};
use crate::{
    kit::{DEVICE, GUEST, RW, Vm, with},
    switch::kit::take,
};

/// One page; pages of two leaf tables; a large leaf; a large leaf with pages around it.
fn ranges() -> [pviommu_hypervisor::Reserved; 4] {
    [
        direct(0x8000, 1, ALL),
        direct(0x81fd, 7, READ_ONLY),
        direct(0x8400, 512, ALL),
        direct(0x87ff, 514, READ_ONLY),
    ]
}

fn config() -> Config {
    let ranges = ranges();
    machine(&[&ranges[..2], &ranges[2..], &ranges[..1]])
}

fn check_all(vm: &Vm<'_>) {
    let [page, across, large, around] = ranges();
    for range in [page, across] {
        check(vm, DEVICE, &range);
    }
    for range in [large, around] {
        check(vm, SECOND, &range);
    }
    check(vm, THIRD, &page);
}

/// Everything that can happen to a device.
fn live(vm: &Vm<'_>) {
    check_all(vm);
    let (first, second) = (vm.context(), vm.context());
    for context in [first, second, ContextId::DEFAULT, second, first] {
        for device in [DEVICE, SECOND, THIRD] {
            assert_eq!(vm.attach(device, context), 0);
            check_all(vm);
        }
        if context != ContextId::DEFAULT {
            for (bfn, pages) in [(0x7fff, 1), (0x8001, 30), (0x8201, 1), (0x8204, 3)] {
                // The first of these ends where a range begins.
                let (status, mapped) = vm.map(context, bfn, 1, pages, RW);
                let expected = if bfn == 0x8201 { (-99, 0) } else { (0, pages) };
                assert_eq!((status, mapped), expected, "{bfn:#x}");
                assert_eq!(vm.unmap(context, bfn, pages), (status, mapped));
            }
            assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
            check_all(vm);
        }
    }
    assert_eq!(vm.free(second, FreeFlags::empty()), 0);
    assert_eq!(vm.free(first, FreeFlags::REATTACH_DEFAULT), 0);
    check_all(vm);
    if !vm.bed.domain(GUEST).need_iommu() {
        for mode in [
            OwnershipMode::CLEAR,
            OwnershipMode::GIVE_BACK,
            OwnershipMode::KEEP,
            OwnershipMode::GIVE_BACK,
        ] {
            assert_eq!(take(vm, mode), 0);
            check_all(vm);
        }
    }
    for device in [DEVICE, SECOND, THIRD] {
        assert_eq!(vm.bed.unassign(GUEST, 0, device), Ok(()));
        check_all(vm);
        assert_eq!(vm.bed.assign(GUEST, device), Ok(()));
        check_all(vm);
    }
    vm.end();
    // In quarantine, and for ever.
    check_all(vm);
}

#[test]
fn a_direct_range_is_always_mapped_with_its_access_whatever_map_the_domain_starts_with() {
    for map in
        [DefaultMap::Blocked, DefaultMap::Guest, DefaultMap::IdentityGfn, DefaultMap::IdentityMfn]
    {
        with(&config().with_default_map(map), live);
    }
}

#[test]
fn so_it_is_for_the_hardware_domain_with_a_host_map() {
    let mut config = config();
    config.domains[0].role = Role::Hardware;
    config.domains[0].opt_ins = pviommu_hypervisor::OptIns::empty();
    with(&config.with_default_map(DefaultMap::Host), live);
}

/// INV-54: at each point where a call can be interrupted, too.
#[test]
fn so_it_is_when_every_call_gives_way_as_often_as_it_can() {
    for map in [DefaultMap::Blocked, DefaultMap::Guest] {
        with(&config().with_default_map(map), |vm| {
            vm.bed.schedule().set(Step::Yield, When::Every(1));
            live(vm);
        });
    }
}

/// In quarantine the rest is blocked, or a page of the device's own.
#[test]
fn so_it_is_over_either_background_of_quarantine() {
    for background in [Background::Fault, Background::Scratch] {
        with(&config().with_quarantine(background), live);
    }
}

/// On units that cache what is not there, have write buffers, do not snoop, and have small leaves only.
#[test]
fn so_it_is_behind_two_unlike_units() {
    let mut config = config();
    config.units.push(pviommu_testbed::machine::poor_facts());
    config.devices[1].unit = pviommu_hypervisor::platform::UnitId(1);
    with(&config.with_default_map(DefaultMap::Guest), live);
}

/// INV-32: the use count.
#[test]
fn a_range_that_two_devices_need_stays_until_both_have_left() {
    let range = direct(0x8000, 3, ALL);
    with(&machine(&[&[range], &[range], &[]]), |vm| {
        let context = vm.context();
        assert_eq!(vm.attach(THIRD, context), 0);
        for leaves_first in [DEVICE, SECOND] {
            let stays = if leaves_first == DEVICE { SECOND } else { DEVICE };
            assert_eq!(vm.attach(DEVICE, context), 0);
            assert_eq!(vm.attach(SECOND, context), 0);
            assert_eq!(vm.attach(leaves_first, ContextId::DEFAULT), 0);
            check(vm, DEVICE, &range);
            check(vm, SECOND, &range);
            assert_eq!(vm.map(context, 0x8001, 1, 1, RW).0, -99);
            assert_eq!(vm.attach(stays, ContextId::DEFAULT), 0);
            // Devices that never needed it do not find it any more.
            assert!((0x8000..0x8003).all(|bfn| vm.hits_background(THIRD, bfn)));
            assert_eq!(vm.map(context, 0x7ff0, 1, 32, RW), (0, 32));
            assert!(vm.lands_in(THIRD, 0x8001, 0x12));
            assert_eq!(vm.unmap(context, 0x7ff0, 32), (0, 32));
        }
        vm.end();
    });
}
