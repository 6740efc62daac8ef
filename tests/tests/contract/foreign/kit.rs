//! Two guests and the hardware domain, and batches on behalf of any of them.

use pviommu_abi::{Batch, BatchElement, BatchOp, Bfn, ContextId, DomId, ElementFlags, Gfn, Subop};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{
    Role,
    addr::{GfnRange, Mfn, MfnRange},
};
use pviommu_testbed::machine::{Config, DomainConfig};
use zerocopy::IntoBytes;

use crate::kit::{DOM0, GUEST, Vm};

pub(crate) const GRANTER: DomId = DomId(2);
pub(crate) const READ: ElementFlags = ElementFlags::READ;
pub(crate) const WRITE: ElementFlags = ElementFlags::WRITE;
pub(crate) const BOTH: ElementFlags = ElementFlags::READ.union(ElementFlags::WRITE);

pub(crate) fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// The guest with its device, a granter, and the hardware domain; 64 pages each, and as many CPUs.
pub(crate) fn three() -> Config {
    let mut config = Config::one_guest(64);
    config.cpus = 3;
    for (id, role) in [(GRANTER, Role::Guest), (DOM0, Role::Hardware)] {
        let ram = vec![gfns(0, 64)];
        config.domains.push(DomainConfig { id, role, ram, ..DomainConfig::default() });
    }
    config
}

/// Runs elements on behalf of `vm` with this header; the status of the call.
pub(crate) fn run_as(vm: &Vm<'_>, header: Batch, elements: &mut [BatchElement]) -> i64 {
    let nr_ops = u32::try_from(elements.len()).unwrap();
    let mut header = Batch { nr_ops, ..header };
    vm.guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), Some(elements.as_mut_bytes()))
}

/// Runs one element with pages or grants of `owner`; its status and its count.
pub(crate) fn run_one_of(
    vm: &Vm<'_>,
    context: ContextId,
    owner: DomId,
    element: BatchElement,
) -> (i64, u32) {
    let mut elements = [BatchElement { done: 0, ..element }];
    let header = Batch { ctx_id: u32::from(context.0), owner, ..Batch::default() };
    assert_eq!(run_as(vm, header, &mut elements), 0, "{element:?}");
    (i64::from(elements[0].status), elements[0].done)
}

pub(crate) fn grant_of(bfn: u64, reference: u64, flags: ElementFlags) -> BatchElement {
    let (op, bfn, page, nr) = (BatchOp::MAP_GRANT, Bfn(bfn), reference, 1);
    BatchElement { op, flags, bfn, page, nr, ..BatchElement::default() }
}

/// Maps a grant of the granter; the status.
pub(crate) fn map_grant(
    vm: &Vm<'_>,
    context: ContextId,
    bfn: u64,
    reference: u64,
    flags: ElementFlags,
) -> i64 {
    run_one_of(vm, context, GRANTER, grant_of(bfn, reference, flags)).0
}

/// The frame behind a guest frame.
pub(crate) fn frame(vm: &Vm<'_>, domain: DomId, gfn: u64) -> Mfn {
    vm.bed.board().machine_frame(domain, Gfn(gfn)).unwrap()
}

/// The same as a range, for a retarget.
pub(crate) fn frames(vm: &Vm<'_>, domain: DomId, gfn: u64) -> [MfnRange; 1] {
    [MfnRange::single(frame(vm, domain, gfn))]
}

/// Ends all domains, and checks that nothing went wrong and nothing is left.
pub(crate) fn end(vm: &Vm<'_>) {
    for domain in [GRANTER, DOM0] {
        assert_eq!(vm.bed.teardown(domain, 0), 0);
    }
    vm.end();
}

/// The frames that the guest's tables take.
pub(crate) fn table_frames(vm: &Vm<'_>) -> u32 {
    vm.bed.domain(GUEST).stats().table_frames
}
