//! Subop 0x41: the bus frames that a guest may not map, and those it is told about.

use pviommu_abi::{
    AccessFlags, Bfn, ContextId, DeviceHandle, DeviceKind, DomId, Errno, QueryReserved,
    QueryReservedFlags, ReservedKind as Wire, ReservedRange, Subop,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Reserved, ReservedKind, addr::BfnRange};
use pviommu_testbed::machine::{Config, Step, When, reserved};
use zerocopy::{FromZeros, IntoBytes};

use super::kit::is_refused;
use crate::{
    acts::holes,
    direct::kit::{ALL, READ_ONLY, SECOND, direct, machine},
    kit::{DEVICE, GUEST, RW, Vm, err, with},
};

/// What lies in the buffer before it is written.
const UNTOUCHED: u8 = 0x5a;

fn range(first: u64, pages: u64, kind: ReservedKind) -> Reserved {
    reserved(BfnRange::of_pages(Bfn(first), pages).unwrap(), kind)
}

/// A machine with a reserved range besides the interrupt range, and two devices with some of each kind.
fn config() -> Config {
    let first = [
        direct(0x8000, 2, READ_ONLY),
        range(0x7000, 16, ReservedKind::BridgeWindow),
        Reserved { kind: ReservedKind::DirectRelaxable, ..direct(0x100, 4, ALL) },
    ];
    let second = [direct(0x8000, 2, READ_ONLY), range(0x7008, 16, ReservedKind::SoftwareMsi)];
    let mut config = machine(&[&first, &second]);
    config.reserved.push(range(0xa_0000, 0x100, ReservedKind::Reserved));
    config
}

pub(super) fn of_context(context: ContextId) -> QueryReserved {
    QueryReserved { ctx_id: u32::from(context.0), ..QueryReserved::default() }
}

pub(super) fn of_device(device: pviommu_abi::PciDevice) -> QueryReserved {
    let (flags, device) = (QueryReservedFlags::DEVICE, DeviceHandle::pci(device));
    QueryReserved { flags, device, ..QueryReserved::default() }
}

/// Asks with room for `room`: status, the number told, and the buffer.
fn ask(vm: &Vm<'_>, query: QueryReserved, room: u32) -> (i64, u32, Vec<ReservedRange>) {
    let mut query = QueryReserved { nr_entries: room, ..query };
    let mut buffer = vec![ReservedRange::new_zeroed(); room as usize + 1];
    buffer.as_mut_bytes().fill(UNTOUCHED);
    let bytes = buffer.as_mut_bytes();
    let status = vm.guest.iommu_op(Subop::QUERY_RESERVED, query.as_mut_bytes(), Some(bytes));
    let told = usize::try_from(query.nr_entries.min(room)).unwrap();
    let rest = &buffer.as_bytes()[told * 32..];
    if status == 0 || status == err(Errno::ENOBUFS) {
        assert!(rest.iter().all(|byte| *byte == UNTOUCHED), "INV-52");
    }
    buffer.truncate(told);
    (status, query.nr_entries, buffer)
}

/// All of it, asked as a driver does: for the number first.
pub(super) fn all(vm: &Vm<'_>, query: QueryReserved) -> Vec<(u64, u64, Wire, AccessFlags)> {
    let (status, count, _) = ask(vm, query, 0);
    assert_eq!(status, err(Errno::ENOBUFS));
    let (status, again, ranges) = ask(vm, query, count);
    assert_eq!((status, again), (0, count));
    assert!(ranges.iter().all(|range| range.reserved == 0));
    ranges.iter().map(|it| (it.first.0, it.last.0, it.kind, it.access)).collect()
}

/// Number of ranges that are reserved in every context.
fn of_machine() -> usize {
    1 + holes().len()
}

const READ: AccessFlags = AccessFlags::READ;
const BOTH: AccessFlags = AccessFlags::READ.union(AccessFlags::WRITE);

#[test]
fn the_ranges_of_a_device_are_those_of_a_context_of_its_own_in_order() {
    with(&config(), |vm| {
        let told = all(vm, of_device(DEVICE));
        let kinds: Vec<_> =
            told.iter().map(|(first, last, kind, _)| (*first, *last, *kind)).collect();
        let expected = [
            (0x100, 0x103, Wire::DIRECT_RELAXABLE),
            (0x7000, 0x700f, Wire::BRIDGE_WINDOW),
            (0x8000, 0x8001, Wire::DIRECT),
            (0xa_0000, 0xa_00ff, Wire::RESERVED),
        ];
        let mut expected: Vec<_> = expected.into_iter().chain(holes()).collect();
        expected.sort_unstable_by_key(|(first, last, _)| (*first, *last));
        assert_eq!(kinds, expected);
        let of = |kind| told.iter().find(|range| range.2 == kind).unwrap().3;
        assert_eq!((of(Wire::DIRECT), of(Wire::DIRECT_RELAXABLE)), (READ, BOTH));
        // A context that it alone is in says the same.
        let context = vm.attached_context();
        assert_eq!(all(vm, of_context(context)), told);
        vm.end();
    });
}

/// What is told for a context is what a guest is refused there, page by page.
#[test]
fn the_ranges_of_a_context_are_those_that_are_refused_there() {
    with(&config(), |vm| {
        let context = vm.context();
        let mut counts = Vec::new();
        let steps: [&dyn Fn(); 5] = [
            &|| {},
            &|| assert_eq!(vm.attach(DEVICE, context), 0),
            &|| assert_eq!(vm.attach(SECOND, context), 0),
            &|| assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0),
            &|| assert_eq!(vm.attach(SECOND, ContextId::DEFAULT), 0),
        ];
        for step in steps {
            step();
            let told = all(vm, of_context(context));
            counts.push(told.len());
            let near =
                told.iter().flat_map(|(first, last, ..)| [first - 1, *first, *last, last + 1]);
            for bfn in near.chain([0, 0x7007, 0x7010]) {
                let enforced = told.iter().any(|(first, last, kind, _)| {
                    *kind != Wire::DIRECT_RELAXABLE && (*first..=*last).contains(&bfn)
                });
                let expected = if enforced { (err(Errno::EADDRNOTAVAIL), 0) } else { (0, 1) };
                assert_eq!(vm.map(context, bfn, 1, 1, RW), expected, "{bfn:#x}");
                if !enforced {
                    assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
                }
            }
        }
        // The interrupt range is told once, although the machine lists it, too; so is the direct range
        // that two devices need.
        assert_eq!(counts, [0, 3, 4, 2, 0].map(|of_devices| of_devices + of_machine()));
        vm.end();
    });
}

#[test]
fn a_buffer_that_is_too_small_gets_the_first_ones_and_the_number() {
    with(&config(), |vm| {
        let (_, count, _) = ask(vm, of_device(DEVICE), 0);
        let (_, _, complete) = ask(vm, of_device(DEVICE), count);
        for room in 0..count {
            let (status, told, ranges) = ask(vm, of_device(DEVICE), room);
            assert_eq!((status, told), (err(Errno::ENOBUFS), count));
            assert_eq!(ranges.as_bytes(), complete[..room as usize].as_bytes());
        }
        for room in [count, count + 1, count + 100] {
            let (status, told, ranges) = ask(vm, of_device(DEVICE), room);
            assert_eq!((status, told, ranges.as_bytes()), (0, count, complete.as_bytes()));
        }
        // As many as there can be numbers: nothing is counted on.
        let mut query = QueryReserved { nr_entries: u32::MAX, ..of_device(DEVICE) };
        query.entries = pviommu_abi::GuestPtr(0x1_0000);
        assert_eq!(vm.op(Subop::QUERY_RESERVED, &mut query), 0);
        assert_eq!(query.nr_entries, count);
        vm.end();
    });
}

#[test]
fn a_question_that_is_wrong_changes_nothing() {
    with(&config(), |vm| {
        let context = vm.context();
        let (good, device) = (of_context(context), of_device(DEVICE));
        let refuse = |query, errno| is_refused(vm, Subop::QUERY_RESERVED, query, errno);
        for bit in 1..32 {
            let flags = QueryReservedFlags::from_bits_retain(1 << bit);
            refuse(QueryReserved { flags, ..good }, Errno::EINVAL);
        }
        refuse(QueryReserved { reserved: 1, ..good }, Errno::EINVAL);
        for elem_size in [0, 31, 33, 64, u32::MAX] {
            refuse(QueryReserved { elem_size, ..good }, Errno::EINVAL);
        }
        refuse(QueryReserved { device: DeviceHandle::pci(DEVICE), ..good }, Errno::EINVAL);
        refuse(QueryReserved { ctx_id: 1, ..device }, Errno::EINVAL);
        for ctx_id in [2, 129, 0x1_0000, 0x1_0001, u32::MAX] {
            refuse(QueryReserved { ctx_id, ..good }, Errno::ENOENT);
        }
        let handle = DeviceHandle::pci(DEVICE);
        let named = |device| QueryReserved { device, ..of_device(DEVICE) };
        refuse(named(DeviceHandle { pasid: 1, ..handle }), Errno::EINVAL);
        for kind in [DeviceKind::NONE, DeviceKind::PLATFORM, DeviceKind(77)] {
            refuse(named(DeviceHandle { kind, ..handle }), Errno::ENODEV);
        }
        for id in [handle.id | 1 << 32, handle.id + 5, u64::MAX] {
            refuse(named(DeviceHandle { id, ..handle }), Errno::ENODEV);
        }
        refuse(QueryReserved { domid: DomId(0), ..good }, Errno::EPERM);
        // A bad buffer: what was written before is the guest's own loss.
        let mut query =
            QueryReserved { nr_entries: 9, entries: pviommu_abi::GuestPtr(1 << 40), ..device };
        assert_eq!(vm.op(Subop::QUERY_RESERVED, &mut query), err(Errno::EFAULT));
        let mut query = QueryReserved { entries: pviommu_abi::GuestPtr(u64::MAX - 40), ..query };
        assert_eq!(vm.op(Subop::QUERY_RESERVED, &mut query), err(Errno::EFAULT));
        vm.bed.schedule().set(Step::Policy, When::From(1));
        refuse(good, Errno::EPERM);
        vm.bed.schedule().clear();
        vm.end();
    });
}

/// INV-58: a device that is not the domain's is as one that is not there.
#[test]
fn nothing_is_told_of_a_device_that_the_domain_does_not_have() {
    with(&config(), |vm| {
        assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));
        is_refused(vm, Subop::QUERY_RESERVED, of_device(SECOND), Errno::ENODEV);
        assert!(all(vm, of_device(DEVICE)).iter().any(|range| range.0 == 0x8000));
        let told = all(vm, of_context(ContextId::DEFAULT)).len();
        assert_eq!(told, of_machine(), "it is blocked");
        vm.end();
    });
}

/// The default context: what it is to hold once the guest has it.
#[test]
fn the_default_context_tells_the_ranges_of_the_devices_that_are_in_it() {
    with(&config().with_default_map(pviommu_hypervisor::DefaultMap::Guest), |vm| {
        let told = all(vm, of_context(ContextId::DEFAULT));
        assert_eq!(told.len(), 4 + of_machine());
        let modes = [pviommu_abi::OwnershipMode::CLEAR, pviommu_abi::OwnershipMode::GIVE_BACK];
        for mode in modes {
            assert_eq!(crate::switch::kit::take(vm, mode), 0);
            assert_eq!(all(vm, of_context(ContextId::DEFAULT)), told);
        }
        vm.end();
    });
}
