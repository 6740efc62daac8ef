//! What devices are refused: told to their owner, and an end of it.

mod records;
mod storm;

use pviommu_abi::{
    ContextId, DomId, FaultRecord, GuestPtr, MapFlags, PciDevice, ReadFaults, Subop,
};
use pviommu_hypervisor::Reported;
use pviommu_testbed::machine::Config;
use zerocopy::{FromZeros, IntoBytes};

use crate::kit::{DEVICE, GUEST, Vm, two_guests};

/// Where records go, in guest memory.
const ROOM: u64 = 0x8000;

/// Two guests with a device each.
fn config() -> Config {
    two_guests(64)
}

/// A context with the device in it, where pages from bus frame 0 on may only be read: a write there
/// faults over every background.
fn read_only(vm: &Vm<'_>) -> ContextId {
    let context = vm.attached_context();
    assert_eq!(vm.map(context, 0, 0, 40, MapFlags::READABLE), (0, 40));
    context
}

/// Has the device try to write a page, and the unit report what it refused.
fn fault(vm: &Vm<'_>, device: PciDevice, page: u64, now: u64) -> Vec<Reported> {
    assert!(vm.bed.dma_write(device, (page << 12) + 8, &[1]).is_err());
    vm.bed.report_faults(now)
}

/// One call, with pointers that are left as they are.
fn call(vm: &Vm<'_>, argument: &mut ReadFaults) -> i64 {
    let (domain, at) = (vm.guest.domain(), vm.guest.argument_address());
    vm.bed.guest_write(domain, at, argument.as_bytes());
    let status = vm.guest.call(u64::from(Subop::READ_FAULTS.0), at);
    vm.bed.guest_read(domain, at, argument.as_mut_bytes());
    status
}

/// Reads at most `room` records; the status, the records, and how many were lost.
fn read(vm: &Vm<'_>, room: u32) -> (i64, Vec<FaultRecord>, u64) {
    let mut question =
        ReadFaults { nr_records: room, records: GuestPtr(ROOM), ..ReadFaults::default() };
    let status = call(vm, &mut question);
    let told = if status == 0 { question.nr_records } else { 0 };
    let mut records = vec![FaultRecord::new_zeroed(); usize::try_from(told).unwrap()];
    vm.bed.guest_read(vm.guest.domain(), ROOM, records.as_mut_bytes());
    (status, records, question.lost)
}

/// The pages of the records there are, and how many were lost.
fn pages(vm: &Vm<'_>) -> (Vec<u64>, u64) {
    let (status, records, lost) = read(vm, 32);
    assert_eq!(status, 0);
    (records.iter().map(|record| record.address >> 12).collect(), lost)
}

/// The device of the guest of [`config`].
const OWN: PciDevice = DEVICE;
const OWNER: DomId = GUEST;
