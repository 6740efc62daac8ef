//! DMAR: the units of VT-d (section 8.1).

mod behind;
mod check;
mod scope;
mod structure;

pub use scope::{Scope, ScopeKind};
pub use structure::{Andd, Atsr, Drhd, Rhsa, Rmrr, Satc, Structure};

use super::{AcpiError, Problem, bytes::Bytes, header};
use crate::platform::UnitId;
use structure::Structures;

bitflags::bitflags! {
    /// What the platform says of all its units (section 8.1, Flags).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DmarFlags: u8 {
        /// Interrupts can be remapped, if a unit can, too.
        const INTR_REMAP = 1 << 0;
        /// Firmware asks not to switch x2APIC mode on.
        const X2APIC_OPT_OUT = 1 << 1;
        /// Firmware kept DMA from memory until it handed over, and asks the system to go on so.
        const DMA_CTRL_PLATFORM_OPT_IN = 1 << 2;
    }
}

const ADDRESS_WIDTH: usize = 36;
const FLAGS: usize = 37;
/// Where the structures begin.
const STRUCTURES: usize = 48;

/// A DMAR table without mistakes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dmar<'a> {
    structures: Bytes<'a>,
    address_width: u8,
    flags: DmarFlags,
}

impl<'a> Dmar<'a> {
    /// The table at the begin of `bytes`. What comes after it is not looked at.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AcpiError> {
        let table = header::open(bytes, b"DMAR")?;
        // One less than the width.
        let address_width = table.u8(ADDRESS_WIDTH)?;
        let bits = u16::from(address_width).saturating_add(1);
        if bits > 64 {
            return Err(table.error(ADDRESS_WIDTH, Problem::AddressWidth(bits)));
        }
        let flags = DmarFlags::from_bits_truncate(table.u8(FLAGS)?);
        let head = table.first(STRUCTURES)?;
        let structures = table.after(head.len());
        let dmar = Self { structures, address_width: address_width.saturating_add(1), flags };
        dmar.check()?;
        Ok(dmar)
    }

    /// How many bits the addresses of memory have that DMA can reach, 1 to 64.
    #[must_use]
    pub const fn host_address_width(&self) -> u8 {
        self.address_width
    }

    /// What the platform says of all its units.
    #[must_use]
    pub const fn flags(&self) -> DmarFlags {
        self.flags
    }

    /// All structures, in the order of the table.
    pub fn structures(&self) -> impl Iterator<Item = Structure<'a>> + use<'a> {
        // All of them were read once without an error.
        Structures::new(self.structures).map_while(Result::ok)
    }

    /// The units, in the order of the table, which gives them their numbers.
    pub fn units(&self) -> impl Iterator<Item = (UnitId, Drhd<'a>)> + use<'a> {
        let units = self.structures().filter_map(|structure| match structure {
            Structure::Drhd(unit) => Some(unit),
            _ => None,
        });
        (0..u16::MAX).map(UnitId).zip(units)
    }

    /// Memory that devices use.
    pub fn reserved_memory(&self) -> impl Iterator<Item = Rmrr<'a>> + use<'a> {
        self.structures().filter_map(|structure| match structure {
            Structure::Rmrr(memory) => Some(memory),
            _ => None,
        })
    }
}
