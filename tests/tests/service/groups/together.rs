//! With `GroupRule::TogetherOnly` all that a domain has of a group is in one context.

use pviommu_abi::{
    ContextId, Errno, FreeFlags, OwnershipMode, PciDevice, ReattachDevice, Subop, TakeOwnership,
};
use pviommu_hypervisor::{DefaultMap, GroupRule, Outcome, Risks};
use pviommu_testbed::machine::{Config, Half, Step, When};
use zerocopy::IntoBytes;

use super::kit::{BELOW, BESIDE, GROUP, config, direct, query};
use crate::kit::{DEVICE, GUEST, OTHER, RW, Vm, err, with};

/// Where the argument of a call lies that is made step by step.
const ARGUMENT: u64 = 0xf000;

fn together() -> Config {
    let mut config = config();
    config.domains[0].group_rule = GroupRule::TogetherOnly;
    config
}

/// Runs `body` with two contexts: bus frame 10 is guest frame 1 in the first, and 2 in the second.
fn with_two(config: &Config, body: impl FnOnce(&Vm<'_>, ContextId, ContextId)) {
    with(config, |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let (one, other) = (vm.context(), vm.context());
        assert_eq!(vm.map(one, 10, 1, 1, RW), (0, 1));
        assert_eq!(vm.map(other, 10, 2, 1, RW), (0, 1));
        body(vm, one, other);
    });
}

/// True if all of the group, and not only some, are in `context`.
fn all_in(vm: &Vm<'_>, context: ContextId) -> bool {
    let told = GROUP.map(|device| query(vm, device).ctx_id);
    told == [u32::from(context.0); 3]
}

#[test]
fn who_moves_one_device_moves_all_of_its_group() {
    with_two(&together(), |vm, one, other| {
        assert_eq!(query(vm, DEVICE).moves_with, query(vm, BELOW).moves_with);
        for (named, context, gfn) in [(BESIDE, one, 1), (BELOW, other, 2), (DEVICE, one, 1)] {
            assert_eq!(vm.attach(named, context), 0);
            assert!(all_in(vm, context));
            assert!(GROUP.into_iter().all(|device| vm.lands_in(device, 10, gfn)));
        }
        assert_eq!(vm.attach(BELOW, ContextId(99)), err(Errno::ENOENT));
        assert!(all_in(vm, one));
        assert_eq!(vm.attach(BELOW, ContextId::DEFAULT), 0);
        assert!(!GROUP.into_iter().any(|device| vm.reads(device, 10)));
        vm.end();
    });
}

#[test]
fn a_group_of_which_one_cannot_go_stays_where_it_was() {
    for ranges in [false, true] {
        let mut config = together();
        if ranges {
            config.devices[1].reserved.push(direct());
            config = config.with_direct_ranges();
        }
        with_two(&config, |vm, one, other| {
            assert_eq!(vm.attach(DEVICE, one), 0);
            for n in (1..=3).cycle().take(60) {
                vm.bed.schedule().set(Step::AttachRefused, When::Nth(n));
                assert_eq!(vm.attach(BESIDE, other), err(Errno::ENOMEM));
                vm.bed.schedule().clear();
                assert!(all_in(vm, one));
                assert!(GROUP.into_iter().all(|device| vm.lands_in(device, 10, 1)));
            }
            assert_eq!(vm.free(other, FreeFlags::empty()), 0, "nobody is left there");
            vm.end();
        });
    }
}

/// A page in the way of what the firmware of one needs: those that went before it come back.
#[test]
fn what_is_in_the_way_of_one_keeps_all_of_them_away() {
    let mut config = together();
    config.devices[2].reserved.push(direct());
    with_two(&config.with_direct_ranges(), |vm, one, other| {
        assert_eq!(vm.attach(DEVICE, one), 0);
        assert_eq!(vm.map(other, 0x8001, 3, 1, RW), (0, 1));
        for device in GROUP {
            assert_eq!(vm.attach(device, other), err(Errno::EADDRINUSE));
            assert!(all_in(vm, one));
        }
        assert_eq!(vm.unmap(other, 0x8001, 1), (0, 1));
        assert_eq!(vm.attach(BELOW, other), 0);
        assert!(all_in(vm, other));
        vm.end();
    });
}

/// None can go, and some cannot come back: then none is in a context of its own.
#[test]
fn a_group_that_can_go_neither_on_nor_back_is_in_no_context() {
    with_two(&together(), |vm, one, other| {
        assert_eq!(vm.attach(DEVICE, one), 0);
        vm.bed.schedule().set(Step::AttachRefused, When::From(3));
        assert_eq!(vm.attach(DEVICE, other), err(Errno::ENOMEM));
        vm.bed.schedule().clear();
        let told = GROUP.map(|device| query(vm, device).ctx_id);
        let broken = GROUP.map(|it| vm.bed.iommu().device_stats(it).unwrap().broken);
        assert!(told.iter().all(|context| *context == 0), "{told:?} {broken:?}");
        assert!(!GROUP.into_iter().any(|device| vm.reads(device, 10)));
        vm.end();
    });
}

/// Not even where all can be reached that the domain has: then nothing is.
#[test]
fn a_group_of_which_one_cannot_go_to_the_default_context_either_reaches_nothing() {
    with_two(&together().with_default_map(DefaultMap::Guest), |vm, one, other| {
        assert_eq!(vm.attach(DEVICE, one), 0);
        vm.bed.schedule().set(Step::AttachRefused, When::From(3));
        assert_eq!(vm.attach(DEVICE, other), err(Errno::ENOMEM));
        vm.bed.schedule().clear();
        assert!(!GROUP.into_iter().any(|device| vm.reads(device, 10) || vm.reads(device, 5)));
        let stats = GROUP.map(|device| vm.bed.iommu().device_stats(device).unwrap());
        assert!(stats.iter().all(|it| it.owner == Some(GUEST) && !it.broken), "{stats:?}");
        assert_eq!(vm.attach(BELOW, one), 0);
        assert!(all_in(vm, one), "they are well, and go where there is room");
        assert!(GROUP.into_iter().all(|device| vm.lands_in(device, 10, 1)));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

#[test]
fn a_unit_that_fails_half_way_leaves_nothing_unsound() {
    for half in [Half::Nothing, Half::Done] {
        for n in 1..=3 {
            with_two(&together(), |vm, one, other| {
                assert_eq!(vm.attach(DEVICE, one), 0);
                vm.bed.schedule().hardware_fails(half);
                vm.bed.schedule().set(Step::Attach, When::Nth(n));
                assert_eq!(vm.attach(DEVICE, other), err(Errno::EIO));
                vm.bed.schedule().clear();
                assert_eq!(vm.bed.teardown(GUEST, 0), err(Errno::EIO));
                assert_eq!(vm.bed.violations(), []);
            });
        }
    }
}

/// It gives way behind each device, and the next call goes on.
#[test]
fn a_group_that_gives_way_is_moved_by_the_calls_that_follow() {
    with_two(&together(), |vm, one, other| {
        assert_eq!(vm.attach(DEVICE, one), 0);
        let step = |device: PciDevice, context| {
            let argument =
                ReattachDevice { ctx_no: context, dev: device, ..ReattachDevice::default() };
            vm.bed.guest_write(GUEST, ARGUMENT, argument.as_bytes());
            vm.bed.hypercall(GUEST, 0, u64::from(Subop::REATTACH_DEVICE.0), ARGUMENT)
        };
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let mut calls = 1;
        while step(BESIDE, other) == Outcome::Continue {
            calls += 1;
        }
        assert!(calls >= 3, "{calls}");
        assert!(all_in(vm, other));
        // Given up half way, and another call goes elsewhere.
        assert_eq!(step(BELOW, one), Outcome::Continue);
        vm.bed.schedule().clear();
        assert_eq!(vm.attach(DEVICE, other), 0);
        assert!(all_in(vm, other));
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        assert_eq!(step(BELOW, one), Outcome::Continue);
        vm.bed.schedule().set(Step::AttachRefused, When::Nth(1));
        assert_eq!(step(BELOW, one), Outcome::Done(err(Errno::ENOMEM)));
        vm.bed.schedule().clear();
        assert!(all_in(vm, other), "what an earlier call has moved comes back, too");
        vm.end();
    });
}

/// Two CPUs that pull at one group: at the end it is in one of the two contexts.
#[test]
fn two_cpus_that_move_one_group_do_not_part_it() {
    let mut config = together();
    config.cpus = 2;
    with_two(&config, |vm, one, other| {
        for _ in 0..60 {
            std::thread::scope(|scope| {
                let second = Vm::new(vm.bed, GUEST, 1);
                scope.spawn(move || {
                    assert_eq!(second.attach(BELOW, one), 0);
                });
                assert_eq!(vm.attach(DEVICE, other), 0);
            });
            assert!(all_in(vm, one) || all_in(vm, other));
        }
        vm.end();
    });
}

#[test]
fn a_group_stays_together_when_its_context_or_the_default_one_goes() {
    with_two(&together().with_default_map(DefaultMap::Guest), |vm, one, _| {
        assert_eq!(vm.attach(DEVICE, one), 0);
        assert_eq!(vm.free(one, FreeFlags::REATTACH_DEFAULT), 0);
        assert!(all_in(vm, ContextId::DEFAULT));
        assert!(GROUP.into_iter().all(|device| vm.lands_in(device, 5, 5)));
        for mode in [OwnershipMode::CLEAR, OwnershipMode::GIVE_BACK] {
            assert_eq!(take(vm, mode), 0);
            assert!(all_in(vm, ContextId::DEFAULT));
        }
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

/// A context that is freed lets a group go whole, or keeps all of it.
#[test]
fn a_group_that_cannot_leave_a_context_that_is_freed_stays_there_whole() {
    with_two(&together().with_default_map(DefaultMap::Guest), |vm, one, _| {
        assert_eq!(vm.attach(DEVICE, one), 0);
        for n in (1..=3).cycle().take(30) {
            vm.bed.schedule().set(Step::AttachRefused, When::Nth(n));
            assert_eq!(vm.free(one, FreeFlags::REATTACH_DEFAULT), err(Errno::ENOMEM));
            vm.bed.schedule().clear();
            assert!(all_in(vm, one));
            assert!(GROUP.into_iter().all(|device| vm.lands_in(device, 10, 1)));
        }
        assert_eq!(vm.free(one, FreeFlags::REATTACH_DEFAULT), 0);
        assert!(all_in(vm, ContextId::DEFAULT));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

fn take(vm: &Vm<'_>, mode: OwnershipMode) -> i64 {
    vm.op(Subop::TAKE_OWNERSHIP, &mut TakeOwnership { mode, ..TakeOwnership::default() })
}

/// One that is given alone joins the others only where they are.
#[test]
fn what_is_given_later_does_not_part_the_group() {
    let mut config = together();
    config.devices.iter_mut().for_each(|it| it.risks = Risks::SPLIT_GROUP);
    with(&config, |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let context = vm.attached_context();
        assert_eq!(vm.bed.assign(GUEST, BELOW), Err(Errno::EBUSY));
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert_eq!(vm.bed.assign(GUEST, BELOW), Ok(()));
        assert_eq!(vm.attach(DEVICE, context), 0);
        let told = [DEVICE, BELOW].map(|device| query(vm, device).ctx_id);
        assert_eq!(told, [u32::from(context.0); 2]);
        vm.end();
    });
}
