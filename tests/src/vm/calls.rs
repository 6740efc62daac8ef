//! What is asked of any domain, and of any device.

use pviommu_abi::{
    Background as Wire, Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, DomId,
    ElementFlags, FlushPages, Lookup, OwnershipMode, PciDevice, QueryLimits, Subop, TakeOwnership,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::addr::Mfn;
use zerocopy::IntoBytes;

use super::Vm;
use crate::{
    iommu::Direction,
    machine::{Bed, Reach},
};

/// What a device finds at a bus frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The access is refused.
    Fault,
    /// The scratch page.
    Scratch,
    /// This frame.
    At(Mfn),
}

/// What `device` finds at a bus frame when it does this.
#[must_use]
pub fn find(bed: &Bed<'_>, device: PciDevice, bfn: u64, way: Direction) -> Found {
    match bed.dma_probe(device, bfn << 12, way) {
        Err(_) => Found::Fault,
        Ok(hit) if hit.reach == Reach::Scratch => Found::Scratch,
        Ok(hit) => Found::At(hit.frame),
    }
}

/// What a device finds when it reads, and when it writes.
#[must_use]
pub fn both(bed: &Bed<'_>, device: PciDevice, bfn: u64) -> [Found; 2] {
    [Direction::Read, Direction::Write].map(|way| find(bed, device, bfn, way))
}

/// True if DMA at `bfn` goes to the page behind `gfn` of `domain`, and comes from there.
#[must_use]
pub fn moves(bed: &Bed<'_>, device: PciDevice, bfn: u64, (domain, gfn): (DomId, u64)) -> bool {
    let (to, at) = ((bfn << 12) + 0x120, (gfn << 12) + 0x120);
    let mark = (bfn ^ gfn << 32 ^ 0xa5).to_le_bytes();
    bed.guest_write(domain, at, &[0; 8]);
    if bed.dma_write(device, to, &mark).is_err() {
        return false;
    }
    let mut seen = [0; 8];
    bed.guest_read(domain, at, &mut seen);
    let answer = mark.map(|byte| !byte);
    bed.guest_write(domain, at, &answer);
    let mut read = [0; 8];
    let answered = bed.dma_read(device, to, &mut read).is_ok();
    answered && (seen, read) == (mark, answer)
}

/// The argument of a switch of ownership.
#[must_use]
pub fn switch(mode: OwnershipMode, background: Wire) -> TakeOwnership {
    TakeOwnership { mode, background, ..TakeOwnership::default() }
}

/// Takes the default context over, or gives it back; the status.
#[must_use]
pub fn take(vm: &Vm<'_>, mode: OwnershipMode, background: Wire) -> i64 {
    vm.op(Subop::TAKE_OWNERSHIP, &mut switch(mode, background))
}

/// What a context may do.
///
/// # Errors
/// The status.
pub fn limits(vm: &Vm<'_>, context: ContextId) -> Result<QueryLimits, i64> {
    let mut query = QueryLimits { ctx_id: u32::from(context.0), ..QueryLimits::default() };
    match vm.op(Subop::QUERY_LIMITS, &mut query) {
        0 => Ok(query),
        status => Err(status),
    }
}

/// What a bus frame is mapped to.
///
/// # Errors
/// The status.
pub fn lookup(vm: &Vm<'_>, context: ContextId, bfn: u64) -> Result<Lookup, i64> {
    let mut lookup = Lookup { ctx_id: u32::from(context.0), bfn: Bfn(bfn), ..Lookup::default() };
    match vm.op(Subop::LOOKUP, &mut lookup) {
        0 => Ok(lookup),
        status => Err(status),
    }
}

/// Asks for a flush; the status.
#[must_use]
pub fn flush(vm: &Vm<'_>, context: ContextId, bfn: u64, pages: u32) -> i64 {
    let mut flush =
        FlushPages { ctx_no: context, dfn: Bfn(bfn), nr_pages: pages, ..FlushPages::default() };
    vm.op(Subop::FLUSH_PAGES, &mut flush)
}

/// Runs a batch of one element, of whose pages or grants `owner` says: the status of the call, then status and count
/// of the element.
#[must_use]
pub fn batch_one(
    vm: &Vm<'_>,
    context: ContextId,
    owner: DomId,
    element: BatchElement,
) -> (i64, i32, u32) {
    let (ctx_id, flags, nr_ops) = (u32::from(context.0), BatchFlags::RUN_ALL, 1);
    let mut header = Batch { ctx_id, owner, flags, nr_ops, ..Batch::default() };
    let mut element = BatchElement { done: 0, status: 0, ..element };
    let buffer = Some(element.as_mut_bytes());
    let status = vm.guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), buffer);
    (status, element.status, element.done)
}

/// An element of a batch that has not begun.
#[must_use]
pub const fn element(
    op: BatchOp,
    flags: ElementFlags,
    bfn: u64,
    page: u64,
    nr: u32,
) -> BatchElement {
    BatchElement { op, flags, status: 0, bfn: Bfn(bfn), page, nr, done: 0 }
}
