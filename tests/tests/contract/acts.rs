//! What tests of the contract ask of any domain and any device.

use pviommu_abi::{
    Background as Wire, Batch, BatchElement, BatchFlags, BatchOp, Bfn, ContextId, DomId,
    ElementFlags, FlushPages, Gfn, Lookup, OwnershipMode, PciDevice, QueryLimits, ReservedKind,
    Subop, TakeOwnership,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Background, Outcome, addr::Mfn};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Bed, FrameKind, Reach},
};
use zerocopy::IntoBytes;

use crate::{kinds, kit::Vm};

/// What a device finds at a bus frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// The access is refused.
    Fault,
    /// The scratch page.
    Scratch,
    /// This frame.
    At(Mfn),
}

/// What is told of the bus frames that are not memory on this machine.
pub(crate) fn holes() -> Vec<(u64, u64, ReservedKind)> {
    let hypertransport = (0xfd0_0000, 0xfff_ffff, ReservedKind::RESERVED);
    let hypertransport = Some(hypertransport).filter(|_| kinds::has_hypertransport());
    [(0xfee00, 0xfeeff, ReservedKind::MSI)].into_iter().chain(hypertransport).collect()
}

/// What is at a bus frame that nobody mapped, where nobody chose otherwise.
pub(crate) fn background() -> Found {
    match kinds::background() {
        Background::Fault => Found::Fault,
        Background::Scratch => Found::Scratch,
    }
}

pub(crate) fn find(bed: &Bed<'_>, device: PciDevice, bfn: u64, way: Direction) -> Found {
    match bed.dma_probe(device, bfn << 12, way) {
        Err(_) => Found::Fault,
        Ok(hit) if hit.reach == Reach::Scratch => Found::Scratch,
        Ok(hit) => Found::At(hit.frame),
    }
}

/// What a device finds when it reads, and when it writes.
pub(crate) fn both(bed: &Bed<'_>, device: PciDevice, bfn: u64) -> [Found; 2] {
    [Direction::Read, Direction::Write].map(|way| find(bed, device, bfn, way))
}

/// True if DMA at `bfn` goes to the page behind `gfn` of `domain`, and comes from there.
pub(crate) fn moves(
    bed: &Bed<'_>,
    device: PciDevice,
    bfn: u64,
    (domain, gfn): (DomId, u64),
) -> bool {
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

/// True if a frame was given up, by its owner and by all who held it.
pub(crate) fn is_free(bed: &Bed<'_>, frame: Mfn) -> bool {
    bed.board().memory().frames.info(frame).is_some_and(|info| info.kind == FrameKind::Free)
}

/// The frame behind a guest frame.
pub(crate) fn frame(bed: &Bed<'_>, domain: DomId, gfn: u64) -> Mfn {
    bed.board().machine_frame(domain, Gfn(gfn)).unwrap()
}

pub(crate) fn switch(mode: OwnershipMode, background: Wire) -> TakeOwnership {
    TakeOwnership { mode, background, ..TakeOwnership::default() }
}

pub(crate) fn take(vm: &Vm<'_>, mode: OwnershipMode, background: Wire) -> i64 {
    vm.op(Subop::TAKE_OWNERSHIP, &mut switch(mode, background))
}

/// The same, one entry into the service at a time, and `between` after each but the last; how many
/// there were.
pub(crate) fn take_step_by_step(
    vm: &Vm<'_>,
    domain: DomId,
    mode: OwnershipMode,
    mut between: impl FnMut(),
) -> u32 {
    let at = vm.guest.argument_address();
    for entries in 1.. {
        // `between` may have made other calls.
        vm.bed.guest_write(domain, at, switch(mode, Wire::DEFAULT).as_bytes());
        match vm.bed.hypercall(domain, 0, u64::from(Subop::TAKE_OWNERSHIP.0), at) {
            Outcome::Done(status) => {
                assert_eq!(status, 0);
                return entries;
            }
            _ => between(),
        }
    }
    unreachable!("it ends");
}

pub(crate) fn limits(vm: &Vm<'_>, context: ContextId) -> Result<QueryLimits, i64> {
    let mut query = QueryLimits { ctx_id: u32::from(context.0), ..QueryLimits::default() };
    match vm.op(Subop::QUERY_LIMITS, &mut query) {
        0 => Ok(query),
        status => Err(status),
    }
}

pub(crate) fn lookup(vm: &Vm<'_>, context: ContextId, bfn: u64) -> Result<Lookup, i64> {
    let mut lookup = Lookup { ctx_id: u32::from(context.0), bfn: Bfn(bfn), ..Lookup::default() };
    match vm.op(Subop::LOOKUP, &mut lookup) {
        0 => Ok(lookup),
        status => Err(status),
    }
}

pub(crate) fn flush(vm: &Vm<'_>, context: ContextId, bfn: u64, pages: u32) -> i64 {
    let mut flush =
        FlushPages { ctx_no: context, dfn: Bfn(bfn), nr_pages: pages, ..FlushPages::default() };
    vm.op(Subop::FLUSH_PAGES, &mut flush)
}

/// Runs a batch to its end; `owner` is whose pages or grants it is about. The status of the call.
pub(crate) fn batch(
    vm: &Vm<'_>,
    context: ContextId,
    owner: DomId,
    elements: &mut [BatchElement],
) -> i64 {
    let mut header = Batch {
        ctx_id: u32::from(context.0),
        owner,
        flags: BatchFlags::RUN_ALL,
        nr_ops: u32::try_from(elements.len()).unwrap(),
        ..Batch::default()
    };
    vm.guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), Some(elements.as_mut_bytes()))
}

/// Runs a batch of one element: the status of the call, then status and count of the element.
pub(crate) fn batch_one(
    vm: &Vm<'_>,
    context: ContextId,
    owner: DomId,
    element: BatchElement,
) -> (i64, i32, u32) {
    let mut elements = [BatchElement { done: 0, status: 0, ..element }];
    let status = batch(vm, context, owner, &mut elements);
    (status, elements[0].status, elements[0].done)
}

pub(crate) fn element(
    op: BatchOp,
    flags: ElementFlags,
    bfn: u64,
    page: u64,
    nr: u32,
) -> BatchElement {
    BatchElement { op, flags, status: 0, bfn: Bfn(bfn), page, nr, done: 0 }
}
