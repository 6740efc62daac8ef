//! IVRS: the units of AMD-Vi (section 5.2).

mod behind;
mod block;
mod check;
mod entry;
mod ivhd;
mod ivmd;

pub use block::Block;
pub use entry::{DeviceSettings, Entry, Variety};
pub use ivhd::{Ivhd, IvhdFlags, IvhdType};
pub use ivmd::{Ivmd, IvmdFlags, IvmdFor};

use super::{AcpiError, bytes::Bytes, header};
use crate::platform::UnitId;
use block::Blocks;

/// IVinfo: what all units have in common (section 5.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IvInfo(
    /// The word as it stands there.
    pub u32,
);

impl IvInfo {
    /// EFRSup: units have an extended feature register, and structures tell it.
    #[must_use]
    pub const fn has_extended_features(self) -> bool {
        self.0 & 1 != 0
    }

    /// DmaRemapSup: firmware asks to keep DMA from memory from the start on, as it did itself.
    #[must_use]
    pub const fn dma_remapping(self) -> bool {
        self.0 >> 1 & 1 != 0
    }

    /// PASize: bits of the addresses of memory, as the field has it.
    #[must_use]
    pub const fn physical_address_bits(self) -> u8 {
        (self.0 >> 8 & 0x7f) as u8
    }

    /// VASize: bits of the addresses of the bus, as the field has it.
    #[must_use]
    pub const fn virtual_address_bits(self) -> u8 {
        (self.0 >> 15 & 0x7f) as u8
    }

    /// HtAtsResv: addresses of HyperTransport's range are no translations that ATS may answer.
    #[must_use]
    pub const fn reserves_hypertransport(self) -> bool {
        self.0 >> 22 & 1 != 0
    }
}

const INFO: usize = 36;
/// Where the blocks begin.
const BLOCKS: usize = 48;

/// An IVRS table without mistakes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ivrs<'a> {
    blocks: Bytes<'a>,
    info: IvInfo,
}

impl<'a> Ivrs<'a> {
    /// The table at the begin of `bytes`. What comes after it is not looked at.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AcpiError> {
        let table = header::open(bytes, b"IVRS")?;
        let info = IvInfo(table.u32(INFO)?);
        let head = table.first(BLOCKS)?;
        let ivrs = Self { blocks: table.after(head.len()), info };
        ivrs.check()?;
        Ok(ivrs)
    }

    /// What all units have in common.
    #[must_use]
    pub const fn info(&self) -> IvInfo {
        self.info
    }

    /// All blocks, in the order of the table: of a unit perhaps several.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        // All of them were read once without an error.
        Blocks::new(self.blocks).map_while(Result::ok)
    }

    /// The units, in the order in which the table first names them, which gives them their numbers: of
    /// each the block of the highest type, which alone counts (section 5.2.2).
    pub fn units(&self) -> impl Iterator<Item = (UnitId, Ivhd<'a>)> + use<'a> {
        let ivrs = *self;
        let first = ivrs.definitions().filter(move |it| {
            let first = ivrs.definitions().find(|other| other.function == it.function);
            first.is_some_and(|first| first.offset == it.offset)
        });
        let highest = first.map(move |it| {
            let same = ivrs.definitions().filter(|other| other.function == it.function);
            same.fold(it, |best, other| if other.kind > best.kind { other } else { best })
        });
        (0..u16::MAX).map(UnitId).zip(highest)
    }

    /// Memory that devices use.
    pub fn memory(&self) -> impl Iterator<Item = Ivmd> + use<'a> {
        self.blocks().filter_map(|block| match block {
            Block::Ivmd(memory) => Some(memory),
            _ => None,
        })
    }

    /// True if no block of a higher type describes the same unit.
    fn is_highest(&self, unit: &Ivhd<'_>) -> bool {
        !self.definitions().any(|it| it.function == unit.function && it.kind > unit.kind)
    }

    /// All blocks that describe units.
    fn definitions(&self) -> impl Iterator<Item = Ivhd<'a>> + use<'a> {
        self.blocks().filter_map(|block| match block {
            Block::Ivhd(unit) => Some(unit),
            _ => None,
        })
    }
}
