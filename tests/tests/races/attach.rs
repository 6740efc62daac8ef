//! Devices that move between contexts while these are edited.

use std::sync::atomic::{AtomicI64, Ordering};

use pviommu_abi::{ContextId, Errno, FreeFlags};
use pviommu_hypervisor::Reserved;
use pviommu_testbed::machine::{Config, DeviceConfig};

use crate::{
    explore::{clear, explore, race, strike},
    kinds,
    kit::{DEVICE, RW, SECOND, Vm, err},
};

/// Bus frames that the first device's firmware uses.
const DIRECT: u64 = 0x8000;

fn with_direct_range() -> Config {
    use pviommu_abi::Bfn;
    use pviommu_hypervisor::{ReservedKind, addr::BfnRange, platform::Access};
    let range = BfnRange::of_pages(Bfn(DIRECT), 2).unwrap();
    let direct = Reserved { range, kind: ReservedKind::Direct, access: Access::all() };
    let mut config = Config::one_guest(64);
    config.devices[0].reserved = vec![direct];
    config.devices.push(DeviceConfig { function: SECOND, ..DeviceConfig::default() });
    config.with_quarantine(kinds::background()).with_direct_ranges()
}

/// INV-30, INV-32: of a guest that maps and a device that brings a reserved range along, one is told no.
#[test]
fn a_device_with_a_reserved_range_comes_while_the_range_is_mapped() {
    explore(with_direct_range, |vm| {
        let context = vm.context();
        assert_eq!(vm.attach(SECOND, context), 0);
        let (attached, mapped) = (AtomicI64::new(1), AtomicI64::new(1));
        let attach = |vm: &Vm<'_>| attached.store(vm.attach(DEVICE, context), Ordering::Relaxed);
        let map =
            |vm: &Vm<'_>| mapped.store(vm.map(context, DIRECT + 1, 1, 1, RW).0, Ordering::Relaxed);
        let look = |vm: &Vm<'_>| strike(vm, SECOND, &[DIRECT, DIRECT + 1]);
        race(vm, &[&attach, &map, &look]);
        vm.bed.check_direct(DEVICE);
        match (attached.into_inner(), mapped.into_inner()) {
            (0, status) => {
                assert_eq!(status, err(Errno::EADDRNOTAVAIL), "the range is the device's")
            }
            (status, 0) => {
                assert_eq!(status, err(Errno::EADDRINUSE), "the range is the guest's");
                assert!(vm.lands_in(SECOND, DIRECT + 1, 1));
            }
            neither => panic!("neither came through: {neither:?}"),
        }
        clear(vm, context, DIRECT..DIRECT + 2);
        vm.end();
    });
}

/// INV-03: a device that comes into a context, or leaves it, finds what is mapped and nothing else.
#[test]
fn a_device_moves_between_contexts_that_are_edited() {
    explore(
        || Config::one_guest(64),
        |vm| {
            let contexts = [vm.context(), vm.context()];
            let edit = |vm: &Vm<'_>| {
                for context in contexts {
                    assert_eq!(vm.map(context, 10, 1, 2, RW), (0, 2));
                    assert_eq!(vm.unmap(context, 10, 1), (0, 1));
                }
            };
            let place = |vm: &Vm<'_>| {
                for context in [contexts[0], contexts[1], ContextId::DEFAULT] {
                    assert_eq!(vm.attach(DEVICE, context), 0);
                }
            };
            race(vm, &[&edit, &place, &|vm| strike(vm, DEVICE, &[10, 11, 10])]);
            vm.end();
        },
    );
}

/// INV-45: a context is freed without devices, or not at all.
#[test]
fn a_device_comes_into_a_context_that_is_freed() {
    explore(
        || Config::one_guest(64),
        |vm| {
            let context = vm.context();
            assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
            let (attached, freed) = (AtomicI64::new(1), AtomicI64::new(1));
            let attach =
                |vm: &Vm<'_>| attached.store(vm.attach(DEVICE, context), Ordering::Relaxed);
            let free =
                |vm: &Vm<'_>| freed.store(vm.free(context, FreeFlags::empty()), Ordering::Relaxed);
            race(vm, &[&attach, &free, &|vm| strike(vm, DEVICE, &[10, 10])]);
            let (attached, freed) = (attached.into_inner(), freed.into_inner());
            assert_ne!(attached == 0, freed == 0, "{attached} {freed}");
            vm.end();
        },
    );
}

/// INV-59: two devices that change places in opposite directions.
#[test]
fn two_devices_cross_each_other() {
    let config = || {
        let mut config = Config::one_guest(64);
        config.devices.push(DeviceConfig { function: SECOND, ..DeviceConfig::default() });
        config
    };
    explore(config, |vm| {
        let contexts = [vm.context(), vm.context()];
        let there = |vm: &Vm<'_>| contexts.map(|it| assert_eq!(vm.attach(DEVICE, it), 0));
        let back = |vm: &Vm<'_>| {
            for context in contexts.into_iter().rev() {
                assert_eq!(vm.attach(SECOND, context), 0);
            }
        };
        race(vm, &[&|vm| _ = there(vm), &back]);
        vm.end();
    });
}
