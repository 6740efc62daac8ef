//! A switch that is left half way: by a guest that asks for something else, moves its devices, or dies.

use pviommu_abi::{ContextId, Errno, FreeFlags, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, Outcome};
use pviommu_testbed::machine::{Config, Step, When};

use super::kit::{step, take};
use crate::{
    direct::kit::{ALL, SECOND, THIRD, check, direct, machine},
    kit::{DEVICE, GUEST, RW, Vm, err, with},
};

const ZERO: ContextId = ContextId::DEFAULT;
const CLEAR: OwnershipMode = OwnershipMode::CLEAR;
const KEEP: OwnershipMode = OwnershipMode::KEEP;
const GIVE_BACK: OwnershipMode = OwnershipMode::GIVE_BACK;

/// Enough memory that the initial map is made in several steps.
fn config(map: DefaultMap) -> Config {
    let ranges = [direct(0x8000, 2, ALL), direct(0x9000, 2, ALL)];
    let mut config = machine(&[&ranges[..1], &ranges[1..], &[]]);
    let ram = pviommu_hypervisor::addr::GfnRange::of_pages(pviommu_abi::Gfn(0), 1500).unwrap();
    config.domains[0].ram = vec![ram];
    config.with_default_map(map)
}

fn check_direct(vm: &Vm<'_>) {
    check(vm, DEVICE, &direct(0x8000, 2, ALL));
    check(vm, SECOND, &direct(0x9000, 2, ALL));
}

/// Makes `steps` steps of a switch; false if it is done before.
fn begin(vm: &Vm<'_>, mode: OwnershipMode, steps: u32) -> bool {
    vm.bed.schedule().set(Step::Yield, When::Every(1));
    let left = (0..steps).all(|_| match step(vm, mode) {
        Outcome::Done(status) => {
            assert_eq!(status, 0);
            false
        }
        _ => true,
    });
    vm.bed.schedule().clear();
    left
}

/// Leaves a switch after each of its steps, and then does something else.
fn leaves_half_way(
    map: DefaultMap,
    (before, mode): (Option<OwnershipMode>, OwnershipMode),
    after: impl Fn(&Vm<'_>),
) {
    for steps in 1.. {
        let left = with(&config(map), |vm| {
            let context = vm.context();
            if let Some(before) = before {
                assert_eq!(take(vm, before), 0);
                assert_eq!(vm.map(ZERO, 2000, 1, 1200, RW), (0, 1200));
            }
            let left = begin(vm, mode, steps);
            check_direct(vm);
            after(vm);
            check_direct(vm);
            assert_eq!(vm.bed.violations(), []);
            if !vm.bed.slot(GUEST).dying.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
            }
            vm.end();
            check_direct(vm);
            left
        });
        if !left {
            assert!(steps > 2, "it gave way {steps} times");
            break;
        }
        assert!(steps < 500);
    }
}

const WAYS: [(DefaultMap, (Option<OwnershipMode>, OwnershipMode)); 4] = [
    (DefaultMap::Guest, (None, CLEAR)),
    (DefaultMap::Guest, (Some(CLEAR), GIVE_BACK)),
    (DefaultMap::Guest, (Some(KEEP), GIVE_BACK)),
    (DefaultMap::Blocked, (None, CLEAR)),
];

#[test]
fn whoever_comes_next_finishes_it_and_gets_what_it_came_for() {
    for (map, way) in WAYS {
        for wish in [CLEAR, KEEP, GIVE_BACK] {
            leaves_half_way(map, way, |vm| {
                assert_eq!(take(vm, wish), 0);
                let owns = wish != GIVE_BACK;
                assert_eq!(vm.bed.domain(GUEST).owns_default(), owns);
                if owns {
                    assert_eq!(vm.map(ZERO, 9000, 7, 1, RW), (0, 1));
                    for device in [DEVICE, SECOND, THIRD] {
                        assert!(vm.lands_in(device, 9000, 7));
                    }
                } else {
                    assert_eq!(vm.map(ZERO, 9000, 7, 1, RW), (err(Errno::EINVAL), 0));
                    for device in [DEVICE, SECOND, THIRD] {
                        let there = vm.lands_in(device, 1499, 1499);
                        assert_eq!(there, map == DefaultMap::Guest);
                        assert!(!vm.reads(device, 2100));
                    }
                }
            });
        }
    }
}

/// INV-60, INV-45: nothing is left of either map.
#[test]
fn a_domain_that_dies_half_way_leaves_nothing() {
    for (map, way) in WAYS {
        leaves_half_way(map, way, |vm| {
            vm.bed.schedule().set(Step::Yield, When::Every(1));
            assert_eq!(vm.bed.teardown(GUEST, 0), 0);
            vm.bed.schedule().clear();
            for device in [DEVICE, SECOND, THIRD] {
                assert!(!vm.reads(device, 5) && !vm.reads(device, 2100));
            }
            assert_ne!(step(vm, CLEAR), Outcome::Done(0));
        });
    }
}

/// INV-70: what is not the guest's yet is not edited, and what it does is not lost silently.
#[test]
fn context_0_is_edited_by_its_owner_only_and_by_nobody_in_between() {
    for (map, way) in WAYS {
        leaves_half_way(map, way, |vm| {
            let owns = vm.bed.domain(GUEST).owns_default();
            let (status, mapped) = vm.map(ZERO, 9000, 7, 1, RW);
            let expected = if owns { (0, 1) } else { (err(Errno::EINVAL), 0) };
            assert_eq!((status, mapped), expected);
            // In the end it is there if and only if the guest owns what it was mapped in.
            assert_eq!(take(vm, way.1), 0);
            for device in [DEVICE, SECOND, THIRD] {
                let there = vm.lands_in(device, 9000, 7);
                assert_eq!(there, mapped == 1 && way.1 != GIVE_BACK, "{device}");
            }
            let held = vm.bed.counters().references_live;
            assert!([0, 1, 1500].contains(&held), "{held}");
        });
    }
}

/// INV-31, INV-40: devices that are moved meanwhile are where the guest put them.
#[test]
fn devices_may_be_moved_come_and_go_meanwhile() {
    for (map, way) in WAYS {
        leaves_half_way(map, way, |vm| {
            let context = ContextId(1);
            assert_eq!(vm.map(context, 10, 3, 1, RW), (0, 1));
            assert_eq!(vm.attach(DEVICE, context), 0);
            assert!(vm.lands_in(DEVICE, 10, 3));
            check_direct(vm);
            assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));
            check_direct(vm);
            assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
            check_direct(vm);
            assert_eq!(vm.attach(THIRD, context), 0);
            assert_eq!(vm.attach(THIRD, ZERO), 0);
            assert_eq!(take(vm, way.1), 0);
            check_direct(vm);
            let owns = way.1 != GIVE_BACK;
            assert!(vm.lands_in(DEVICE, 10, 3), "it was moved away");
            assert_eq!(vm.attach(DEVICE, ZERO), 0);
            for device in [DEVICE, SECOND, THIRD] {
                let initial = map == DefaultMap::Guest && !owns;
                assert_eq!(vm.lands_in(device, 1400, 1400), initial, "{device}");
            }
            if owns {
                assert_eq!(vm.map(ZERO, 9000, 7, 1, RW), (0, 1));
                assert!([DEVICE, SECOND, THIRD].into_iter().all(|it| vm.lands_in(it, 9000, 7)));
                // Nothing is reserved for a device that is not there.
                assert_eq!(vm.attach(DEVICE, context), 0);
                assert_eq!(vm.map(ZERO, 0x8000, 7, 2, RW), (0, 2));
                assert_eq!(vm.unmap(ZERO, 0x8000, 2), (0, 2));
            }
        });
    }
}

/// INV-32: a switch that goes back leaves the use counts of the old map as they are.
#[test]
fn a_range_is_not_reserved_for_a_device_that_went_away_while_the_switch_failed() {
    let mut tried = 0;
    for steps in 1..60 {
        with(&config(DefaultMap::Guest), |vm| {
            let context = vm.context();
            if !begin(vm, CLEAR, steps) {
                vm.end();
                return;
            }
            tried += 1;
            assert_eq!(vm.attach(DEVICE, context), 0);
            vm.bed.schedule().set(Step::AttachRefused, When::Nth(1));
            let status = take(vm, CLEAR);
            vm.bed.schedule().clear();
            if status != 0 {
                assert_eq!(status, err(Errno::ENOMEM));
                assert!(!vm.bed.domain(GUEST).owns_default());
                assert!(vm.lands_in(SECOND, 5, 5) && vm.lands_in(THIRD, 5, 5));
            }
            assert_eq!(take(vm, KEEP), 0);
            // The device is elsewhere, so its range is nobody's here.
            assert_eq!(vm.map(ZERO, 0x8000, 1, 2, RW), (0, 2), "after {steps} steps");
            assert!(vm.lands_in(SECOND, 0x8000, 1));
            vm.end();
        });
    }
    assert!(tried > 3, "{tried}");
}
