//! Reserved ranges for drivers that know v7 only: `XENMEM_reserved_device_memory_map`.

use pviommu_abi::{
    Bfn, Errno, GuestPtr, PciDevice,
    companion::{XENMEM_RDM_ALL, XenReservedDeviceMemory, XenReservedDeviceMemoryMap},
};
use pviommu_hypervisor::{Caller, Outcome, Reserved, ReservedKind, Width, addr::BfnRange};
use pviommu_testbed::machine::{Config, DeviceConfig, Step, When, reserved};
use zerocopy::{FromBytes, IntoBytes};

use crate::kit::{DEVICE, GUEST, OTHER, SECOND, Vm, err, two_guests, with};

/// Where the argument lies, across two pages, and where the ranges are written.
const ARGUMENT: u64 = 0x3000 - 8;
const BUFFER: u64 = 0x5000;
/// A second device of the guest.
const THIRD: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 5 << 3 };

fn range(first: u64, last: u64, kind: ReservedKind) -> Reserved {
    reserved(BfnRange::new(Bfn(first), Bfn(last)).unwrap(), kind)
}

/// [`DEVICE`] has a range of firmware and a window; [`SECOND`], of another domain, and [`THIRD`] have one
/// range each.
fn config() -> Config {
    let mut config = two_guests(64).with_direct_ranges();
    let window = range(0x8_0000, 0x8_0fff, ReservedKind::BridgeWindow);
    config.devices[0].reserved = vec![range(0x7_0000, 0x7_0003, ReservedKind::Direct), window];
    config.devices[1].reserved = vec![range(0x9_0000, 0x9_0000, ReservedKind::Direct)];
    config.devices.push(DeviceConfig {
        function: THIRD,
        reserved: vec![range(0xa_0000, 0xa_0007, ReservedKind::DirectRelaxable)],
        ..DeviceConfig::default()
    });
    config
}

/// One call for `room` ranges: the status, how many there are, and what was written.
fn call(vm: &Vm<'_>, flags: u32, dev: PciDevice, room: u32) -> (i64, u32, Vec<(u64, u64)>) {
    let (nr_entries, buffer, pad0) = (room, GuestPtr(BUFFER), [7; 4]);
    let mut map = XenReservedDeviceMemoryMap { flags, nr_entries, buffer, dev, pad0 };
    vm.bed.guest_write(GUEST, ARGUMENT, map.as_bytes());
    let caller = Caller { cpu: 0, width: Width::Bits64 };
    let domain = vm.bed.domain(GUEST);
    let status = match vm.bed.iommu().reserved_device_memory_map(domain, caller, ARGUMENT) {
        Outcome::Done(status) => status,
        // No status is this one.
        Outcome::Continue => 1,
    };
    vm.bed.guest_read(GUEST, ARGUMENT, map.as_mut_bytes());
    let mut bytes = vec![0; room.min(map.nr_entries) as usize * 16];
    vm.bed.guest_read(GUEST, BUFFER, &mut bytes);
    let entries =
        bytes.chunks_exact(16).map(|it| XenReservedDeviceMemory::read_from_bytes(it).unwrap());
    (status, map.nr_entries, entries.map(|it| (it.start_pfn, it.nr_pages)).collect())
}

/// Ranges of the machine that are told beside those of a device.
fn of_machine() -> Vec<(u64, u64)> {
    let all = crate::kinds::of_this_kind(&config()).reserved_by_machine();
    let told = all.iter().filter(|it| it.kind != ReservedKind::Msi);
    told.map(|it| (it.range.first().0, it.range.pages())).collect()
}

fn with_machine(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    ranges.iter().copied().chain(of_machine()).collect()
}

#[test]
fn a_guest_is_told_the_ranges_of_its_devices_and_the_machines() {
    with(&config(), |vm| {
        let own = with_machine(&[(0x7_0000, 4), (0x8_0000, 0x1000)]);
        let count = own.len() as u32;
        assert_eq!(call(vm, 0, DEVICE, 0), (err(Errno::ENOBUFS), count, vec![]));
        assert_eq!(call(vm, 0, DEVICE, 1), (err(Errno::ENOBUFS), count, own[..1].to_vec()));
        for room in [count, 20] {
            assert_eq!(call(vm, 0, DEVICE, room), (0, count, own.clone()));
        }
        let all = with_machine(&[(0x7_0000, 4), (0x8_0000, 0x1000), (0xa_0000, 8)]);
        let count = all.len() as u32;
        assert_eq!(call(vm, XENMEM_RDM_ALL, DEVICE, 20), (0, count, all));
        vm.bed.teardown(OTHER, 0);
        vm.end();
    });
}

#[test]
fn a_guest_is_told_nothing_of_devices_that_are_not_its_own() {
    with(&config(), |vm| {
        let nobodys = PciDevice { seg: 9, bus: 9, devfn: 9 };
        for device in [SECOND, nobodys] {
            assert_eq!(call(vm, 0, device, 20), (0, 0, vec![]));
        }
        vm.bed.teardown(OTHER, 0);
        vm.end();
    });
}

/// INV-50, INV-52, INV-58.
#[test]
fn the_argument_is_read_once_and_only_the_count_is_written_back() {
    with(&config(), |vm| {
        let board = vm.bed.board();
        board.record_copies(true);
        let (status, count, _) = call(vm, 0, THIRD, 20);
        board.record_copies(false);
        assert_eq!(status, 0);
        let mut copies = board.take_copies().into_iter().map(|it| (it.address, it.bytes, it.out));
        assert_eq!(copies.next(), Some((ARGUMENT, 24, false)));
        for entry in 0..u64::from(count) {
            assert_eq!(copies.next(), Some((BUFFER + entry * 16, 16, true)));
        }
        assert_eq!(copies.next(), Some((ARGUMENT + 4, 4, true)));
        assert_eq!(copies.next(), None);
        board.record_copies(true);
        assert_eq!(call(vm, 0, DEVICE, 1).0, err(Errno::ENOBUFS));
        let written =
            board.take_copies().iter().filter(|it| it.out && it.address >= BUFFER).count();
        assert_eq!(written, 1, "there is room for one, and one was written");
        vm.bed.schedule().set(Step::Policy, When::From(1));
        assert_eq!(call(vm, 0, DEVICE, 20).0, err(Errno::EPERM));
        assert!(board.take_copies().iter().all(|it| !it.out), "nothing is written");
        board.record_copies(false);
        vm.bed.schedule().clear();
        vm.bed.teardown(OTHER, 0);
        vm.end();
    });
}
