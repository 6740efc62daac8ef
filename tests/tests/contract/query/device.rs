//! Subop 0x44: how a device is isolated, and where it is.

use pviommu_abi::{
    ContextId, DeviceFlags, DeviceHandle, DeviceKind, DomId, Errno, PciDevice, QueryDevice,
    QueryDeviceFlags, Subop,
};
use pviommu_hypervisor::platform::UnitFeatures;
use pviommu_testbed::machine::{Config, DeviceConfig, Step, When};
use zerocopy::IntoBytes;

use super::kit::is_refused;
use crate::{
    direct::kit::{SECOND, THIRD},
    kit::{DEVICE, GUEST, Vm, with, with_hardware_domain},
    switch::kit::take,
};

fn two_devices() -> Config {
    let mut config = Config::one_guest(64);
    config.devices.push(DeviceConfig { function: SECOND, ..DeviceConfig::default() });
    config.with_default_map(pviommu_hypervisor::DefaultMap::Guest)
}

fn question(device: PciDevice) -> QueryDevice {
    QueryDevice { device: DeviceHandle::pci(device), ..QueryDevice::default() }
}

fn ask(vm: &Vm<'_>, device: PciDevice) -> QueryDevice {
    let mut query = question(device);
    // Outputs hold whatever they held.
    (query.group, query.moves_with, query.ctx_id) = (77, 77, 77);
    assert_eq!(vm.op(Subop::QUERY_DEVICE, &mut query), 0);
    // INV-52: nothing else was written.
    let QueryDevice { group, moves_with, state, ctx_id, .. } = query;
    let expected = QueryDevice { group, moves_with, state, ctx_id, ..question(device) };
    assert_eq!(query.as_bytes(), expected.as_bytes());
    query
}

#[test]
fn a_device_is_where_the_guest_put_it() {
    with(&two_devices(), |vm| {
        let (first, second) = (vm.context(), vm.context());
        for context in [first, second, ContextId::DEFAULT, first] {
            assert_eq!(vm.attach(DEVICE, context), 0);
            assert_eq!(ask(vm, DEVICE).ctx_id, u32::from(context.0));
            assert_eq!(ask(vm, SECOND).ctx_id, 0);
        }
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        for mode in [pviommu_abi::OwnershipMode::CLEAR, pviommu_abi::OwnershipMode::GIVE_BACK] {
            assert_eq!(take(vm, mode), 0);
            assert_eq!(ask(vm, DEVICE).ctx_id, 0, "whatever table it is");
        }
        vm.end();
    });
}

/// Half way through a switch it is in context 0 all the same.
#[test]
fn a_device_is_in_context_0_at_each_step_of_a_switch() {
    with(&two_devices(), |vm| {
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let mut steps = 0;
        while crate::switch::kit::step(vm, pviommu_abi::OwnershipMode::CLEAR)
            == pviommu_hypervisor::Outcome::Continue
        {
            steps += 1;
            assert_eq!((ask(vm, DEVICE).ctx_id, ask(vm, SECOND).ctx_id), (0, 0));
        }
        assert!(steps > 1, "{steps}");
        vm.bed.schedule().clear();
        vm.end();
    });
}

#[test]
fn numbers_of_groups_tell_devices_apart_and_stay() {
    with(&two_devices(), |vm| {
        let (first, second) = (ask(vm, DEVICE), ask(vm, SECOND));
        assert_ne!(first.group, second.group);
        assert_ne!(first.moves_with, second.moves_with);
        assert!(first.group != 0 && second.group != 0, "0 is for what is not behind an IOMMU");
        let context = vm.attached_context();
        assert_eq!(ask(vm, DEVICE).group, first.group, "{context:?}");
        for told in [first, second] {
            assert!(told.state.contains(DeviceFlags::BEHIND_IOMMU));
            assert!(told.state.contains(DeviceFlags::INTERRUPTS_ISOLATED));
            assert!(!told.state.contains(DeviceFlags::SHARING_RISK));
            assert!(!told.state.contains(DeviceFlags::HIDDEN_MEMBERS));
        }
        vm.end();
    });
}

#[test]
fn a_device_is_coherent_where_the_units_enforce_it() {
    for snoops in [true, false] {
        let mut config = two_devices();
        config.units[0].features.set(UnitFeatures::SNOOP_CONTROL, snoops);
        with(&config, |vm| {
            assert_eq!(ask(vm, DEVICE).state.contains(DeviceFlags::COHERENT), snoops);
            vm.end();
        });
    }
}

/// INV-58.
#[test]
fn nothing_is_told_of_a_device_of_another_or_of_none() {
    let mut config = with_hardware_domain();
    let owner = DomId(0);
    config.devices.push(DeviceConfig { function: SECOND, owner, ..DeviceConfig::default() });
    let none = DeviceConfig { function: THIRD, unowned: true, ..DeviceConfig::default() };
    config.devices.push(none);
    with(&config, |vm| {
        for device in [SECOND, THIRD, PciDevice { seg: 7, bus: 0, devfn: 0 }] {
            is_refused(vm, Subop::QUERY_DEVICE, question(device), Errno::ENODEV);
        }
        let dom0 = Vm::new(vm.bed, owner, 0);
        assert!(ask(&dom0, SECOND).state.contains(DeviceFlags::BEHIND_IOMMU));
        is_refused(&dom0, Subop::QUERY_DEVICE, question(THIRD), Errno::ENODEV);
        is_refused(&dom0, Subop::QUERY_DEVICE, question(DEVICE), Errno::ENODEV);
        let mut for_guest = QueryDevice { domid: GUEST, ..question(DEVICE) };
        assert_eq!(dom0.op(Subop::QUERY_DEVICE, &mut for_guest), 0);
        assert_eq!(vm.bed.teardown(owner, 0), 0);
        vm.end();
    });
}

#[test]
fn a_question_that_is_wrong_changes_nothing() {
    with(&two_devices(), |vm| {
        let good = question(DEVICE);
        let refuse = |query, errno| is_refused(vm, Subop::QUERY_DEVICE, query, errno);
        for bit in 0..32 {
            let flags = QueryDeviceFlags::from_bits_retain(1 << bit);
            refuse(QueryDevice { flags, ..good }, Errno::EINVAL);
        }
        refuse(QueryDevice { reserved0: 1, ..good }, Errno::EINVAL);
        refuse(QueryDevice { reserved1: 1, ..good }, Errno::EINVAL);
        refuse(QueryDevice { reserved2: 1, ..good }, Errno::EINVAL);
        let handle = good.device;
        refuse(QueryDevice { device: DeviceHandle { pasid: 7, ..handle }, ..good }, Errno::EINVAL);
        for kind in [DeviceKind::NONE, DeviceKind::PLATFORM, DeviceKind(9)] {
            refuse(QueryDevice { device: DeviceHandle { kind, ..handle }, ..good }, Errno::ENODEV);
        }
        let id = handle.id | 1 << 40;
        refuse(QueryDevice { device: DeviceHandle { id, ..handle }, ..good }, Errno::ENODEV);
        refuse(QueryDevice { domid: DomId(0), ..good }, Errno::EPERM);
        vm.bed.schedule().set(Step::Policy, When::From(1));
        refuse(good, Errno::EPERM);
        vm.bed.schedule().clear();
        vm.end();
    });
}
