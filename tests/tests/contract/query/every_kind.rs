//! What `topology` finds of devices is what a guest is told of them, and kept from.

use pviommu_abi::{Bfn, ContextId, Errno, PciDevice, ReservedKind as Wire};
use pviommu_hypervisor::{
    Reserved,
    addr::BfnRange,
    platform::Access,
    topology::{
        DirectRange, Function, HostBuses, HostWindow, MsiController, MsiKind, MsiPlatform,
        PeerToPeer, Place, RangeList, Regions, Window,
    },
};
use pviommu_testbed::{iommu::Direction, machine::Config};

use super::reserved::{all, of_context, of_device};
use crate::{
    acts::{Found, find, holes},
    direct::kit::{check, machine},
    kit::{DEVICE, RW, Vm, err, with},
};

/// A device below the other host bridge.
const FAR: PciDevice = PciDevice { seg: 0, bus: 0x80, devfn: 0 };

const NEAR_BUSES: HostBuses = HostBuses { segment: 0, first: 0, last: 0x7f };
const FAR_BUSES: HostBuses = HostBuses { segment: 0, first: 0x80, last: 0xff };

fn bytes(first: u64, last: u64) -> Window {
    Window { first, last }
}

/// Two host bridges: one takes interrupts itself, below the other they go to an ITS behind the unit.
/// Firmware uses some memory for both devices, some until a driver takes the first one over.
fn lists() -> [RangeList; 2] {
    let direct = |function, window, relaxable, access| DirectRange {
        function,
        bytes: window,
        relaxable,
        access,
    };
    let shared = bytes(0x800_0000, 0x800_1fff);
    let direct = [
        direct(DEVICE, bytes(0x10_0000, 0x10_3fff), true, Access::all()),
        direct(DEVICE, shared, false, Access::READ),
        direct(FAR, shared, false, Access::READ),
    ];
    let host_windows = [
        HostWindow { buses: NEAR_BUSES, window: bytes(0xc000_0000, 0xc00f_ffff) },
        HostWindow { buses: FAR_BUSES, window: bytes(0xc010_0000, 0xc010_0fff) },
    ];
    let controller = |kind, doorbell, buses| MsiController {
        kind,
        doorbell,
        place: Place::BehindTranslation,
        checks_device: true,
        buses: Some(buses),
    };
    let controllers = [
        controller(MsiKind::HostBridge, bytes(0x7900_0000, 0x7900_003f), NEAR_BUSES),
        controller(MsiKind::Its { pre_its: false }, bytes(0x2002_0000, 0x2003_ffff), FAR_BUSES),
    ];
    let software_window = bytes(0x900_0000, 0x900_ffff);
    let msi = MsiPlatform { controllers: &controllers, software_window, remapping: &[] };
    let regions = Regions::new(&direct, &host_windows, msi, PeerToPeer::Reserved).unwrap();
    [DEVICE, FAR].map(|function| {
        let mut out = RangeList::new();
        regions.of(&Function::new(function), std::iter::empty(), &mut out).unwrap();
        out
    })
}

fn config([near, far]: &[RangeList; 2]) -> Config {
    let mut config = machine(&[near, far]);
    config.devices[1].function = FAR;
    config
}

/// What is told besides what every context of the machine has.
fn told(ranges: &[(u64, u64, Wire)]) -> Vec<(u64, u64, Wire)> {
    let mut all: Vec<_> = ranges.iter().copied().chain(holes()).collect();
    all.sort_unstable_by_key(|(first, last, _)| (*first, *last));
    all
}

const RELAXABLE: (u64, u64, Wire) = (0x100, 0x103, Wire::DIRECT_RELAXABLE);
const DIRECT: (u64, u64, Wire) = (0x8000, 0x8001, Wire::DIRECT);
const SOFTWARE: (u64, u64, Wire) = (0x9000, 0x900f, Wire::SW_MSI);
const HARDWARE: (u64, u64, Wire) = (0x7_9000, 0x7_9000, Wire::MSI);
const NEAR_WINDOW: (u64, u64, Wire) = (0xc_0000, 0xc_00ff, Wire::BRIDGE_WINDOW);
const FAR_WINDOW: (u64, u64, Wire) = (0xc_0100, 0xc_0100, Wire::BRIDGE_WINDOW);

fn kinds(vm: &Vm<'_>, query: pviommu_abi::QueryReserved) -> Vec<(u64, u64, Wire)> {
    all(vm, query).into_iter().map(|(first, last, kind, _)| (first, last, kind)).collect()
}

/// Alex Williamson, June 2016: "The part of the address space consumed by the MSI controller needs to be described to
/// the user", and so does everything else that is not theirs.
#[test]
fn each_kind_of_range_is_told_of_its_device_and_of_their_context() {
    with(&config(&lists()), |vm| {
        let near = told(&[RELAXABLE, DIRECT, HARDWARE, NEAR_WINDOW]);
        let far = told(&[DIRECT, SOFTWARE, FAR_WINDOW]);
        let both = told(&[RELAXABLE, DIRECT, SOFTWARE, HARDWARE, NEAR_WINDOW, FAR_WINDOW]);
        assert_eq!((kinds(vm, of_device(DEVICE)), kinds(vm, of_device(FAR))), (near.clone(), far));
        let context = vm.context();
        for (device, now) in [(DEVICE, &near), (FAR, &both)] {
            assert_eq!(vm.attach(device, context), 0);
            assert_eq!(&kinds(vm, of_context(context)), now);
        }
        assert_eq!(vm.attach(FAR, ContextId::DEFAULT), 0);
        assert_eq!(kinds(vm, of_context(context)), near);
        vm.end();
    });
}

#[test]
fn a_guest_maps_none_of_them_but_what_a_driver_takes_over() {
    let lists = lists();
    with(&config(&lists), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.attach(FAR, context), 0);
        for (first, last, kind) in kinds(vm, of_context(context)) {
            let free = kind == Wire::DIRECT_RELAXABLE;
            for bfn in [first, last] {
                let expected = if free { (0, 1) } else { (err(Errno::EADDRNOTAVAIL), 0) };
                assert_eq!(vm.map(context, bfn, 1, 1, RW), expected, "{kind:?} {bfn:#x}");
            }
            let beside = [first - 1, last + 1].map(|bfn| vm.map(context, bfn, 1, 1, RW));
            let windows_touch = kind == Wire::BRIDGE_WINDOW;
            assert!(windows_touch || beside == [(0, 1); 2], "{kind:?} {beside:?}");
        }
        // Nothing is there but what firmware needs.
        let direct = Reserved {
            range: BfnRange::of_pages(Bfn(0x8000), 2).unwrap(),
            kind: pviommu_hypervisor::ReservedKind::Direct,
            access: Access::READ,
        };
        for device in [DEVICE, FAR] {
            check(vm, device, &direct);
            for bfn in [SOFTWARE, HARDWARE, NEAR_WINDOW, FAR_WINDOW].map(|(first, ..)| first) {
                for way in [Direction::Read, Direction::Write] {
                    assert_eq!(find(vm.bed, device, bfn, way), Found::Fault, "{bfn:#x}");
                }
            }
        }
        vm.end();
    });
}
