//! A device whose interrupts are not isolated, or beside which something does DMA past all units, goes to no
//! ordinary guest, unless somebody takes that risk.

use pviommu_abi::{DeviceFlags, Errno, PciDevice};
use pviommu_hypervisor::{DeviceFacts, OptIns, Risks, Role, Scope};
use pviommu_testbed::machine::Config;

use super::kit::{ALONE, BELOW, BESIDE, GROUP, config, is_told, owners, stats};
use crate::kit::{DEVICE, GUEST, OTHER, with};

/// The machine of [`config`], where one of the group can raise any interrupt.
fn unsafe_at(at: usize) -> Config {
    let mut config = config();
    config.devices[at].facts = DeviceFacts::empty();
    config
}

#[test]
fn one_member_with_unsafe_interrupts_keeps_the_whole_group_from_a_guest() {
    for at in 0..3 {
        with(&unsafe_at(at), |vm| {
            for device in GROUP {
                assert_eq!(vm.bed.assign(GUEST, device), Err(Errno::EPERM));
                assert_eq!(owners(vm.bed), [None; 3]);
            }
            assert_eq!(vm.bed.assign(GUEST, ALONE), Ok(()), "it is of another group");
            vm.end();
        });
    }
}

#[test]
fn the_risk_is_taken_for_the_device_its_group_or_the_domain() {
    let iommu_takes = |scope, device: PciDevice| {
        with(&unsafe_at(1), |vm| {
            let accept = |risks| vm.bed.iommu().accept_risks(device, scope, risks);
            assert_eq!(accept(Risks::UNSAFE_INTERRUPTS), Ok(()));
            assert!(stats(vm.bed, device).risks.contains(Risks::UNSAFE_INTERRUPTS));
            let given = vm.bed.assign(GUEST, DEVICE);
            if given.is_ok() {
                for device in GROUP {
                    assert!(!is_told(vm, device, DeviceFlags::INTERRUPTS_ISOLATED), "the AND");
                }
                assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            }
            assert_eq!(accept(Risks::empty()), Ok(()));
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::EPERM), "and not for ever");
            vm.end();
            given
        })
    };
    assert_eq!(iommu_takes(Scope::Device, BESIDE), Ok(()));
    assert_eq!(iommu_takes(Scope::Device, DEVICE), Err(Errno::EPERM), "not the one that is unsafe");
    assert_eq!(iommu_takes(Scope::Group, BELOW), Ok(()));
    let mut config = unsafe_at(2);
    config.domains[0].opt_ins = OptIns::UNSAFE_INTERRUPTS;
    with(&config, |vm| {
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EPERM));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        vm.end();
    });
}

/// The machine of [`config`], with a function in the group that is behind no unit.
fn beside_untranslated() -> Config {
    let mut config = config();
    config.devices[..3].iter_mut().for_each(|device| device.beside_untranslated = true);
    config
}

/// INV-46: it does DMA everywhere, and a guest that may reach its registers does, too.
#[test]
fn a_group_with_a_function_behind_no_unit_goes_to_no_ordinary_guest() {
    with(&beside_untranslated(), |vm| {
        for device in GROUP {
            assert_eq!(vm.bed.assign(GUEST, device), Err(Errno::EPERM));
        }
        assert_eq!(owners(vm.bed), [None; 3]);
        let accept = |scope| {
            let risk = Risks::UNTRANSLATED_NEIGHBOUR;
            assert_eq!(vm.bed.iommu().accept_risks(BESIDE, scope, risk), Ok(()));
            vm.bed.assign(GUEST, DEVICE)
        };
        assert_eq!(accept(Scope::Device), Err(Errno::EPERM), "it is the risk of all");
        assert_eq!(accept(Scope::Group), Ok(()));
        vm.end();
    });
    for (role, opt_ins) in
        [(Role::Hardware, OptIns::empty()), (Role::Guest, OptIns::UNTRANSLATED_NEIGHBOURS)]
    {
        let mut config = beside_untranslated();
        (config.domains[0].role, config.domains[0].opt_ins) = (role, opt_ins);
        with(&config, |vm| {
            assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EPERM));
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
            vm.end();
        });
    }
}

#[test]
fn the_hardware_domain_has_what_it_drives() {
    let mut config = unsafe_at(0);
    config.domains[0].role = Role::Hardware;
    with(&config, |vm| {
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Err(Errno::EPERM));
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        vm.end();
    });
}

#[test]
fn a_guest_is_told_whether_the_interrupts_of_the_whole_group_are_isolated() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert!(is_told(vm, DEVICE, DeviceFlags::INTERRUPTS_ISOLATED));
        assert_eq!(vm.bed.iommu().accept_risks(BESIDE, Scope::Group, Risks::all()), Ok(()));
        assert_eq!(GROUP.map(|it| stats(vm.bed, it).risks), [Risks::all(); 3]);
        assert_eq!(stats(vm.bed, ALONE).risks, Risks::empty());
        let none = PciDevice::new(0, 9, 9, 0);
        let accepted = vm.bed.iommu().accept_risks(none, Scope::Group, Risks::all());
        assert_eq!(accepted, Err(Errno::ENODEV));
        vm.end();
    });
}
