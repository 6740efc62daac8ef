//! Two functions behind one conventional bridge: their requests may carry its id, so they are one device.

use pviommu_abi::{ContextId, DeviceFlags, Errno, PciDevice};
use pviommu_testbed::{
    iommu::DeviceEntry,
    machine::{Config, DeviceConfig, Step, When},
};

use super::kit::{ALONE, query, unowned};
use crate::kit::{DEVICE, GUEST, OTHER, RW, Vm, err, two_guests, with};

/// The second card on the bus of the bridge.
const CARD: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 6 << 3 };
/// What the bridge puts in the place of either's id.
const BRIDGE: PciDevice = PciDevice { seg: 0, bus: 2, devfn: 0 };
const ALL: [PciDevice; 3] = [DEVICE, CARD, BRIDGE];

fn config() -> Config {
    let cards =
        DeviceConfig { functions: vec![CARD], aliases: vec![BRIDGE], ..unowned(DEVICE, None) };
    Config { devices: vec![cards, unowned(ALONE, None)], ..two_guests(16) }
}

fn entries(vm: &Vm<'_>) -> Vec<DeviceEntry> {
    vm.bed.board().device_entries(CARD)
}

#[test]
fn the_second_domain_behind_a_bridge_is_refused_whichever_function_it_asks_for() {
    for (first, second) in [(DEVICE, CARD), (CARD, DEVICE), (DEVICE, DEVICE)] {
        with(&config(), |vm| {
            assert_eq!(vm.bed.assign(OTHER, BRIDGE), Err(Errno::ENODEV), "that is no function");
            assert_eq!(vm.bed.assign(GUEST, first), Ok(()));
            let before = entries(vm);
            assert_eq!(vm.bed.assign(OTHER, second), Err(Errno::EBUSY));
            assert_eq!(entries(vm), before, "and the first one keeps its own");
            assert_eq!(vm.bed.unassign(OTHER, 0, second), Err(Errno::ENODEV));
            assert_eq!(vm.bed.unassign(GUEST, 0, second), Ok(()));
            assert_eq!(vm.bed.assign(OTHER, first), Ok(()));
            assert_eq!(vm.bed.teardown(OTHER, 0), 0);
            vm.end();
        });
    }
}

#[test]
fn every_id_behind_a_bridge_is_in_the_context_that_one_function_was_moved_to() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, CARD), Ok(()));
        let (one, other) = (vm.context(), vm.context());
        assert_eq!(vm.map(one, 10, 1, 1, RW), (0, 1));
        assert_eq!(vm.map(other, 10, 2, 1, RW), (0, 1));
        for (named, context, gfn) in [(DEVICE, one, 1), (CARD, other, 2), (CARD, one, 1)] {
            assert_eq!(vm.attach(named, context), 0);
            assert!(ALL.into_iter().all(|id| vm.lands_in(id, 10, gfn)));
        }
        assert_eq!(vm.attach(BRIDGE, other), err(Errno::ENODEV));
        let before = entries(vm);
        for n in 1..=3 {
            vm.bed.schedule().set(Step::AttachRefused, When::Nth(n));
            assert_eq!(vm.attach(CARD, other), err(Errno::ENOMEM));
            vm.bed.schedule().clear();
            assert_eq!(entries(vm), before, "all or none");
        }
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert!(!ALL.into_iter().any(|id| vm.reads(id, 10)));
        vm.end();
    });
}

#[test]
fn a_guest_is_told_which_of_its_functions_move_together() {
    with(&config(), |vm| {
        for device in [DEVICE, ALONE] {
            assert_eq!(vm.bed.assign(GUEST, device), Ok(()));
        }
        let told = [DEVICE, CARD, ALONE].map(|device| query(vm, device));
        assert_eq!((told[0].group, told[0].moves_with), (told[1].group, told[1].moves_with));
        assert_ne!(told[0].moves_with, told[2].moves_with);
        assert!(!told[0].state.contains(DeviceFlags::HIDDEN_MEMBERS));
        let context = vm.context();
        assert_eq!(vm.attach(CARD, context), 0);
        assert_eq!(query(vm, DEVICE).ctx_id, u32::from(context.0));
        vm.end();
    });
}

/// A fault with any of the ids is the device's, and it is stopped with all of them.
#[test]
fn a_storm_by_one_id_stops_all_of_them() {
    let mut config = config();
    config.faults.storm = 4;
    with(&config, |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        let context = vm.context();
        assert_eq!(vm.attach(CARD, context), 0);
        for _ in 0..8 {
            // Beyond every aperture: that faults over any background.
            assert!(vm.bed.dma_write(BRIDGE, 1 << 58, &[0; 4]).is_err());
        }
        vm.bed.report_faults(0);
        assert!(query(vm, DEVICE).state.contains(DeviceFlags::STOPPED));
        assert!(ALL.into_iter().all(|id| vm.bed.board().is_stopped(id)));
        assert_eq!(vm.bed.iommu().restart(CARD), Ok(()));
        assert!(!query(vm, DEVICE).state.contains(DeviceFlags::STOPPED));
        vm.end();
    });
}
