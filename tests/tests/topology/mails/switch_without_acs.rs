//! "Determining iommu groups in Xen?" (xen-devel, August 2014): Xen does not enforce groups. Two devices behind a
//! switch without access control, given to two guests that use the same addresses: a request of one goes to
//! the other inside the switch, and not to its guest's memory. Whoever runs such a machine has to trust
//! the administrators of both guests.

use pviommu_abi::{DeviceFlags, Errno, PciDevice, ReservedKind};
use pviommu_hypervisor::{
    OptIns,
    platform::UnitId,
    topology::{Acs, AcsBits, Function, MsiController, MsiPlatform, PeerToPeer, Regions, Window},
};
use pviommu_testbed::machine::{Config, ConfigSpace};

use super::kit::{
    at, drive, end, find, functions, machine, other, owner, ranges, stats, told, topology, works,
};
use crate::guest::{GUEST, OTHER, RW, err, with};

const ONE: PciDevice = PciDevice { seg: 0, bus: 3, devfn: 0 };
const SECOND: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 0 };

/// The same machine, where the guests of these numbers have administrators who are trusted.
fn trusting(trusted: &[usize]) -> Config {
    let mut config = machine(&functions("switch-acs-none"), None);
    trusted.iter().for_each(|domain| config.domains[*domain].opt_ins = OptIns::SPLIT_GROUPS);
    config
}

#[test]
fn two_devices_behind_a_switch_without_access_control_do_not_go_to_two_guests() {
    let space = ConfigSpace::new(&functions("switch-acs-none"));
    assert!(space.reaches(ONE, SECOND) && space.reaches(SECOND, ONE), "inside the switch");
    with(&trusting(&[]), |vm| {
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Err(Errno::EBUSY));
        assert_eq!(owner(vm.bed, SECOND), Some(GUEST), "both are the first one's");
        drive(vm, ONE);
        drive(vm, SECOND);
        end(vm);
    });
}

#[test]
fn behind_a_switch_with_access_control_each_of_two_guests_has_its_own() {
    let space = ConfigSpace::new(&functions("switch-acs-both"));
    assert!(!space.reaches(ONE, SECOND) && !space.reaches(SECOND, ONE));
    with(&machine(&functions("switch-acs-both"), None), |vm| {
        let second = other(vm);
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Ok(()));
        // The same bus frame, and the same guest frame, in either: each finds its own guest's memory.
        drive(vm, ONE);
        drive(&second, SECOND);
        assert!(works(vm, ONE) && works(&second, SECOND));
        assert!(!works(vm, SECOND) && !works(&second, ONE));
        assert_eq!(told(vm, ONE), DeviceFlags::INTERRUPTS_ISOLATED);
        assert_eq!(told(&second, SECOND), DeviceFlags::INTERRUPTS_ISOLATED);
        end(vm);
    });
}

/// Access control counts on all ports: requests come in by the one that has none.
#[test]
fn access_control_of_one_port_is_not_enough() {
    let space = ConfigSpace::new(&functions("switch-acs-one"));
    assert!(space.reaches(SECOND, ONE) && !space.reaches(ONE, SECOND));
    with(&machine(&functions("switch-acs-one"), None), |vm| {
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Err(Errno::EBUSY));
        end(vm);
    });
}

/// A port that redirects, and by a vector of its own lets through what it likes.
#[test]
fn access_control_that_egress_control_overrides_is_not_enough() {
    let mut functions = functions("switch-acs-both");
    let port = find(&mut functions, "02:01.0");
    let all = AcsBits::ISOLATION | AcsBits::EGRESS_CONTROL;
    port.acs = Acs::Present { capability: all, control: all, at: 0 };
    let space = ConfigSpace::new(&functions);
    assert!(space.reaches(SECOND, ONE) && !space.reaches(ONE, SECOND));
    let mut room = Vec::new();
    let known = topology(&functions, &mut room);
    let mut remedies = Vec::new();
    known.remedies(SECOND, &mut |remedy| remedies.push(remedy.to_string()));
    assert!(
        remedies.iter().any(|it| it.contains("02:01.0") && it.contains("EgressControl")),
        "{remedies:?}"
    );
    with(&machine(&functions, None), |vm| {
        assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, SECOND), Err(Errno::EBUSY));
        end(vm);
    });
}

/// Trust is for domains, and both have to be trusted; it is told to them, and to who runs the machine.
#[test]
fn guests_whose_administrators_are_trusted_have_one_each_and_know_of_it() {
    for trusted in [&[0][..], &[1], &[0, 1]] {
        with(&trusting(trusted), |vm| {
            let second = other(vm);
            assert_eq!(vm.bed.assign(GUEST, ONE), Ok(()));
            let given = vm.bed.assign(OTHER, SECOND);
            if trusted.len() < 2 {
                assert_eq!(given, Err(Errno::EBUSY), "{trusted:?}");
                return end(vm);
            }
            assert_eq!(given, Ok(()));
            drive(vm, ONE);
            drive(&second, SECOND);
            let risk = DeviceFlags::HIDDEN_MEMBERS
                | DeviceFlags::SHARING_RISK
                | DeviceFlags::INTERRUPTS_ISOLATED;
            assert_eq!((told(vm, ONE), told(&second, SECOND)), (risk, risk));
            assert!([ONE, SECOND].into_iter().all(|it| stats(vm.bed, it).alone));
            end(vm);
        });
    }
}

/// What the switch forwards downwards: 16 MiB that never reach the unit if it is open.
const WINDOW: Window = Window { first: 0xc000_0000, last: 0xc0ff_ffff };
const FIRST: u64 = WINDOW.first >> 12;
const LAST: u64 = WINDOW.last >> 12;

fn with_window(name: &str) -> Vec<Function> {
    let mut functions = functions(name);
    find(&mut functions, "01:00.0").windows[0] = Some(WINDOW);
    functions
}

/// Addresses of the neighbour's registers are no place for a mapping: DMA there would not arrive.
#[test]
fn a_guest_may_not_map_where_the_switch_would_send_its_dma_to_the_neighbour() {
    let controllers = [MsiController::x86(true)];
    let msi = MsiPlatform {
        controllers: &controllers,
        software_window: MsiPlatform::USUAL_WINDOW,
        remapping: &[UnitId(0)],
    };
    let machines = [
        ("switch-acs-none", PeerToPeer::Reserved, true),
        ("switch-acs-none", PeerToPeer::Allowed, false),
        ("switch-acs-both", PeerToPeer::Reserved, false),
    ];
    for (name, peer_to_peer, reserved) in machines {
        let functions = with_window(name);
        let regions = Regions::new(&[], &[], msi, peer_to_peer).unwrap();
        with(&machine(&functions, Some(&regions)), |vm| {
            assert_eq!(vm.bed.assign(GUEST, at("03:00.0")), Ok(()));
            let context = drive(vm, ONE);
            let told = ranges(vm, ONE);
            let window = told.iter().find(|range| range.kind == ReservedKind::BRIDGE_WINDOW);
            let window = window.map(|range| (range.first.0, range.last.0));
            assert_eq!(window, reserved.then_some((FIRST, LAST)), "{name} {peer_to_peer:?}");
            let expected = if reserved { (err(Errno::EADDRNOTAVAIL), 0) } else { (0, 1) };
            for bfn in [FIRST, LAST] {
                assert_eq!(vm.map(context, bfn, 2, 1, RW), expected);
                assert_eq!(vm.lands_in(ONE, bfn, 2), !reserved);
            }
            for bfn in [FIRST - 1, LAST + 1] {
                assert_eq!(vm.map(context, bfn, 2, 1, RW), (0, 1));
            }
            end(vm);
        });
    }
}
