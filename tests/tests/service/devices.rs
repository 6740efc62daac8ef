//! Devices between contexts, domains and failed units.

use pviommu_abi::{Bfn, ContextId, DomId, Errno, FreeFlags, PciDevice};
use pviommu_hypervisor::{ReservedKind, addr::BfnRange, platform::UnitId};
use pviommu_testbed::machine::{
    Config, DeviceConfig, DomainConfig, Half, Step, When, reserved, vtd_facts,
};

use crate::{
    kinds,
    kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest},
};

const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };

/// Two devices behind two units.
fn two_units() -> Config {
    let mut config = Config::one_guest(64);
    config.units.push(vtd_facts());
    config.devices.push(DeviceConfig {
        function: SECOND,
        unit: UnitId(1),
        ..DeviceConfig::default()
    });
    config
}

fn reserve(config: &mut Config, first: u64, pages: u64, kind: ReservedKind) {
    let range = BfnRange::of_pages(Bfn(first), pages).unwrap();
    config.devices[0].reserved.push(reserved(range, kind));
}

#[test]
fn a_device_sees_the_context_it_is_in_and_no_other() {
    with_guest(16, |vm| {
        let first = vm.attached_context();
        let second = vm.context();
        assert_eq!(vm.map(first, 10, 1, 1, RW), (0, 1));
        assert_eq!(vm.map(second, 10, 2, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 10, 1));
        assert_eq!(vm.attach(DEVICE, second), 0);
        assert!(vm.lands_in(DEVICE, 10, 2));
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert!(!vm.reads(DEVICE, 10));
        assert_eq!(vm.attach(DEVICE, first), 0);
        assert!(vm.lands_in(DEVICE, 10, 1));
        vm.end();
    });
}

#[test]
fn an_unmap_is_flushed_on_every_unit_that_serves_the_context() {
    with(&two_units(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.attach(SECOND, context), 0);
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 10, 1) && vm.lands_in(SECOND, 10, 1));
        assert_eq!(vm.unmap(context, 10, 1), (0, 1));
        assert!(!vm.writes(DEVICE, 10) && !vm.writes(SECOND, 10));
        vm.end();
    });
}

#[test]
fn a_context_with_several_devices_is_busy_until_the_last_has_left() {
    with(&two_units(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.attach(SECOND, context), 0);
        for device in [DEVICE, SECOND] {
            assert_eq!(vm.free(context, FreeFlags::empty()), err(Errno::EBUSY));
            assert_eq!(vm.attach(device, ContextId::DEFAULT), 0);
        }
        assert_eq!(vm.free(context, FreeFlags::empty()), 0);
        vm.end();
    });
}

/// INV-30, in either order of events.
#[test]
fn a_range_reserved_for_a_device_is_nobodys_where_the_device_is() {
    let mut config = Config::one_guest(16);
    reserve(&mut config, 0x8000, 4, ReservedKind::Reserved);
    reserve(&mut config, 0x9000, 4, ReservedKind::DirectRelaxable);
    with(&config, |vm| {
        let context = vm.context();
        assert_eq!(vm.map(context, 0x7ffc, 0, 8, RW), (0, 8), "no device, nothing reserved");
        assert_eq!(vm.attach(DEVICE, context), err(Errno::EADDRINUSE));
        assert_eq!(vm.unmap(context, 0x7ffc, 8), (0, 8));
        assert_eq!(vm.attach(DEVICE, context), 0);
        for first in 0x7ff9..0x8004 {
            assert_eq!(vm.map(context, first, 0, 8, RW), (err(Errno::EADDRNOTAVAIL), 0));
            assert_eq!(vm.unmap(context, first, 8), (err(Errno::EADDRNOTAVAIL), 0));
        }
        assert_eq!(vm.map(context, 0x9000, 0, 4, RW), (0, 4), "relaxable: told, not enforced");
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert_eq!(vm.map(context, 0x8000, 0, 4, RW), (0, 4), "it went with the device");
        vm.end();
    });
}

#[test]
fn a_device_has_one_owner_at_a_time() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::EBUSY));
        assert!(vm.lands_in(DEVICE, 10, 1));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert!(!vm.reads(DEVICE, 10));
        assert_eq!(vm.attach(DEVICE, context), err(Errno::ENODEV));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert!(!vm.reads(DEVICE, 10), "it comes back blocked");
        vm.end();
    });
}

/// INV-61, INV-43: nothing is given to a dying domain, and its devices are blocked.
#[test]
fn a_dying_domain_gets_nothing_and_its_devices_reach_nothing() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 4, RW), (0, 4));
        assert!(vm.lands_in(DEVICE, 10, 1));
        assert_eq!(vm.bed.teardown(GUEST, 0), 0);
        assert!(!vm.reads(DEVICE, 10));
        assert_eq!(vm.map(context, 20, 1, 1, RW), (err(Errno::ENODEV), 0));
        assert_eq!(vm.alloc(), Err(err(Errno::ENODEV)));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::ESRCH));
        vm.end();
    });
}

/// INV-15: what an incomplete flush covers is held for ever, and nothing behind the unit changes.
fn unit_fails_at(step: Step, half: Half, act: impl Fn(&Vm<'_>, ContextId) -> i64) {
    with(&two_units(), |vm| {
        let context = vm.attached_context();
        let other = vm.context();
        assert_eq!(vm.attach(SECOND, other), 0);
        assert_eq!(vm.map(context, 10, 1, 4, RW), (0, 4));
        assert!(vm.lands_in(DEVICE, 10, 1));
        vm.bed.schedule().hardware_fails(half);
        vm.bed.schedule().set(step, When::Nth(1));
        assert_eq!(act(vm, context), err(Errno::EIO));
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.failed_units(), [UnitId(0)], "told once");
        assert_eq!(vm.map(context, 50, 5, 1, RW), (err(Errno::EIO), 0));
        assert_eq!(vm.unmap(context, 12, 1), (err(Errno::EIO), 0));
        assert!(vm.bed.counters().references_live >= 4, "nothing that may be reached is released");
        // Contexts on other units go on.
        assert_eq!(vm.map(other, 10, 9, 1, RW), (0, 1));
        assert!(vm.lands_in(SECOND, 10, 9));
        assert_eq!(vm.unmap(other, 10, 1), (0, 1));
        assert!(!vm.reads(SECOND, 10));
        assert_eq!(vm.bed.violations(), []);
    });
}

#[test]
fn a_flush_that_does_not_complete_fails_the_unit_and_releases_nothing() {
    unit_fails_at(Step::Invalidate, Half::Nothing, |vm, context| vm.unmap(context, 10, 2).0);
    with_guest(16, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 4, RW), (0, 4));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.unmap(context, 10, 4).0, err(Errno::EIO));
        let stats = vm.bed.domain(GUEST).stats();
        assert_eq!((stats.leaked_pages, vm.bed.counters().references_live), (4, 4));
    });
}

/// INV-07: whichever entry a failed switch left in force, no table it may name is freed.
#[test]
fn a_context_that_a_failed_unit_may_still_walk_is_not_freed() {
    for (half, pages) in [(Half::Nothing, 0), (Half::Done, 0), (Half::Done, 1)] {
        with_guest(16, |vm| {
            let context = vm.context();
            assert_eq!(vm.map(context, 10, 1, pages, RW), (0, pages));
            vm.bed.schedule().hardware_fails(half);
            vm.bed.schedule().set(Step::Attach, When::Nth(1));
            assert_eq!(vm.attach(DEVICE, context), err(Errno::EIO));
            vm.bed.schedule().clear();
            assert_eq!(vm.free(context, FreeFlags::empty()), err(Errno::EBUSY));
            assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), err(Errno::EIO));
            vm.bed.teardown(GUEST, 0);
            assert_eq!(vm.bed.counters().references_live, u64::from(pages));
            assert_eq!(vm.bed.violations(), []);
        });
    }
}

/// INV-15: a trim of a frozen context would lose the tables it unlinked.
#[test]
fn a_trim_leaves_a_context_behind_a_failed_unit_alone() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 1, 1, RW), (0, 1));
        assert_eq!(vm.map(context, 512, 1, 1, RW), (0, 1));
        assert_eq!(vm.unmap(context, 512, 1), (0, 1));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.unmap(context, 0, 1).0, err(Errno::EIO));
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        assert_eq!(vm.bed.domain(GUEST).stats().leaked_tables, 0);
    });
}

#[test]
fn a_domain_behind_a_failed_unit_dies_and_only_what_the_unit_may_reach_stays() {
    with(&two_units(), |vm| {
        let context = vm.attached_context();
        let other = vm.context();
        assert_eq!(vm.attach(SECOND, other), 0);
        assert_eq!(vm.map(context, 10, 1, 4, RW), (0, 4));
        assert_eq!(vm.map(other, 10, 5, 7, RW), (0, 7));
        assert!(vm.lands_in(DEVICE, 10, 1) && vm.lands_in(SECOND, 10, 5));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.unmap(context, 10, 1).0, err(Errno::EIO));
        vm.bed.schedule().clear();
        for _ in 0..2 {
            assert_eq!(vm.bed.teardown(GUEST, 0), err(Errno::EIO));
            assert_eq!(vm.bed.counters().references_live, 4);
            assert!(!vm.reads(SECOND, 10), "the other unit's device is blocked");
        }
        assert_eq!(vm.bed.violations(), []);
    });
}

#[test]
fn a_device_entry_that_cannot_be_switched_fails_the_unit() {
    for half in [Half::Nothing, Half::Done] {
        unit_fails_at(Step::Block, half, |vm, _| vm.attach(DEVICE, ContextId::DEFAULT));
        unit_fails_at(Step::Attach, half, |vm, _| {
            let third = vm.context();
            vm.attach(DEVICE, third)
        });
    }
}

#[test]
fn a_broken_device_is_given_to_nobody() {
    let mut config = Config::one_guest(16);
    config.domains.push(DomainConfig { id: DomId(2), ..DomainConfig::default() });
    with(&config, |vm| {
        let context = vm.context();
        vm.bed.schedule().set(Step::Attach, When::Nth(1));
        assert_eq!(vm.attach(DEVICE, context), err(Errno::EIO));
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(vm.bed.assign(DomId(2), DEVICE), Err(Errno::EBADF));
    });
}

#[test]
fn tags_run_out_with_an_error_and_come_back() {
    let mut config = Config::one_guest(16);
    // Tag 0 is not used, and one is kept for the switch of a default context.
    config.units[0].tags = 4;
    config.devices.push(DeviceConfig { function: SECOND, ..DeviceConfig::default() });
    let third = PciDevice { seg: 0, bus: 0, devfn: 5 << 3 };
    config.devices.push(DeviceConfig { function: third, ..DeviceConfig::default() });
    with(&config, |vm| {
        let contexts: Vec<ContextId> = (0..3).map(|_| vm.context()).collect();
        assert_eq!(vm.attach(DEVICE, contexts[0]), 0);
        assert_eq!(vm.attach(SECOND, contexts[1]), 0);
        assert_eq!(vm.attach(third, contexts[2]), err(Errno::ENOSPC));
        assert_eq!(vm.attach(third, contexts[1]), 0, "a context has one tag a unit");
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert_eq!(vm.attach(third, contexts[2]), 0);
        vm.end();
    });
}

/// INV-42: nobody gets a device whose former owner's entry may be in force, or its translations cached.
#[test]
fn a_device_that_did_not_leave_its_owner_for_certain_is_given_to_nobody() {
    let mut config = Config::one_guest(16);
    let (id, other) = (DomId(2), DomainConfig::default());
    config.domains.push(DomainConfig { id, ..other });
    let config = config.with_quarantine(kinds::background());
    // Into quarantine, or to nowhere; or its old tag stays.
    for steps in [[Step::Attach, Step::Block], [Step::Invalidate; 2]] {
        for half in [Half::Nothing, Half::Done] {
            with(&config, |vm| {
                let context = vm.attached_context();
                assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
                assert!(vm.lands_in(DEVICE, 10, 1));
                vm.bed.schedule().hardware_fails(half);
                steps.iter().for_each(|step| vm.bed.schedule().set(*step, When::Nth(1)));
                assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Err(Errno::EIO), "{steps:?}");
                vm.bed.schedule().clear();
                for _ in 0..2 {
                    let given = vm.bed.assign(DomId(2), DEVICE);
                    assert!([Err(Errno::EBADF), Err(Errno::EBUSY)].contains(&given), "{given:?}");
                }
                assert_eq!(vm.bed.counters().references_live, 1, "it may be reached");
                assert_eq!(vm.bed.violations(), []);
            });
        }
    }
}
