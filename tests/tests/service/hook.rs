//! The embedder's hook: asked by every subop, before anything has happened.

use pviommu_abi::{
    AllocContext, AllocContextExt, Batch, BatchElement, BatchOp, Bfn, Capabilities, ContextId,
    DeviceHandle, ElementFlags, Errno, FlushPages, FreeContext, FreeFlags, GuestPtr, Init, Lookup,
    OwnershipMode, QueryDevice, QueryLimits, QueryReserved, QueryReservedFlags, ReadFaults,
    ReattachDevice, RemoteCmd, Subop, TakeOwnership,
};
use pviommu_testbed::machine::{Step, When};
use zerocopy::IntoBytes;

use crate::kit::{DEVICE, DOM0, GUEST, RW, Vm, err, with, with_hardware_domain};
use pviommu_testbed::vm::{map_argument, unmap_argument};

/// Where an element of a batch lies, and where a list may be written.
const ARRAY: u64 = 0x2_0000;
/// Where arguments lie.
const ARGUMENT: u64 = 0x3_0000 - 8;

/// Every subop there is, each with an argument that succeeds if nobody refuses it.
fn every_subop(context: ContextId) -> Vec<(Subop, Vec<u8>)> {
    let ctx_id = u32::from(context.0);
    let bytes = |argument: &dyn Fn() -> Vec<u8>| argument();
    let ops = GuestPtr(ARRAY);
    vec![
        (Subop::NOOP, vec![]),
        (Subop::QUERY_CAPABILITIES, Capabilities::default().as_bytes().to_vec()),
        (Subop::INIT, Init { max_ctx_no: 4, arena_order: 4 }.as_bytes().to_vec()),
        (Subop::ALLOC_CONTEXT, AllocContext::default().as_bytes().to_vec()),
        (
            Subop::FREE_CONTEXT,
            bytes(&|| {
                let free_flags = FreeFlags::REATTACH_DEFAULT;
                FreeContext { ctx_no: context, free_flags, ..FreeContext::default() }
                    .as_bytes()
                    .to_vec()
            }),
        ),
        (
            Subop::REATTACH_DEVICE,
            bytes(&|| {
                ReattachDevice { dev: DEVICE, ..ReattachDevice::default() }.as_bytes().to_vec()
            }),
        ),
        (Subop::MAP_PAGES, map_argument(context, 20, 2, 1, RW).as_bytes().to_vec()),
        (Subop::UNMAP_PAGES, unmap_argument(context, 10, 1).as_bytes().to_vec()),
        (
            Subop::FLUSH_PAGES,
            bytes(&|| {
                let nr_pages = 1;
                FlushPages { ctx_no: context, nr_pages, ..FlushPages::default() }
                    .as_bytes()
                    .to_vec()
            }),
        ),
        (Subop::BATCH, Batch { ctx_id, nr_ops: 1, ops, ..Batch::default() }.as_bytes().to_vec()),
        (
            Subop::QUERY_RESERVED,
            bytes(&|| {
                let query = QueryReserved { ctx_id, nr_entries: 8, ..QueryReserved::default() };
                QueryReserved { entries: GuestPtr(ARRAY), ..query }.as_bytes().to_vec()
            }),
        ),
        (
            Subop::TAKE_OWNERSHIP,
            bytes(&|| {
                let mode = OwnershipMode::CLEAR;
                TakeOwnership { mode, ..TakeOwnership::default() }.as_bytes().to_vec()
            }),
        ),
        (Subop::LOOKUP, Lookup { ctx_id, bfn: Bfn(10), ..Lookup::default() }.as_bytes().to_vec()),
        (
            Subop::QUERY_DEVICE,
            bytes(&|| {
                let device = DeviceHandle::pci(DEVICE);
                QueryDevice { device, ..QueryDevice::default() }.as_bytes().to_vec()
            }),
        ),
        (
            Subop::READ_FAULTS,
            bytes(&|| {
                let read = ReadFaults { nr_records: 1, ..ReadFaults::default() };
                ReadFaults { records: GuestPtr(ARRAY), ..read }.as_bytes().to_vec()
            }),
        ),
        (Subop::QUERY_LIMITS, QueryLimits { ctx_id, ..QueryLimits::default() }.as_bytes().to_vec()),
        (Subop::ALLOC_CONTEXT_EXT, AllocContextExt::default().as_bytes().to_vec()),
    ]
}

/// The platform's methods by which a call has an effect.
const EFFECTS: [Step; 8] = [
    Step::Acquire,
    Step::Alloc,
    Step::Reserve,
    Step::CopyOut,
    Step::Attach,
    Step::Block,
    Step::Invalidate,
    Step::SyncMap,
];

/// INV-58: no page, no frame, no word of the unit's and no byte of the guest's.
#[test]
fn every_subop_is_refused_before_it_has_any_effect() {
    with(&with_hardware_domain(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        let dom0 = Vm::new(vm.bed, DOM0, 0);
        let unmap = BatchElement { op: BatchOp::UNMAP, bfn: Bfn(10), ..element() };
        vm.bed.schedule().set(Step::Policy, When::From(1));
        for (subop, argument) in every_subop(context) {
            for caller in [vm, &dom0] {
                let domain = if std::ptr::eq(caller, vm) { GUEST } else { DOM0 };
                vm.bed.guest_write(domain, ARRAY, unmap.as_bytes());
                let mut command = argument.clone();
                let mut at = ARGUMENT;
                let mut number = subop;
                if domain == DOM0 {
                    if subop.is_extension() {
                        continue;
                    }
                    vm.bed.guest_write(DOM0, at, &argument);
                    let remote = RemoteCmd {
                        domid: GUEST,
                        subop: u16::try_from(subop.0).unwrap(),
                        arg: GuestPtr(at),
                        ..RemoteCmd::default()
                    };
                    (command, number) = (remote.as_bytes().to_vec(), Subop::REMOTE_CMD);
                    at += 0x100;
                }
                vm.bed.guest_write(domain, at, &command);
                let before = vm.bed.counters();
                EFFECTS.iter().for_each(|step| vm.bed.schedule().set(*step, When::Never));
                let asked = vm.bed.schedule().calls(Step::Policy);
                let status = caller.guest.call(u64::from(number.0), at);
                assert_eq!(status, err(Errno::EPERM), "{subop:?} of {domain:?}");
                assert_eq!(vm.bed.schedule().calls(Step::Policy), asked + 1, "{subop:?}");
                let calls = EFFECTS.map(|step| vm.bed.schedule().calls(step));
                assert_eq!(calls, [0; 8], "{subop:?} of {domain:?}: {EFFECTS:?}");
                let after = vm.bed.counters();
                assert_eq!(before.references_live, after.references_live);
                assert_eq!(before.table_frames_live, after.table_frames_live);
            }
        }
        vm.bed.schedule().clear();
        assert!(vm.lands_in(DEVICE, 10, 1), "nothing has changed");
        vm.end();
    });
}

/// INV-58: a policy can tell devices from each other, and domains whose pages are to be mapped.
#[test]
fn the_policy_is_told_which_device_and_whose_pages_it_is_about() {
    with(&with_hardware_domain(), |vm| {
        let context = vm.attached_context();
        let ops = GuestPtr(ARRAY);
        let of =
            |owner| Batch { ctx_id: context.0.into(), nr_ops: 1, ops, owner, ..Batch::default() };
        let device = DeviceHandle::pci(DEVICE);
        let ranges = QueryReserved {
            flags: QueryReservedFlags::DEVICE,
            device,
            entries: GuestPtr(ARRAY),
            ..QueryReserved::default()
        };
        let mut commands = every_subop(context);
        commands.push((Subop::QUERY_RESERVED, ranges.as_bytes().to_vec()));
        commands.push((Subop::BATCH, of(DOM0).as_bytes().to_vec()));
        commands.push((Subop::BATCH, of(GUEST).as_bytes().to_vec()));
        vm.bed.guest_write(GUEST, ARRAY, element().as_bytes());
        vm.bed.schedule().set(Step::Policy, When::From(1));
        for (n, (subop, argument)) in commands.iter().enumerate() {
            vm.bed.guest_write(GUEST, ARGUMENT, argument);
            assert_eq!(vm.guest.call(u64::from(subop.0), ARGUMENT), err(Errno::EPERM), "{subop:?}");
            let of_device = [Subop::REATTACH_DEVICE, Subop::QUERY_DEVICE].contains(subop);
            let device = (of_device || n == commands.len() - 3).then_some(DEVICE);
            let owner = (n == commands.len() - 2).then_some(DOM0);
            let asked = vm.bed.asked().unwrap();
            assert_eq!((asked.caller, asked.target, asked.subop), (GUEST, GUEST, *subop));
            assert_eq!((asked.device, asked.owner), (device, owner), "{subop:?}");
        }
        vm.bed.schedule().clear();
        vm.end();
    });
}

/// What was refused above would have been done: the arguments are good.
#[test]
fn every_subop_succeeds_where_nobody_refuses_it() {
    for number in 0..every_subop(ContextId(1)).len() {
        with(&with_hardware_domain(), |vm| {
            let context =
                if number == Subop::INIT.0 as usize { ContextId(1) } else { vm.attached_context() };
            let (subop, argument) = every_subop(context).swap_remove(number);
            if context == ContextId(1) && subop != Subop::INIT {
                assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
            }
            vm.bed.guest_write(GUEST, ARRAY, element().as_bytes());
            vm.bed.guest_write(GUEST, ARGUMENT, &argument);
            assert_eq!(vm.guest.call(u64::from(subop.0), ARGUMENT), 0, "{subop:?}");
            vm.end();
        });
    }
}

fn element() -> BatchElement {
    BatchElement {
        op: BatchOp::LOOKUP,
        flags: ElementFlags::empty(),
        nr: 1,
        ..BatchElement::default()
    }
}
