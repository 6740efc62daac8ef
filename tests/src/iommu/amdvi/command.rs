//! Commands, 128 bits each, as the unit takes them apart: section 2.4.
//!
//! | bits | INVALIDATE_DEVTAB_ENTRY | INVALIDATE_IOMMU_PAGES |
//! |---|---|---|
//! | 63:60 | 2 | 3 |
//! | 15:0 | device id | |
//! | 47:32 | | domain id |
//! | 64, 65 | | S, PDE |
//! | 127:76 | | address |
//!
//! All other bits must be zero, those for guest translations included, which these units do not have.
//! Without S the address is that of a page. With S the zero that ends the run of ones from bit 12 of
//! the address on tells the size: at bit 12 it is 8 KiB, and twice as much with each bit above it. Bits
//! 63:52 repeat bit 51, but for the largest size, whose zero is bit 63: all pages.

use pviommu_hypervisor::platform::Tag;

use super::Words;

/// Address bits that are of the address itself.
const ADDRESS_BITS: u32 = 52;

/// What a unit is told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Forget what is cached of the device-table entry of a device.
    ForgetDevice {
        /// Bus and function of the device.
        id: u16,
    },
    /// Forget translations.
    ForgetPages {
        /// Those cached under this domain id.
        tag: Tag,
        /// Of this bus frame, and all up to
        first: u64,
        /// this one.
        last: u64,
        /// The way there, too: page directory entries (PDE).
        tables: bool,
    },
}

/// A command that the unit does not take (ILLEGAL_COMMAND_ERROR).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Illegal;

/// Takes a command apart.
///
/// # Errors
/// [`Illegal`] for an operation that is not of the two above, for reserved bits, and for an address
/// that is none.
pub fn decode([low, high]: Words) -> Result<Command, Illegal> {
    match low >> 60 {
        2 if low & 0x0fff_ffff_ffff_0000 == 0 && high == 0 => {
            Ok(Command::ForgetDevice { id: (low & 0xffff) as u16 })
        }
        3 if low & 0x0fff_0000_ffff_ffff == 0 && high & 0xffc == 0 => {
            let (first, last) = pages(high & !0xfff, high & 1 == 1)?;
            let tag = Tag((low >> 32 & 0xffff) as u16);
            Ok(Command::ForgetPages { tag, first, last, tables: high & 2 == 2 })
        }
        _ => Err(Illegal),
    }
}

/// First and last bus frame of the block at `address`.
fn pages(address: u64, sized: bool) -> Result<(u64, u64), Illegal> {
    let frame = address >> 12;
    // The run of ones, and the zero that ends it.
    let below = if sized { (2 << frame.trailing_ones()) - 1 } else { 0 };
    if below == (1 << ADDRESS_BITS) - 1 {
        return Ok((0, u64::MAX));
    }
    let above = (address as i64) >> (ADDRESS_BITS - 1);
    if above != 0 && above != -1 || below >> (ADDRESS_BITS - 12) != 0 {
        return Err(Illegal);
    }
    // Bus frames have no sign.
    let first = frame & !below & ((1 << (ADDRESS_BITS - 12)) - 1);
    Ok((first, first | below))
}
