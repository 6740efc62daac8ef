//! Addresses behind which no unit has memory.

use std::ops::RangeInclusive;

use pviommu_hypervisor::{addr::Mfn, format::FormatKind};

/// Writes here are interrupts (0xfee0_0000 to 0xfeef_ffff, in frames), never DMA.
const INTERRUPTS: RangeInclusive<u64> = 0xfee00..=0xfeeff;

/// What HyperTransport has for other purposes, 0xfd_0000_0000 to 0xff_ffff_ffff in frames (AMD 48882,
/// revision 3.08, section 2.1.2): interrupts, end of interrupt, configuration space and messages.
pub const HYPERTRANSPORT: RangeInclusive<u64> = 0xfd0_0000..=0xfff_ffff;

/// True if a request at `bfn` is an interrupt.
pub(crate) fn is_interrupt(bfn: u64) -> bool {
    INTERRUPTS.contains(&bfn)
}

/// True if a unit that walks tables of this format does not translate requests at `bfn`.
pub(crate) fn is_untranslated(format: FormatKind, bfn: u64) -> bool {
    format == FormatKind::AmdV1 && HYPERTRANSPORT.contains(&bfn)
}

/// True if no memory is behind `frame` for a unit that walks tables of this format, whatever else
/// the machine has there.
pub(crate) fn is_no_memory(format: FormatKind, frame: Mfn) -> bool {
    is_interrupt(frame.0) || is_untranslated(format, frame.0)
}
