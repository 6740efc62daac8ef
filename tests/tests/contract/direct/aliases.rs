//! INV-40: a device whose requests carry several ids is in one context with all of them, or it is
//! nowhere.

use pviommu_abi::{ContextId, Errno, PciDevice};
use pviommu_hypervisor::Reserved;
use pviommu_testbed::{
    iommu::DeviceEntry,
    machine::{Config, Half, Step, When},
};

use super::kit::{ALL, SECOND, check, direct, machine};
use crate::{
    kit::{DEVICE, GUEST, RW, Vm, err, with},
    switch::kit::take,
};

const ALIASES: [PciDevice; 3] = [
    PciDevice { seg: 0, bus: 0, devfn: (3 << 3) + 1 },
    PciDevice { seg: 0, bus: 4, devfn: 0 },
    PciDevice { seg: 0, bus: 0, devfn: 1 },
];

fn sources() -> Vec<PciDevice> {
    [DEVICE].into_iter().chain(ALIASES).collect()
}

/// Tags are few, so that none may be lost.
fn config(ranges: &[Reserved]) -> Config {
    let mut config = machine(&[ranges, &[]]);
    config.devices[0].aliases = ALIASES.to_vec();
    config.units[0].tags = 8;
    config
}

fn entries(vm: &Vm<'_>) -> Vec<DeviceEntry> {
    vm.bed.board().device_entries(DEVICE)
}

/// True if all the ids of the device find the page at `bfn`.
fn all_land(vm: &Vm<'_>, bfn: u64, gfn: u64) -> bool {
    sources().into_iter().all(|source| vm.lands_in(source, bfn, gfn))
}

fn none_reads(vm: &Vm<'_>, bfn: u64) -> bool {
    sources().into_iter().all(|source| !vm.reads(source, bfn))
}

#[test]
fn a_device_moves_with_all_its_ids() {
    let range = direct(0x8000, 2, ALL);
    with(&config(&[range]), |vm| {
        let (first, second) = (vm.context(), vm.context());
        assert_eq!(vm.map(first, 10, 1, 1, RW), (0, 1));
        assert_eq!(vm.map(second, 10, 2, 1, RW), (0, 1));
        for (context, gfn) in [(first, 1), (second, 2), (first, 1)] {
            assert_eq!(vm.attach(DEVICE, context), 0);
            assert!(all_land(vm, 10, gfn));
            sources().into_iter().for_each(|source| check(vm, source, &range));
        }
        assert_eq!(vm.unmap(first, 10, 1), (0, 1));
        assert!(none_reads(vm, 10));
        assert_eq!(vm.attach(ALIASES[0], second), err(Errno::ENODEV), "no device of its own");
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert_eq!(take(vm, pviommu_abi::OwnershipMode::CLEAR), 0);
        assert_eq!(vm.map(ContextId::DEFAULT, 11, 3, 1, RW), (0, 1));
        assert!(all_land(vm, 11, 3));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert!(none_reads(vm, 11));
        sources().into_iter().for_each(|source| check(vm, source, &range));
        vm.end();
    });
}

/// More often than there are tags, so that a tag that is lost shows.
#[test]
fn a_device_that_is_refused_at_any_of_its_ids_stays_where_it_was() {
    for ranges in [vec![], vec![direct(0x8000, 2, ALL)]] {
        with(&config(&ranges), |vm| {
            let (from, to) = (vm.attached_context(), vm.context());
            assert_eq!(vm.map(from, 10, 1, 1, RW), (0, 1));
            assert_eq!(vm.map(to, 10, 2, 1, RW), (0, 1));
            assert_eq!(vm.attach(SECOND, to), 0);
            assert_eq!(vm.attach(SECOND, ContextId::DEFAULT), 0);
            let before = entries(vm);
            let frames = vm.bed.domain(GUEST).stats().table_frames;
            for round in 0..12 {
                vm.bed.schedule().set(Step::AttachRefused, When::Nth(round % 4 + 1));
                assert_eq!(vm.attach(DEVICE, to), err(Errno::ENOMEM));
                vm.bed.schedule().clear();
                assert_eq!(entries(vm), before);
                assert!(all_land(vm, 10, 1), "the old context works");
                ranges.iter().for_each(|range| check(vm, DEVICE, range));
                assert_eq!(vm.map(from, 20, 5, 1, RW), (0, 1), "and is edited");
                assert!(all_land(vm, 20, 5));
                assert_eq!(vm.unmap(from, 20, 1), (0, 1));
                assert!(none_reads(vm, 20));
                // What was reserved in the new one is not any more.
                assert_eq!(vm.map(to, 0x8000, 3, 2, RW), (0, 2));
                assert_eq!(vm.unmap(to, 0x8000, 2), (0, 2));
            }
            assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
            assert_eq!(vm.bed.domain(GUEST).stats().table_frames, frames);
            assert_eq!(vm.attach(DEVICE, to), 0);
            assert!(all_land(vm, 10, 2));
            vm.end();
        });
    }
}

/// From and to being blocked, and in quarantine.
#[test]
fn a_device_that_is_refused_on_its_first_move_is_blocked_or_in_quarantine_still() {
    for ranges in [vec![], vec![direct(0x8000, 2, ALL)]] {
        with(&config(&ranges), |vm| {
            let context = vm.context();
            assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
            let before = entries(vm);
            for n in 1..=4 {
                vm.bed.schedule().set(Step::AttachRefused, When::Nth(n));
                assert_eq!(vm.attach(DEVICE, context), err(Errno::ENOMEM));
                vm.bed.schedule().clear();
                assert_eq!(entries(vm), before);
                assert!(none_reads(vm, 10));
                ranges.iter().for_each(|range| check(vm, DEVICE, range));
            }
            assert_eq!(vm.attach(DEVICE, context), 0);
            vm.end();
        });
    }
}

#[test]
fn a_device_that_is_refused_is_not_assigned_and_not_broken() {
    let ranges = [direct(0x8000, 2, ALL)];
    let mut config = config(&ranges).with_default_map(pviommu_hypervisor::DefaultMap::Guest);
    config.devices[0].unowned = true;
    with(&config, |vm| {
        let before = entries(vm);
        for n in 1..=4 {
            vm.bed.schedule().set(Step::AttachRefused, When::Nth(n));
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::ENOMEM));
            vm.bed.schedule().clear();
            assert_eq!(entries(vm), before);
            ranges.iter().for_each(|range| check(vm, DEVICE, range));
            assert!(none_reads(vm, 10));
        }
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert!(all_land(vm, 10, 10));
        vm.end();
    });
}

/// INV-43: it leaves its owner in any case. Where it is refused its quarantine it is blocked.
#[test]
fn a_device_that_is_refused_its_quarantine_is_blocked() {
    with(&config(&[direct(0x8000, 2, ALL)]), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert!(all_land(vm, 10, 1));
        vm.bed.schedule().set(Step::AttachRefused, When::Nth(3));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        vm.bed.schedule().clear();
        assert_eq!(entries(vm), [DeviceEntry::Blocked; 4]);
        assert!(none_reads(vm, 10));
        vm.end();
    });
}

#[test]
fn a_device_that_cannot_be_put_back_is_blocked_and_broken() {
    for back in 1..=3 {
        with(&config(&[direct(0x8000, 2, ALL)]), |vm| {
            let (from, to) = (vm.attached_context(), vm.context());
            assert_eq!(vm.map(from, 10, 1, 1, RW), (0, 1));
            assert_eq!(vm.map(to, 10, 2, 1, RW), (0, 1));
            assert!(all_land(vm, 10, 1));
            // Refused at one of its ids, and all that comes after.
            vm.bed.schedule().set(Step::AttachRefused, When::From(back + 1));
            assert_eq!(vm.attach(DEVICE, to), err(Errno::EIO));
            vm.bed.schedule().clear();
            assert_eq!(entries(vm), [DeviceEntry::Blocked; 4]);
            assert!(none_reads(vm, 10));
            assert_eq!(vm.attach(DEVICE, from), err(Errno::EIO), "it stays so");
            assert_eq!(entries(vm), [DeviceEntry::Blocked; 4]);
            // Nobody waits for it: its contexts are free of it.
            assert_eq!(vm.map(from, 0x8000, 3, 2, RW), (0, 2), "nothing is reserved for it");
            assert_eq!(vm.map(to, 0x8000, 3, 2, RW), (0, 2));
            for context in [from, to] {
                assert_eq!(vm.free(context, pviommu_abi::FreeFlags::empty()), 0);
            }
            assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::EBADF));
            assert_eq!(vm.bed.failed_units(), [], "the unit is well");
            vm.end();
        });
    }
}

/// INV-15: with a unit that failed half way, both contexts are left alone.
#[test]
fn a_unit_that_fails_at_any_id_breaks_the_device_and_freezes_both_contexts() {
    for half in [Half::Nothing, Half::Done] {
        for n in 1..=4 {
            with(&config(&[]), |vm| {
                let (from, to) = (vm.attached_context(), vm.context());
                assert_eq!(vm.map(from, 10, 1, 1, RW), (0, 1));
                assert_eq!(vm.map(to, 10, 2, 1, RW), (0, 1));
                vm.bed.schedule().hardware_fails(half);
                vm.bed.schedule().set(Step::Attach, When::Nth(n));
                assert_eq!(vm.attach(DEVICE, to), err(Errno::EIO));
                vm.bed.schedule().clear();
                for context in [from, to] {
                    assert_eq!(vm.unmap(context, 10, 1), (err(Errno::EIO), 0));
                    assert_eq!(vm.map(context, 11, 1, 1, RW), (err(Errno::EIO), 0));
                }
                assert_eq!(vm.bed.teardown(GUEST, 0), err(Errno::EIO));
                assert_eq!(vm.bed.counters().references_live, 2, "held for ever");
                assert!(vm.bed.assign(GUEST, DEVICE).is_err());
                assert_eq!(vm.bed.violations(), []);
            });
        }
    }
}
