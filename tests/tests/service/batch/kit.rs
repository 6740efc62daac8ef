//! Batches as a guest lays them out in its memory: header, elements and lists.

use pviommu_abi::{
    Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, ElementFlags, Errno, GuestPtr, Subop,
};
use pviommu_hypervisor::Outcome;
use zerocopy::{FromZeros, IntoBytes};

use crate::kit::{GUEST, Vm};

pub(crate) const READ_WRITE: ElementFlags = ElementFlags::READ.union(ElementFlags::WRITE);
pub(crate) const RUN_ALL: BatchFlags = BatchFlags::RUN_ALL;
pub(crate) const STOP: BatchFlags = BatchFlags::empty();

/// What lies in fields that are only written, before they are.
pub(crate) const UNTOUCHED: u32 = 0x5a5a_5a5a;
pub(crate) const UNTOUCHED_STATUS: i32 = 0x5a5a_5a5a;

/// Where the parts of a batch lie in memory of the guest, which has at least 64 pages: the header
/// over the end of a page, the elements at the start of one, lists behind.
pub(crate) const HEADER: u64 = 0x2_0000 - 12;
pub(crate) const ELEMENTS: u64 = 0x2_1000;
pub(crate) const LIST: u64 = 0x3_0000;

pub(crate) fn element(
    op: BatchOp,
    flags: ElementFlags,
    bfn: u64,
    page: u64,
    nr: u32,
) -> BatchElement {
    let (status, done) = (UNTOUCHED_STATUS, UNTOUCHED);
    BatchElement { op, flags, status, bfn: Bfn(bfn), page, nr, done }
}

pub(crate) fn map(bfn: u64, gfn: u64, nr: u32) -> BatchElement {
    element(BatchOp::MAP, READ_WRITE, bfn, gfn, nr)
}

pub(crate) fn map_list(bfn: u64, list: u64, nr: u32) -> BatchElement {
    element(BatchOp::MAP_LIST, READ_WRITE, bfn, list, nr)
}

pub(crate) fn unmap(bfn: u64, nr: u32) -> BatchElement {
    element(BatchOp::UNMAP, ElementFlags::empty(), bfn, 0, nr)
}

pub(crate) fn skip_holes(bfn: u64, nr: u32) -> BatchElement {
    element(BatchOp::UNMAP, ElementFlags::SKIP_HOLES, bfn, 0, nr)
}

pub(crate) fn unmap_later(bfn: u64, nr: u32) -> BatchElement {
    element(BatchOp::UNMAP, ElementFlags::NO_FLUSH, bfn, 0, nr)
}

pub(crate) fn flush(bfn: u64, nr: u32) -> BatchElement {
    element(BatchOp::FLUSH, ElementFlags::empty(), bfn, 0, nr)
}

pub(crate) fn lookup(bfn: u64) -> BatchElement {
    element(BatchOp::LOOKUP, ElementFlags::empty(), bfn, 0, 1)
}

/// A header for `elements` of them at [`ELEMENTS`].
pub(crate) fn header(context: ContextId, flags: BatchFlags, elements: usize) -> Batch {
    let nr_ops = u32::try_from(elements).unwrap();
    let ops = GuestPtr(ELEMENTS);
    Batch { ctx_id: u32::from(context.0), flags, nr_ops, ops, ..Batch::default() }
}

/// Status of the call, and how many elements are finished.
pub(crate) fn run(
    vm: &Vm<'_>,
    context: ContextId,
    flags: BatchFlags,
    elements: &mut [BatchElement],
) -> (i64, u32) {
    let batch = header(context, flags, elements.len());
    begin(elements);
    lay(vm, &batch, elements);
    let status = vm.guest.call(u64::from(Subop::BATCH.0), HEADER);
    let (batch, seen) = look(vm);
    elements.copy_from_slice(&seen);
    (status, batch.nr_done)
}

/// Runs one element; its status and its count.
pub(crate) fn run_one(vm: &Vm<'_>, context: ContextId, element: BatchElement) -> (i64, u32) {
    let mut elements = [element];
    assert_eq!(run(vm, context, STOP, &mut elements), (0, 1), "{element:?}");
    (i64::from(elements[0].status), elements[0].done)
}

/// Sets `done` of the first element, the only one that is read.
pub(crate) fn begin(elements: &mut [BatchElement]) {
    if let Some(first) = elements.first_mut() {
        first.done = 0;
    }
}

/// Writes a batch to guest memory as it is.
pub(crate) fn lay(vm: &Vm<'_>, batch: &Batch, elements: &[BatchElement]) {
    vm.bed.guest_write(GUEST, HEADER, batch.as_bytes());
    vm.bed.guest_write(GUEST, ELEMENTS, elements.as_bytes());
}

/// Enters the service once for the batch in memory.
pub(crate) fn step(vm: &Vm<'_>) -> Outcome {
    vm.bed.hypercall(GUEST, 0, u64::from(Subop::BATCH.0), HEADER)
}

/// The batch in memory.
pub(crate) fn look(vm: &Vm<'_>) -> (Batch, Vec<BatchElement>) {
    let mut batch = Batch::default();
    vm.bed.guest_read(GUEST, HEADER, batch.as_mut_bytes());
    let count = usize::try_from(batch.nr_ops).unwrap();
    let mut elements = vec![BatchElement::new_zeroed(); count];
    vm.bed.guest_read(GUEST, ELEMENTS, elements.as_mut_bytes());
    (batch, elements)
}

/// Writes a list of guest frames to [`LIST`].
pub(crate) fn lay_list(vm: &Vm<'_>, gfns: &[u64]) {
    vm.bed.guest_write(GUEST, LIST, gfns.as_bytes());
}

/// Statuses, as an errno each.
pub(crate) fn statuses(elements: &[BatchElement]) -> Vec<Result<(), Errno>> {
    let result = |status: i32| match status {
        0 => Ok(()),
        status => Err(Errno::from_ret(i64::from(status)).unwrap()),
    };
    elements.iter().map(|element| result(element.status)).collect()
}

/// True if no output of an element was written.
pub(crate) fn is_untouched(element: &BatchElement) -> bool {
    (element.status, element.done) == (UNTOUCHED_STATUS, UNTOUCHED)
}
