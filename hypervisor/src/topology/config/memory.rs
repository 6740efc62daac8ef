//! Memory of a function, and what a bridge forwards.

use super::space::{Find, Space};
use crate::topology::{REGIONS, Window};

/// Base Address Registers (PCIe 6.0, section 7.5.1.2.1).
const BARS: [u16; REGIONS] = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24];

/// Enhanced Allocation (PCIe 6.0, section 7.8.5): regions that are not in these registers.
const ENHANCED_ALLOCATION: u8 = 0x14;

/// How many base address registers there are.
fn registers(space: &Space<'_>) -> usize {
    match space.layout() {
        0 => 6,
        1 => 2,
        // The socket registers.
        2 => 1,
        _ => 0,
    }
}

/// True if there are no memory regions but those that [`regions`] finds.
pub(super) fn shows_all_regions(space: &Space<'_>) -> bool {
    registers(space) != 0 && space.capability(ENHANCED_ALLOCATION) == Find::Absent
}

/// The first byte of each memory region; 0 where there is none.
pub(super) fn regions(space: &Space<'_>) -> [u64; REGIONS] {
    let mut regions = [0; REGIONS];
    let mut lower_half: Option<&mut u64> = None;
    for (region, at) in regions.iter_mut().zip(BARS).take(registers(space)) {
        let register = space.dword(at).unwrap_or(0);
        if let Some(lower) = lower_half.take() {
            *lower |= u64::from(register) << 32;
        } else if register & 1 == 0 {
            *region = u64::from(register & !0xf);
            lower_half = (register >> 1 & 3 == 2).then_some(region);
        }
    }
    regions
}

/// What a bridge forwards downwards: memory and prefetchable memory, or both of what CardBus has.
/// Of a bridge that was never configured there is nothing: its registers are 0.
pub(super) fn windows(space: &Space<'_>) -> [Option<Window>; 2] {
    match space.layout() {
        1 => [memory(space), prefetchable(space)],
        2 => [cardbus(space, 0x1c, 0x20), cardbus(space, 0x24, 0x28)],
        _ => [None; 2],
    }
}

/// From `base` to the end of the granule at `limit`, in which `rest` is the last byte.
fn window(base: u64, limit: u64, rest: u64) -> Option<Window> {
    let (first, last) = (base, limit | rest);
    ((base, limit) != (0, 0) && first <= last).then_some(Window { first, last })
}

/// Memory Base and Limit (PCIe 6.0, section 7.5.1.3.8): bits 31 to 20.
fn memory(space: &Space<'_>) -> Option<Window> {
    let half = |at| space.word(at).map(|register| u64::from(register & 0xfff0) << 16);
    window(half(0x20)?, half(0x22)?, 0xf_ffff)
}

/// Prefetchable Memory Base and Limit, and what is above their 32 bits (PCIe 6.0, sections 7.5.1.3.9 and
/// 7.5.1.3.10).
fn prefetchable(space: &Space<'_>) -> Option<Window> {
    let half = |at, above| {
        let register = space.word(at)?;
        let upper = if register & 0xf == 1 { space.dword(above)? } else { 0 };
        Some(u64::from(upper) << 32 | u64::from(register & 0xfff0) << 16)
    };
    window(half(0x24, 0x28)?, half(0x26, 0x2c)?, 0xf_ffff)
}

/// Memory Base and Limit (PC Card Standard 8.0, volume 7, section 3.5): bits 31 to 12.
fn cardbus(space: &Space<'_>, base: u16, limit: u16) -> Option<Window> {
    let half = |at| space.dword(at).map(|register| u64::from(register & !0xfff));
    window(half(base)?, half(limit)?, 0xfff)
}
