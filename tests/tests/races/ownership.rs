//! A guest takes its default context over, or gives it back, while everything else goes on.

use pviommu_abi::{ContextId, Errno, Gfn, OwnershipMode, Subop, TakeOwnership};
use pviommu_hypervisor::DefaultMap;
use pviommu_testbed::machine::{Config, GIVEN_UP};

use crate::{
    explore::{explore, race, strike},
    kit::{DEVICE, GUEST, RW, Vm, err},
};

const ZERO: ContextId = ContextId::DEFAULT;

/// A guest whose default map is of all its memory, and its own for the asking.
fn guest_map() -> Config {
    Config::one_guest(64).with_default_map(DefaultMap::Guest)
}

fn take(vm: &Vm<'_>, mode: OwnershipMode) -> i64 {
    vm.op(Subop::TAKE_OWNERSHIP, &mut TakeOwnership { mode, ..TakeOwnership::default() })
}

/// Takes the context over in this mode; another CPU may be at it.
fn switch(vm: &Vm<'_>, mode: OwnershipMode) {
    let status = take(vm, mode);
    assert!([0, err(Errno::EBUSY)].contains(&status), "switch {status}");
}

/// The default map is as the hypervisor made it, and nothing else is left.
fn end(vm: &Vm<'_>) {
    vm.bed.schedule().clear();
    assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
    assert!([0, 5, 63].into_iter().all(|bfn| vm.lands_in(DEVICE, bfn, bfn)));
    assert!(vm.hits_background(DEVICE, 9000));
    vm.end();
}

/// INV-70, INV-71: what is mapped meanwhile is mapped in the table that stays, or refused.
#[test]
fn a_guest_takes_over_while_it_maps() {
    explore(guest_map, |vm| {
        let edit = |vm: &Vm<'_>| {
            let (status, _) = vm.map(ZERO, 9000, 0, 2, RW);
            let allowed = [0, err(Errno::EINVAL), err(Errno::EADDRINUSE)];
            assert!(allowed.contains(&status), "map {status}");
            let (status, _) = vm.unmap(ZERO, 9000, 1);
            let allowed = [0, err(Errno::EINVAL), err(Errno::ENOENT)];
            assert!(allowed.contains(&status), "unmap {status}");
        };
        let over = |vm: &Vm<'_>| switch(vm, OwnershipMode::CLEAR);
        race(vm, &[&edit, &over, &|vm| strike(vm, DEVICE, &[5, 9000, 6])]);
        end(vm);
    });
}

/// INV-54, INV-71: two CPUs that want it in two ways. Each finishes what the other began before it begins what it wants,
/// once an entry, so that a guest that asks for both for ever is held up by itself only.
#[test]
fn a_guest_takes_over_and_gives_back_at_a_time() {
    explore(guest_map, |vm| {
        switch(vm, OwnershipMode::KEEP);
        let patiently = |vm: &Vm<'_>, mode| {
            vm.guest.gives_up_after(100);
            let status = take(vm, mode);
            assert!([0, err(Errno::EBUSY), GIVEN_UP].contains(&status), "switch {status}");
        };
        let over = |vm: &Vm<'_>| patiently(vm, OwnershipMode::CLEAR);
        let back = |vm: &Vm<'_>| patiently(vm, OwnershipMode::GIVE_BACK);
        race(vm, &[&over, &back, &|vm| strike(vm, DEVICE, &[5, 9000, 6])]);
        end(vm);
    });
}

/// INV-71: a device that moves is in the table it was asked into, or the switch takes it along.
#[test]
fn a_guest_takes_over_while_a_device_moves() {
    explore(guest_map, |vm| {
        assert_eq!(vm.init(4, 10), 0);
        let context = vm.alloc().unwrap();
        assert_eq!(vm.map(context, 9000, 7, 1, RW), (0, 1));
        let place = |vm: &Vm<'_>| {
            for place in [context, ZERO] {
                let status = vm.attach(DEVICE, place);
                assert!([0, err(Errno::EBUSY)].contains(&status), "attach {status}");
            }
        };
        let over = |vm: &Vm<'_>| switch(vm, OwnershipMode::CLEAR);
        race(vm, &[&place, &over, &|vm| strike(vm, DEVICE, &[5, 9000, 6])]);
        assert_eq!(vm.attach(DEVICE, ZERO), 0);
        end(vm);
    });
}

/// INV-20, INV-71: a page that leaves the guest is in neither table when it is freed.
#[test]
fn a_guest_takes_over_while_a_page_leaves() {
    explore(guest_map, |vm| {
        let leave = |vm: &Vm<'_>| {
            let frame = vm.bed.balloon_out(GUEST, Gfn(20)).unwrap();
            let frames = [pviommu_hypervisor::addr::MfnRange::single(frame)];
            assert_eq!(vm.bed.retarget(GUEST, &frames), Ok(()));
        };
        let over = |vm: &Vm<'_>| switch(vm, OwnershipMode::CLEAR);
        race(vm, &[&leave, &over, &|vm| strike(vm, DEVICE, &[20, 5, 20])]);
        end(vm);
    });
}

/// INV-61, INV-71: the domain ends in the middle of a switch.
#[test]
fn a_guest_takes_over_while_its_domain_ends() {
    explore(guest_map, |vm| {
        let over = |vm: &Vm<'_>| {
            let status = take(vm, OwnershipMode::CLEAR);
            let gone = [err(Errno::ENODEV), err(Errno::EINVAL), err(Errno::EBUSY)];
            assert!(status == 0 || gone.contains(&status), "switch {status}");
        };
        let stop = |vm: &Vm<'_>| assert_eq!(vm.bed.teardown(GUEST, 2), 0);
        race(vm, &[&over, &stop, &|vm| strike(vm, DEVICE, &[5, 9000, 6])]);
        vm.bed.schedule().clear();
        vm.end();
    });
}
