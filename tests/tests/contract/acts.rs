//! What tests of the contract ask of any domain and any device.

use pviommu_abi::{Background as Wire, DomId, Gfn, OwnershipMode, ReservedKind, Subop};
use pviommu_hypervisor::{Background, Outcome, addr::Mfn};
use pviommu_testbed::machine::{Bed, FrameKind};
use pviommu_testbed::vm::switch;
pub(crate) use pviommu_testbed::vm::{
    Found, batch_one, both, element, find, flush, limits, lookup, moves, take,
};
use zerocopy::IntoBytes;

use crate::{kinds, kit::Vm};

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

/// True if a frame was given up, by its owner and by all who held it.
pub(crate) fn is_free(bed: &Bed<'_>, frame: Mfn) -> bool {
    bed.board().memory().frames.info(frame).is_some_and(|info| info.kind == FrameKind::Free)
}

/// The frame behind a guest frame.
pub(crate) fn frame(bed: &Bed<'_>, domain: DomId, gfn: u64) -> Mfn {
    bed.board().machine_frame(domain, Gfn(gfn)).unwrap()
}

/// Takes the default context over as [`take`] does, one entry into the service at a time, and `between` after each but the last; how many
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
