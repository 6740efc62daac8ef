//! `remote_cmd`: the hardware domain acts for another one.

use pviommu_abi::{ContextId, DomId, Errno, GuestPtr, MapPages, RemoteCmd, Subop};
use zerocopy::{FromBytes, IntoBytes};

use crate::kit::{DEVICE, DOM0, GUEST, RW, Vm, err, with, with_hardware_domain};
use pviommu_testbed::vm::map_argument;

/// Where the inner argument lies in the caller's memory.
const INNER: u64 = 0x3ff0;

fn remote(caller: &Vm<'_>, domid: DomId, subop: Subop, arg: u64) -> i64 {
    let subop = u16::try_from(subop.0).unwrap();
    let mut command = RemoteCmd { domid, subop, arg: GuestPtr(arg), ..RemoteCmd::default() };
    caller.op(Subop::REMOTE_CMD, &mut command)
}

#[test]
fn the_hardware_domain_maps_for_a_guest_with_an_argument_of_its_own() {
    with(&with_hardware_domain(), |vm| {
        let context = vm.attached_context();
        let dom0 = Vm::new(vm.bed, DOM0, 0);
        let map = map_argument(context, 100, 5, 3, RW);
        vm.bed.guest_write(DOM0, INNER, map.as_bytes());
        assert_eq!(remote(&dom0, GUEST, Subop::MAP_PAGES, INNER), 0);
        let mut seen = [0; 40];
        vm.bed.guest_read(DOM0, INNER, &mut seen);
        assert_eq!(MapPages::read_from_bytes(&seen).unwrap().mapped, 3);
        assert!(vm.lands_in(DEVICE, 101, 6), "the guest's own page is mapped");
        vm.end();
    });
}

#[test]
fn only_the_hardware_domain_may_and_only_for_domains_there_are() {
    with(&with_hardware_domain(), |vm| {
        vm.context();
        let dom0 = Vm::new(vm.bed, DOM0, 0);
        assert_eq!(remote(vm, DOM0, Subop::NOOP, 0), err(Errno::EPERM));
        assert_eq!(remote(vm, DomId(99), Subop::REMOTE_CMD, 0), err(Errno::EPERM));
        assert_eq!(remote(&dom0, DomId(99), Subop::NOOP, 0), err(Errno::ENOENT));
        assert_eq!(remote(&dom0, GUEST, Subop::REMOTE_CMD, 0), err(Errno::EINVAL));
        assert_eq!(remote(&dom0, GUEST, Subop::NOOP, 0), 0);
        assert_eq!(remote(&dom0, DomId::SELF, Subop::NOOP, 0), 0);
        assert_eq!(remote(&dom0, GUEST, Subop(0x40), 0), err(Errno::EOPNOTSUPP));
        assert_eq!(remote(&dom0, GUEST, Subop::MAP_PAGES, u64::MAX), err(Errno::EFAULT));
        vm.end();
    });
}

/// D19: a domain that is dying is not there any more.
#[test]
fn a_dying_domain_is_not_acted_for() {
    with(&with_hardware_domain(), |vm| {
        vm.context();
        let dom0 = Vm::new(vm.bed, DOM0, 0);
        vm.end();
        assert_eq!(remote(&dom0, GUEST, Subop::NOOP, 0), err(Errno::ENOENT));
        assert_eq!(vm.attach(DEVICE, ContextId(1)), err(Errno::ENODEV));
    });
}

/// INV-61.
#[test]
fn a_dying_domain_does_not_act_for_another() {
    with(&with_hardware_domain(), |vm| {
        vm.context();
        let dom0 = Vm::new(vm.bed, DOM0, 0);
        assert_eq!(remote(&dom0, GUEST, Subop::NOOP, 0), 0);
        assert_eq!(vm.bed.teardown(DOM0, 0), 0);
        for domid in [GUEST, DomId::SELF, DOM0] {
            assert_eq!(remote(&dom0, domid, Subop::NOOP, 0), err(Errno::ENODEV));
        }
        vm.end();
    });
}
