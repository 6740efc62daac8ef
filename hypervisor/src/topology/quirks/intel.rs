//! Root ports of Intel chipsets whose access control is not where the specification puts it.

use Ids::{Even, Range};

use super::ids::{Ids, contain};
use crate::topology::{Function, Identity, Kind};

/// Intel.
pub(super) const INTEL: u16 = 0x8086;

/// Root ports without an ACS capability, whose chipset has registers to the same effect (`enable.rs`).
pub(super) const PCH: &[Ids] = &[
    Range(0x1c10, 0x1c1f), // 6 series
    Even(0x1d10, 0x1d1e),  // X79
    Range(0x1e10, 0x1e1f), // 7 series
    Range(0x3b42, 0x3b51), // 5 series
    Range(0x8c10, 0x8c1f), // 8 series
    Even(0x8c90, 0x8c9e),  // 9 series
    Range(0x8d10, 0x8d1e), // X99
    Range(0x9c10, 0x9c1b), // 8 series, low power
    Range(0x9c90, 0x9c9b), // 9 series, low power
];

/// Root ports whose ACS capability has registers of 32 bits: control is at +8, not at +6.
pub(super) const SPT: &[Ids] = &[
    Range(0x9d10, 0x9d1b), // 100 series, low power
    Range(0xa110, 0xa11f), // 100 series
    Range(0xa167, 0xa16a), // 100 series
    Range(0xa290, 0xa29f), // 200 series
    Range(0xa2e7, 0xa2ee), // 200 series
];

/// True for a root port without an ACS capability whose chipset has registers to the same effect.
pub(in crate::topology) fn is_pch_root_port(function: &Function) -> bool {
    is_root_port_in(function, PCH)
}

/// True for a root port whose ACS capability has registers of 32 bits.
pub(in crate::topology) fn is_spt_root_port(function: &Function) -> bool {
    is_root_port_in(function, SPT)
}

fn is_root_port_in(function: &Function, ids: &[Ids]) -> bool {
    let Identity { vendor, device, .. } = function.identity;
    function.kind == Kind::RootPort && vendor == INTEL && contain(ids, device)
}
