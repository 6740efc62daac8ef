//! An operator who looks, on a CPU of its own.

use pviommu_abi::{Bfn, ContextId, PciDevice};
use pviommu_hypervisor::{
    DumpLine, Explanation, Reserved,
    addr::BfnRange,
    operator::{Dumped, Reason},
    platform::{Access, SourceId},
};
use pviommu_testbed::{
    iommu::Direction,
    machine::{DmaFault, FaultReason, Hit, Reach},
};

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

/// The answer for `source`.
pub(crate) fn ask(vm: &Vm<'_>, source: PciDevice, address: u64, access: Access) -> Explanation {
    let cpu = vm.bed.own_cpu();
    vm.bed.iommu().explain(cpu, SourceId(source), address, access).unwrap()
}

/// The answer for `source`, which must be what then becomes of the access.
pub(crate) fn explain(vm: &Vm<'_>, source: PciDevice, address: u64, access: Access) -> Reason {
    let told = ask(vm, source, address, access);
    let way = if access == Access::READ { Direction::Read } else { Direction::Write };
    let did = vm.bed.dma_probe(source, address, way);
    assert!(is_so(&told.reason, way, did), "{told:?}, but {did:?}\n{told}");
    let said = told.to_string();
    assert!((2..=3).contains(&said.lines().count()), "{said}");
    assert!(said.contains(&format!("at {address:#x}")), "{said}");
    let faults = said.contains("fault") && !said.contains("without a fault");
    assert_eq!(faults || said.contains("no device"), did.is_err() || lets(&told.reason), "{said}");
    told.reason
}

fn lets(reason: &Reason) -> bool {
    matches!(reason, Reason::Allowed { .. })
}

fn is_so(reason: &Reason, way: Direction, did: Result<Hit, DmaFault>) -> bool {
    let refused = did.map_err(|fault| fault.reason).err();
    let denied = match way {
        Direction::Read => FaultReason::NotReadable,
        Direction::Write => FaultReason::NotWritable,
    };
    match *reason {
        Reason::Allowed { frame, .. } => {
            did.is_ok_and(|hit| hit.frame == frame && hit.reach != Reach::Scratch)
        }
        Reason::Scratch(page) => {
            did.is_ok_and(|hit| hit.frame == page && hit.reach == Reach::Scratch)
        }
        Reason::NotAllowed { .. } => refused == Some(denied),
        Reason::UnknownDevice => refused == Some(FaultReason::NoDevice),
        Reason::Stopped => refused == Some(FaultReason::Off),
        Reason::Broken | Reason::Blocked => refused == Some(FaultReason::Blocked),
        Reason::NotMapped => refused == Some(FaultReason::NotPresent),
        Reason::OutsideAperture(_) => {
            [Some(FaultReason::AddressWidth), Some(FaultReason::NotPresent)].contains(&refused)
        }
        Reason::Reserved(Reserved { .. }) => {
            let reasons = [FaultReason::Interrupt, FaultReason::Hole, FaultReason::NotPresent];
            refused.is_some_and(|reason| reasons.contains(&reason))
        }
        _ => false,
    }
}

/// The bus frames of this address.
pub(crate) fn page(bfn: u64) -> BfnRange {
    BfnRange::single(Bfn(bfn))
}
