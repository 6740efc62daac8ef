//! "KVM PCIe/MSI passthrough on ARM/ARM64" (kvm, June 2016): an interrupt is a write, and some interrupt controllers
//! take it from anybody. Which devices may a guest have then, and which addresses can it not use? What is
//! made of each controller is told in `msi_doorbells`; here is what guests get of it.

use pviommu_abi::{Bfn, DeviceFlags, Errno, PciDevice, ReservedKind};
use pviommu_hypervisor::{
    OptIns, Risks, Scope,
    platform::UnitId,
    topology::{Function, MsiController, MsiPlatform, PeerToPeer, Regions},
};
use pviommu_testbed::machine::Config;

use super::kit::{at, drive, end, find, functions, machine, owner, ranges, told};
use crate::{
    guest::{GUEST, OTHER, RW, err, with},
    msi_doorbells::{gicv2m, its, platform},
};

const DEVICE: PciDevice = PciDevice { seg: 0, bus: 3, devfn: 0 };
const NEIGHBOUR: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 0 };

/// Two devices, each in a group of its own.
fn apart() -> Vec<Function> {
    functions("switch-acs-both")
}

/// Two devices of one group.
fn together() -> Vec<Function> {
    functions("switch-acs-none")
}

/// The machine whose interrupts go to these controllers; units of `remapping` remap them.
fn with_controllers(
    functions: &[Function],
    controllers: &[MsiController],
    remapping: &[UnitId],
) -> Config {
    let msi = MsiPlatform { remapping, ..platform(controllers) };
    let regions = Regions::new(&[], &[], msi, PeerToPeer::Reserved).unwrap();
    machine(functions, Some(&regions))
}

/// A doorbell that takes interrupts from anybody, for anybody.
fn on_gicv2m(functions: &[Function]) -> Config {
    with_controllers(functions, &[gicv2m()], &[])
}

fn on_x86(functions: &[Function], remapping: &[UnitId]) -> Config {
    with_controllers(functions, &[MsiController::x86(true)], remapping)
}

#[test]
fn a_device_that_can_ring_a_doorbell_of_everybody_goes_to_no_guest() {
    for functions in [apart(), together()] {
        with(&on_gicv2m(&functions), |vm| {
            for domain in [GUEST, OTHER] {
                assert_eq!(vm.bed.assign(domain, DEVICE), Err(Errno::EPERM));
            }
            assert_eq!(owner(vm.bed, DEVICE), None);
            end(vm);
        });
    }
}

/// The risk is taken for the device, for its group or for the domain; the guest is told that it is there.
#[test]
fn somebody_who_takes_the_risk_by_name_gives_it_away_all_the_same() {
    let gives = |functions: &[Function], accept: Option<(PciDevice, Scope)>, opt_ins| {
        let mut config = on_gicv2m(functions);
        config.domains[0].opt_ins = opt_ins;
        with(&config, |vm| {
            let iommu = vm.bed.iommu();
            if let Some((device, scope)) = accept {
                assert_eq!(iommu.accept_risks(device, scope, Risks::UNSAFE_INTERRUPTS), Ok(()));
            }
            let given = vm.bed.assign(GUEST, DEVICE);
            if given.is_ok() {
                drive(vm, DEVICE);
                assert!(!told(vm, DEVICE).contains(DeviceFlags::INTERRUPTS_ISOLATED));
            }
            end(vm);
            given
        })
    };
    let (none, unsafe_interrupts) = (OptIns::empty(), OptIns::UNSAFE_INTERRUPTS);
    let (device, group) = (Scope::Device, Scope::Group);
    assert_eq!(gives(&apart(), Some((DEVICE, device)), none), Ok(()));
    assert_eq!(gives(&apart(), Some((NEIGHBOUR, device)), none), Err(Errno::EPERM));
    assert_eq!(gives(&apart(), Some((NEIGHBOUR, group)), none), Err(Errno::EPERM));
    assert_eq!(gives(&apart(), None, unsafe_interrupts), Ok(()));
    assert_eq!(gives(&together(), Some((DEVICE, device)), none), Err(Errno::EPERM), "not all");
    assert_eq!(gives(&together(), Some((NEIGHBOUR, group)), none), Ok(()));
    assert_eq!(gives(&together(), None, unsafe_interrupts), Ok(()));
}

/// A controller that looks at who writes: nothing is to be accepted, and a window is left to map it in.
#[test]
fn an_interrupt_controller_that_looks_at_who_writes_is_in_nobodys_way() {
    with(&with_controllers(&apart(), &[its()], &[]), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(told(vm, DEVICE), DeviceFlags::INTERRUPTS_ISOLATED);
        let window = MsiPlatform::USUAL_WINDOW;
        let (first, last) = (Bfn(window.first >> 12), Bfn(window.last >> 12));
        let told = ranges(vm, DEVICE);
        let software = told.iter().find(|range| range.kind == ReservedKind::SW_MSI).unwrap();
        assert_eq!((software.first, software.last), (first, last));
        let context = drive(vm, DEVICE);
        let refused = (err(Errno::EADDRNOTAVAIL), 0);
        assert_eq!(vm.map(context, first.0, 2, 1, RW), refused);
        assert_eq!(vm.map(context, last.0 + 1, 2, 1, RW), (0, 1));
        end(vm);
    });
}

#[test]
fn without_interrupt_remapping_no_guest_has_a_device_and_with_it_the_hole_is_told() {
    with(&on_x86(&apart(), &[]), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::EPERM));
        end(vm);
    });
    with(&on_x86(&apart(), &[UnitId(0)]), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        assert_eq!(told(vm, DEVICE), DeviceFlags::INTERRUPTS_ISOLATED);
        let holes: Vec<_> = ranges(vm, DEVICE)
            .into_iter()
            .filter(|range| range.kind == ReservedKind::MSI)
            .map(|range| (range.first.0, range.last.0))
            .collect();
        assert!(!holes.is_empty() && holes.iter().all(|hole| *hole == (0xfee00, 0xfeeff)));
        let context = drive(vm, DEVICE);
        for bfn in [0xfee00, 0xfeeff] {
            assert_eq!(vm.map(context, bfn, 2, 1, RW), (err(Errno::EADDRNOTAVAIL), 0));
            assert!(!vm.lands_in(DEVICE, bfn, 2));
        }
        assert_eq!(vm.map(context, 0xfedff, 2, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 0xfedff, 2));
        end(vm);
    });
}

/// Behind units of which one remaps interrupts, two devices that have registers in one page.
#[test]
fn one_member_that_can_raise_any_interrupt_keeps_its_whole_group_from_guests() {
    let mut functions = functions("switch-acs-both");
    find(&mut functions, "03:00.0").regions[0] = 0xc000_0000;
    let neighbour = find(&mut functions, "04:00.0");
    (neighbour.regions[0], neighbour.unit) = (0xc000_0800, Some(UnitId(1)));
    for (remapping, expected) in [
        (&[UnitId(0), UnitId(1)][..], Ok(())),
        (&[UnitId(0)], Err(Errno::EPERM)),
        (&[UnitId(1)], Err(Errno::EPERM)),
    ] {
        with(&on_x86(&functions, remapping), |vm| {
            for device in [DEVICE, NEIGHBOUR] {
                assert_eq!(vm.bed.assign(GUEST, device), expected, "{remapping:?}");
                if expected.is_ok() {
                    assert_eq!(vm.bed.unassign(GUEST, 0, device), Ok(()));
                }
            }
            let bad = if remapping == [UnitId(0)] { NEIGHBOUR } else { DEVICE };
            let accepted = Risks::UNSAFE_INTERRUPTS;
            assert_eq!(vm.bed.iommu().accept_risks(bad, Scope::Device, accepted), Ok(()));
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()), "that one was meant");
            end(vm);
        });
    }
}

/// Nothing keeps it out of any window: no word of anybody's makes it a guest's.
#[test]
fn what_is_behind_no_unit_is_given_to_nobody() {
    let mut functions = apart();
    find(&mut functions, "03:00.0").unit = None;
    let mut config = with_controllers(&functions, &[its()], &[]);
    config.domains[0].opt_ins = OptIns::all();
    assert!(config.devices.iter().all(|device| device.function != at("03:00.0")));
    with(&config, |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::ENODEV));
        let accepted = vm.bed.iommu().accept_risks(DEVICE, Scope::Device, Risks::all());
        assert_eq!(accepted, Err(Errno::ENODEV));
        assert_eq!(vm.bed.assign(GUEST, NEIGHBOUR), Ok(()));
        end(vm);
    });
}
