//! Domains that end, and devices that change hands, while guests work.

use pviommu_abi::Errno;
use pviommu_testbed::machine::Config;

use crate::{
    deferred::{flush_all, unmap_later},
    explore::{explore, race, strike},
    kit::{DEVICE, GUEST, OTHER, RW, SECOND, Vm, err, two_guests},
};

/// A domain or a context that goes.
fn gone(status: i64) -> bool {
    [err(Errno::ENODEV), err(Errno::EINVAL)].contains(&status)
}

/// INV-61: whatever a guest is doing when its domain ends, nothing of it is left.
#[test]
fn a_teardown_meets_maps() {
    explore(
        || Config::one_guest(64),
        |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 20, 20, 2, RW), (0, 2));
            let map = |vm: &Vm<'_>| {
                for bfn in [10, 21, 0x1000] {
                    let (status, _) = vm.map(context, bfn, 1, 2, RW);
                    let in_use = status == err(Errno::EADDRINUSE);
                    assert!(status == 0 || in_use || gone(status), "map {status}");
                    let (status, _) = vm.unmap(context, bfn, 1);
                    assert!(status == 0 || gone(status), "unmap {status}");
                }
            };
            let end = |vm: &Vm<'_>| assert_eq!(vm.bed.teardown(GUEST, 2), 0);
            race(vm, &[&map, &end, &|vm| strike(vm, DEVICE, &[20, 10, 20])]);
            assert_eq!(vm.bed.counters().references_live, 0);
            vm.end();
        },
    );
}

/// INV-61, INV-20: also what waits for its flush.
#[test]
fn a_teardown_meets_removals_that_wait() {
    explore(
        || Config::one_guest(64),
        |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 10, 1, 8, RW), (0, 8));
            let unmap = |vm: &Vm<'_>| {
                for bfn in [10, 12] {
                    let (status, _) = unmap_later(vm, context, bfn, 2);
                    assert!(status == 0 || gone(status), "unmap {status}");
                }
                let (status, _) = flush_all(vm, context);
                assert!(status == 0 || gone(status), "flush {status}");
            };
            let end = |vm: &Vm<'_>| assert_eq!(vm.bed.teardown(GUEST, 2), 0);
            race(vm, &[&unmap, &end, &|vm| strike(vm, DEVICE, &[10, 12, 14])]);
            vm.end();
        },
    );
}

/// INV-40, INV-46: a device is in one domain's table or in the other's, and never in that of who lost it.
#[test]
fn a_device_is_given_to_another_domain_while_its_owner_places_it() {
    explore(
        || two_guests(64),
        |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 10, 1, 2, RW), (0, 2));
            let place = |vm: &Vm<'_>| {
                for place in [pviommu_abi::ContextId::DEFAULT, context] {
                    let status = vm.attach(DEVICE, place);
                    let lost = [err(Errno::ENOENT), err(Errno::ENODEV), err(Errno::EPERM)];
                    assert!(status == 0 || lost.contains(&status), "attach {status}");
                }
            };
            let give = |vm: &Vm<'_>| {
                // A call of its owner may be under way on it.
                let given = vm.bed.reassign(GUEST, OTHER, DEVICE);
                assert!(given.is_ok(), "{given:?}");
            };
            race(vm, &[&place, &give, &|vm| strike(vm, SECOND, &[10, 11])]);
            assert!(!vm.reads(DEVICE, 10), "its first owner's pages are out of reach");
            assert_eq!(vm.bed.teardown(OTHER, 0), 0);
            vm.end();
        },
    );
}
