//! An operator who looks, on a CPU of its own.

use pviommu_abi::{Bfn, ContextId};
use pviommu_hypervisor::{DumpLine, machine::Dumped};

use crate::kit::{GUEST, Vm};

/// One call for a dump, with room for so many lines.
pub(crate) fn dump(vm: &Vm<'_>, id: ContextId, from: Bfn, room: usize) -> (Dumped, Vec<DumpLine>) {
    let mut lines = vec![DumpLine::EMPTY; room];
    let (iommu, domain) = (vm.bed.iommu(), vm.bed.domain(GUEST));
    let dumped = iommu.dump(domain, vm.bed.own_cpu(), id, from, &mut lines).unwrap();
    lines.truncate(dumped.lines);
    (dumped, lines)
}

/// A whole dump, call by call, joined where one call went on with the line of another.
pub(crate) fn dump_all(vm: &Vm<'_>, id: ContextId, room: usize) -> Vec<DumpLine> {
    let (mut lines, mut from) = (Vec::new(), Some(Bfn(0)));
    while let Some(at) = from {
        let (dumped, more) = dump(vm, id, at, room);
        assert!(dumped.next.is_none_or(|next| next > at), "{dumped:?} from {at:?}");
        lines.extend(more);
        from = dumped.next;
    }
    lines
}
