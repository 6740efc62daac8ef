//! Commands of the command buffer: 128 bits each, section 2.4.

use pviommu_abi::PciDevice;

use crate::{
    addr::{BfnRange, PAGE_SHIFT},
    platform::{Invalidation, Tag},
    unit::Command,
};

const OPCODE_SHIFT: u32 = 60;
const COMPLETION_WAIT: u64 = 1 << OPCODE_SHIFT;
const INVALIDATE_DEVTAB_ENTRY: u64 = 2 << OPCODE_SHIFT;
const INVALIDATE_IOMMU_PAGES: u64 = 3 << OPCODE_SHIFT;
const INVALIDATE_INTERRUPT_TABLE: u64 = 5 << OPCODE_SHIFT;
const INVALIDATE_IOMMU_ALL: u64 = 8 << OPCODE_SHIFT;
/// S of COMPLETION_WAIT: the value is stored.
const STORE: u64 = 1 << 0;
/// Where it can be stored: a multiple of 8.
const STORE_ADDRESS: u64 = 0x000f_ffff_ffff_fff8;
const DOMAIN_ID_SHIFT: u32 = 32;

/// S: the address says how many pages.
const SIZE: u64 = 1 << 0;
/// PDE: entries on the way are forgotten, too.
const PDE: u64 = 1 << 1;
/// The address of all pages: every bit that counts is a one, but the highest.
const ALL_PAGES: u64 = 0x7fff_ffff_ffff_f000;
/// Width of the frame numbers that the address names plainly: its bits 63:52 repeat bit 51.
const FRAME_BITS: u32 = 39;

/// COMPLETION_WAIT (section 2.4.1) with a store: `value` is at `address`, a multiple of 8, once every
/// command before this one is done and what they waited for has drained.
#[must_use]
pub const fn wait(address: u64, value: u64) -> Command {
    [COMPLETION_WAIT | address & STORE_ADDRESS | STORE, value]
}

/// INVALIDATE_DEVTAB_ENTRY (section 2.4.2): forgets what is cached of the device table for requests
/// that carry `device`.
#[must_use]
pub fn forget_device(device: PciDevice) -> Command {
    [INVALIDATE_DEVTAB_ENTRY | id(device), 0]
}

/// INVALIDATE_INTERRUPT_TABLE (section 2.4.5): forgets what is cached of the interrupt table of `device`.
#[must_use]
pub fn forget_interrupts(device: PciDevice) -> Command {
    [INVALIDATE_INTERRUPT_TABLE | id(device), 0]
}

/// INVALIDATE_IOMMU_ALL (section 2.4.8): forgets everything. Units without IASup do not know it.
#[must_use]
pub const fn forget_everything() -> Command {
    [INVALIDATE_IOMMU_ALL, 0]
}

fn id(device: PciDevice) -> u64 {
    u64::from(device.bus) << 8 | u64::from(device.devfn)
}

/// INVALIDATE_IOMMU_PAGES (section 2.4.3): forgets what is cached under `tag`, at least of what
/// `what` names.
#[must_use]
pub fn invalidate(tag: Tag, what: Invalidation) -> Command {
    let low = INVALIDATE_IOMMU_PAGES | u64::from(tag.0) << DOMAIN_ID_SHIFT;
    let high = match what {
        Invalidation::Leaves(range) => block(range),
        Invalidation::Tables(range) => block(range) | PDE,
        Invalidation::Everything => ALL_PAGES | SIZE | PDE,
    };
    [low, high]
}

/// Address and S of the smallest naturally aligned block of 2^n pages that holds `range`.
///
/// The block is given by the zero bit that ends a run of ones from bit 12 on: below that bit
/// nothing counts, above it stands the address.
fn block(range: BfnRange) -> u64 {
    let (first, last) = (range.first().0, range.last().0);
    if last >> FRAME_BITS != 0 {
        return ALL_PAGES | SIZE;
    }
    let Some(highest) = (first ^ last).checked_ilog2() else { return first << PAGE_SHIFT };
    // The highest bit in which they differ is a one in `last`: in `first` it is the zero.
    let below = 1u64.checked_shl(highest).unwrap_or(0).wrapping_sub(1);
    (first | below) << PAGE_SHIFT | SIZE
}

#[cfg(test)]
mod tests {
    use pviommu_abi::Bfn;

    use super::*;

    fn high(first: u64, last: u64) -> u64 {
        let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
        invalidate(Tag(7), Invalidation::Leaves(range))[1]
    }

    /// Golden words, put together by hand from section 2.4.3.
    #[test]
    fn the_size_is_a_run_of_ones_that_a_zero_ends() {
        assert_eq!(high(0x1234, 0x1234), 0x0123_4000, "one page has no S");
        assert_eq!(high(0x1234, 0x1235), 0x0123_4001, "bit 12 is the zero: 8 KiB");
        assert_eq!(high(0x1236, 0x1237), 0x0123_6001);
        assert_eq!(high(0x1235, 0x1236), 0x0123_5001, "16 KiB: ones below bit 13");
        assert_eq!(high(0x1200, 0x13ff), 0x012f_f001, "2 MiB");
        assert_eq!(high(0x1200, 0x1400), 0x013f_f001, "and a page more");
    }

    #[test]
    fn what_is_on_the_way_is_forgotten_with_tables_only() {
        let range = BfnRange::single(Bfn(0x1234));
        let low = 0x3000_0007_0000_0000;
        assert_eq!(invalidate(Tag(7), Invalidation::Leaves(range)), [low, 0x0123_4000]);
        assert_eq!(invalidate(Tag(7), Invalidation::Tables(range)), [low, 0x0123_4002]);
        assert_eq!(invalidate(Tag(7), Invalidation::Everything), [low, 0x7fff_ffff_ffff_f003]);
    }

    #[test]
    fn a_range_that_no_block_names_plainly_is_all_pages() {
        let all = 0x7fff_ffff_ffff_f001;
        assert_eq!(high(0, u64::MAX - 1), all);
        assert_eq!(high(1 << 39, 1 << 39), all, "bit 51 of the address");
        assert_eq!(high(0, (1 << 39) - 1), 0x0003_ffff_ffff_f001, "2^39 pages");
    }

    #[test]
    fn a_device_is_named_by_bus_and_function() {
        let device = PciDevice { seg: 0, bus: 0x12, devfn: 0x34 };
        assert_eq!(forget_device(device), [0x2000_0000_0000_1234, 0]);
        assert_eq!(forget_interrupts(device), [0x5000_0000_0000_1234, 0]);
    }

    #[test]
    fn a_wait_stores_its_value_and_everything_needs_no_more_words() {
        assert_eq!(wait(0x000f_dead_beef_0128, 77), [0x100f_dead_beef_0129, 77]);
        assert_eq!(forget_everything(), [0x8000_0000_0000_0000, 0]);
    }
}
