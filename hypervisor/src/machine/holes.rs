//! Addresses that are not memory on any machine with these units: a request there is not
//! translated, and nothing may be translated to there.

use pviommu_abi::Bfn;

use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    format::FormatKind,
    platform::Access,
    reserved::{Reserved, ReservedKind},
};

/// The interrupt address range of x86, 0xfee0_0000 to 0xfeef_ffff: as a bus address it is an
/// interrupt request, as an output it is blocked (VT-d 4.1, section 3.15).
const INTERRUPTS: Reserved = hole(0xfee00, 0xfeeff, ReservedKind::Msi);

/// The addresses that HyperTransport has for other purposes than memory, 0xfd_0000_0000 to
/// 0xff_ffff_ffff (AMD 48882, Revision 3.08, section 2.1.2).
const HYPERTRANSPORT: Reserved = hole(0xfd0_0000, 0xfff_ffff, ReservedKind::Reserved);

const fn hole(first: u64, last: u64, kind: ReservedKind) -> Reserved {
    Reserved { range: BfnRange::fixed(Bfn(first), Bfn(last)), kind, access: Access::empty() }
}

/// The holes of a machine whose units walk tables of this format, as bus addresses.
pub(super) const fn holes_of(format: FormatKind) -> &'static [Reserved] {
    match format {
        FormatKind::VtdSecondStage => &[INTERRUPTS],
        FormatKind::AmdV1 => &[INTERRUPTS, HYPERTRANSPORT],
    }
}

/// The same addresses as frames that a unit could put out.
pub(super) fn as_frames(hole: &Reserved) -> MfnRange {
    MfnRange::fixed(Mfn(hole.range.first().0), Mfn(hole.range.last().0))
}
