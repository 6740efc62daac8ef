//! The reserved ranges of a function: what firmware, interrupt controllers and bridges say of it.

use pviommu_abi::{Bfn, PciDevice};
use pviommu_hypervisor::{
    Reserved, ReservedKind,
    addr::BfnRange,
    platform::{Access, UnitId},
    topology::{
        DirectRange, Function, HostBuses, HostWindow, MsiController, MsiPlatform, PeerToPeer,
        RangeList, RegionError, Regions, TooManyRanges, Window,
    },
};

const NIC: PciDevice = PciDevice { seg: 0, bus: 3, devfn: 0 };
const USB: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 0x14 << 3 };
const ALL: Access = Access::all();

fn msi() -> MsiPlatform<'static> {
    MsiPlatform {
        controllers: const { &[MsiController::x86(true)] },
        software_window: MsiPlatform::USUAL_WINDOW,
        remapping: &[UnitId(0)],
    }
}

fn frames(kind: ReservedKind, first: u64, last: u64) -> Reserved {
    let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
    Reserved { range, kind, access: Access::empty() }
}

fn doorbell() -> Reserved {
    frames(ReservedKind::Msi, 0xfee00, 0xfeeff)
}

fn window(first: u64, last: u64) -> Reserved {
    frames(ReservedKind::BridgeWindow, first, last)
}

fn direct(function: PciDevice, first: u64, last: u64) -> DirectRange {
    let bytes = Window { first, last };
    DirectRange { function, bytes, relaxable: false, access: ALL }
}

fn host_window(first: u64, last: u64) -> HostWindow {
    let buses = HostBuses { segment: 0, first: 0, last: 0x7f };
    HostWindow { buses, window: Window { first, last } }
}

fn bridge(bus: u8, windows: [Option<(u64, u64)>; 2]) -> Function {
    let windows = windows.map(|it| it.map(|(first, last)| Window { first, last }));
    Function { windows, ..Function::new(PciDevice::new(0, bus, 0, 0)) }
}

/// The ranges of a function below `bridges`.
fn of(
    regions: &Regions<'_>,
    function: PciDevice,
    bridges: &[(&Function, bool)],
) -> Result<Vec<Reserved>, TooManyRanges> {
    let mut out = RangeList::new();
    let function = Function::new(function);
    regions.of(&function, bridges.iter().copied(), &mut out).map(|()| out.to_vec())
}

#[test]
fn a_function_has_the_direct_ranges_that_name_it() {
    let list = [
        direct(PciDevice { devfn: USB.devfn + 1, ..USB }, 0x1000, 0x1fff),
        direct(PciDevice { bus: 4, ..NIC }, 0x2000, 0x2fff),
        DirectRange { relaxable: true, ..direct(USB, 0x7b00_0000, 0x7b7f_ffff) },
        direct(NIC, 0x8000_0000, 0x8000_0fff),
        DirectRange { access: Access::READ, ..direct(NIC, 0x9000_0800, 0x9000_1000) },
    ];
    let regions = Regions::new(&list, &[], msi(), PeerToPeer::Reserved).unwrap();
    let usb = Reserved { access: ALL, ..frames(ReservedKind::DirectRelaxable, 0x7b000, 0x7b7ff) };
    assert_eq!(of(&regions, USB, &[]), Ok(vec![usb, doorbell()]));
    // Rounded outwards, in order.
    let first = Reserved { access: ALL, ..frames(ReservedKind::Direct, 0x80000, 0x80000) };
    let second =
        Reserved { access: Access::READ, ..frames(ReservedKind::Direct, 0x90000, 0x90001) };
    assert_eq!(of(&regions, NIC, &[]), Ok(vec![first, second, doorbell()]));
    for nobody in [PciDevice::new(0, 0, 0, 0), PciDevice::new(1, 0, 0, 0)] {
        assert_eq!(of(&regions, nobody, &[]), Ok(vec![doorbell()]));
    }
}

/// What Linux keeps drivers away from, too: addresses that the root complex sends to a device.
#[test]
fn the_windows_of_its_own_host_bridge_are_reserved() {
    let other = HostBuses { segment: 0, first: 0x80, last: 0xff };
    let list = [
        host_window(0xc000_0000, 0xdfff_ffff),
        HostWindow { buses: other, ..host_window(0xe000_0000, 0xefff_ffff) },
        host_window(0x40_0000_0000, 0x7f_ffff_ffff),
        host_window(0xe000_0000, 0xe000_0fff),
    ];
    let regions = Regions::new(&[], &list, msi(), PeerToPeer::Reserved).unwrap();
    let own = [window(0xc0000, 0xe0000), doorbell(), window(0x400_0000, 0x7ff_ffff)];
    assert_eq!(of(&regions, NIC, &[]), Ok(own.to_vec()));
    let others = [window(0xe0000, 0xeffff), doorbell()];
    assert_eq!(of(&regions, PciDevice { bus: 0x80, ..NIC }, &[]), Ok(others.to_vec()));
    assert_eq!(of(&regions, PciDevice { seg: 1, ..NIC }, &[]), Ok(vec![doorbell()]));
}

/// A switch whose ports do not send everything up: a request to a neighbour never reaches the unit.
#[test]
fn the_windows_of_the_topmost_open_bridge_are_reserved() {
    let root = bridge(0, [Some((0xc000_0000, 0xc0ff_ffff)), None]);
    let upstream =
        bridge(1, [Some((0xc000_0000, 0xc03f_ffff)), Some((0x40_0000_0000, 0x40_3fff_ffff))]);
    let downstream = bridge(2, [Some((0xc010_0000, 0xc01f_ffff)), None]);
    let regions = Regions::new(&[], &[], msi(), PeerToPeer::Reserved).unwrap();
    let above = |opens: [bool; 3]| {
        let bridges = [(&downstream, opens[0]), (&upstream, opens[1]), (&root, opens[2])];
        of(&regions, NIC, &bridges).unwrap()
    };
    let switch = [window(0xc0000, 0xc03ff), doorbell(), window(0x400_0000, 0x403_ffff)];
    assert_eq!(above([false; 3]), [doorbell()]);
    assert_eq!(above([true, false, false]), [window(0xc0100, 0xc01ff), doorbell()]);
    assert_eq!(above([false, true, false]), switch);
    assert_eq!(above([true, true, false]), switch);
    assert_eq!(above([true, false, true]), [window(0xc0000, 0xc0fff), doorbell()]);
}

#[test]
fn a_bridge_that_forwards_nothing_reserves_nothing() {
    let closed = bridge(2, [Some((0xfff0_0000, 0x000f_ffff)), None]);
    let regions = Regions::new(&[], &[], msi(), PeerToPeer::Reserved).unwrap();
    assert_eq!(of(&regions, NIC, &[(&closed, true)]), Ok(vec![doorbell()]));
}

/// The switch for those who want DMA from device to device. It is about windows only.
#[test]
fn no_window_is_reserved_where_peer_to_peer_is_allowed() {
    let open = bridge(2, [Some((0xc010_0000, 0xc01f_ffff)), None]);
    let (directs, windows) =
        ([direct(NIC, 0x1000, 0x1fff)], [host_window(0xc000_0000, 0xdfff_ffff)]);
    let told = [PeerToPeer::Reserved, PeerToPeer::Allowed].map(|peer_to_peer| {
        let regions = Regions::new(&directs, &windows, msi(), peer_to_peer).unwrap();
        of(&regions, NIC, &[(&open, true)]).unwrap()
    });
    let first = Reserved { access: ALL, ..frames(ReservedKind::Direct, 1, 1) };
    assert_eq!(told[0], [first, window(0xc0000, 0xdffff), doorbell()]);
    assert_eq!(told[1], [first, doorbell()]);
}

/// A device that a context could not take in is found out before it is given away.
#[test]
fn more_ranges_than_a_context_holds_are_an_error() {
    let list: Vec<_> = (0..31).map(|n| direct(NIC, n << 13, n << 13)).collect();
    let windows = [host_window(0xc000_0000, 0xdfff_ffff)];
    let alone = Regions::new(&list, &[], msi(), PeerToPeer::Reserved).unwrap();
    assert_eq!(of(&alone, NIC, &[]).map(|ranges| ranges.len()), Ok(32));
    let both = Regions::new(&list, &windows, msi(), PeerToPeer::Reserved).unwrap();
    assert_eq!(of(&both, NIC, &[]), Err(TooManyRanges));
}

#[test]
fn lists_that_contradict_themselves_are_refused() {
    let new = |direct: &[DirectRange], windows: &[HostWindow], msi| {
        Regions::new(direct, windows, msi, PeerToPeer::Reserved).map(|_| ())
    };
    let good = direct(NIC, 0, u64::MAX);
    let unsorted = [direct(NIC, 1, 9), direct(USB, 0, 1)];
    assert_eq!(new(&unsorted, &[], msi()), Err(RegionError::DirectNotSorted(USB)));
    for bad in [direct(NIC, 2, 1), DirectRange { access: Access::empty(), ..good }] {
        assert_eq!(new(&[good, bad], &[], msi()), Err(RegionError::DirectEmpty(NIC)));
    }
    let whole = host_window(0, u64::MAX);
    let buses = HostBuses { segment: 0, first: 2, last: 1 };
    let no_bytes = host_window(0x2000, 0x1fff);
    let no_bus = HostWindow { buses, ..whole };
    for bad in [no_bytes, no_bus] {
        let error = Err(RegionError::WindowEmpty(bad.buses));
        assert_eq!(new(&[good], &[whole, bad], msi()), error);
    }
    let nowhere = MsiPlatform { software_window: Window { first: 1, last: 0 }, ..msi() };
    assert_eq!(new(&[good], &[whole], nowhere), Err(RegionError::SoftwareWindowEmpty));
    assert_eq!(new(&[good, good], &[whole], msi()), Ok(()));
}
