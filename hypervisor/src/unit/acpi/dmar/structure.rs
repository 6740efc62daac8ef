//! The structures of a DMAR table (sections 8.3 to 8.8).

use super::{
    super::{AcpiError, Problem, bytes::Bytes},
    scope::{Scope, Scopes},
};

/// A structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Structure<'a> {
    /// A unit.
    Drhd(Drhd<'a>),
    /// Memory that devices use.
    Rmrr(Rmrr<'a>),
    /// Root ports that let ATS through.
    Atsr(Atsr<'a>),
    /// Where a unit is in the machine.
    Rhsa(Rhsa),
    /// The name of a device that is none of PCI.
    Andd(Andd<'a>),
    /// Devices with a cache of translations that are a part of the SoC.
    Satc(Satc<'a>),
    /// Anything else.
    Other {
        /// Its type.
        kind: u16,
        /// Its bytes, type and length among them.
        bytes: &'a [u8],
    },
}

/// DMA remapping hardware unit definition (section 8.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drhd<'a> {
    /// The segment its devices are of.
    pub segment: u16,
    /// INCLUDE_PCI_ALL: it has all functions of the segment that no other unit has.
    pub include_pci_all: bool,
    /// Address of its registers, a multiple of 4096.
    pub registers: u64,
    /// Bytes that its registers take, 4096 at least.
    pub registers_size: u64,
    /// Where it is, in bytes from the begin of the table.
    pub offset: usize,
    scopes: Scopes<'a>,
}

/// Reserved memory region reporting (section 8.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rmrr<'a> {
    /// The segment of the devices.
    pub segment: u16,
    /// The first byte, of a page.
    pub base: u64,
    /// The last byte, of a page, not below `base`.
    pub limit: u64,
    scopes: Scopes<'a>,
}

/// Root port ATS capability reporting (section 8.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Atsr<'a> {
    /// The segment of the root ports.
    pub segment: u16,
    /// ALL_PORTS: all root ports of the segment let ATS through.
    pub all_ports: bool,
    scopes: Scopes<'a>,
}

/// Remapping hardware static affinity (section 8.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhsa {
    /// The address of a unit's registers: that of a [`Drhd`].
    pub registers: u64,
    /// The proximity domain of the unit.
    pub proximity_domain: u32,
}

/// ACPI name-space device declaration (section 8.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Andd<'a> {
    /// What device scopes call the device by.
    pub device_number: u8,
    /// Its name, without the zero that ends it.
    pub name: &'a [u8],
}

/// SoC integrated address translation cache (section 8.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Satc<'a> {
    /// The segment of the devices.
    pub segment: u16,
    /// ATC_REQUIRED: the devices do not work without ATS.
    pub atc_required: bool,
    scopes: Scopes<'a>,
}

macro_rules! scopes {
    ($($structure:ident)*) => { $(
        impl<'a> $structure<'a> {
            /// The devices it is about.
            pub fn scopes(&self) -> impl Iterator<Item = Scope<'a>> + use<'a> {
                // All of them were read once without an error.
                self.scopes.map_while(Result::ok)
            }
        }
    )* };
}

scopes!(Drhd Rmrr Atsr Satc);

/// Types of structures.
mod kind {
    pub(super) const DRHD: u16 = 0;
    pub(super) const RMRR: u16 = 1;
    pub(super) const ATSR: u16 = 2;
    pub(super) const RHSA: u16 = 3;
    pub(super) const ANDD: u16 = 4;
    pub(super) const SATC: u16 = 5;
}

/// Type and length, which all structures begin with.
const HEAD: usize = 4;
const LENGTH: usize = 2;
const PAGE: u64 = 4096;

impl<'a> Structure<'a> {
    /// The structure at the begin of `bytes`, and its length.
    fn read(bytes: Bytes<'a>) -> Result<(Self, usize), AcpiError> {
        let (kind, length) = (bytes.u16(0)?, bytes.u16(LENGTH)?);
        let fixed = match kind {
            kind::DRHD => 16,
            // A name has one byte at least, its end.
            kind::ANDD => 9,
            kind::RMRR => 24,
            kind::RHSA => 20,
            kind::ATSR | kind::SATC => 8,
            _ => HEAD,
        };
        let size = usize::from(length);
        if size < fixed || size > bytes.len() {
            return Err(bytes.error(LENGTH, Problem::StructureLength(kind, length)));
        }
        let it = bytes.first(size)?;
        let structure = match kind {
            kind::DRHD => Self::Drhd(Drhd::read(it)?),
            kind::RMRR => Self::Rmrr(Rmrr::read(it)?),
            kind::ATSR => Self::Atsr(Atsr {
                all_ports: it.u8(4)? & 1 != 0,
                segment: it.u16(6)?,
                scopes: Scopes(it.after(fixed)),
            }),
            kind::RHSA => Self::Rhsa(Rhsa { registers: it.u64(8)?, proximity_domain: it.u32(16)? }),
            kind::ANDD => Self::Andd(Andd::read(it)?),
            kind::SATC => Self::Satc(Satc {
                atc_required: it.u8(4)? & 1 != 0,
                segment: it.u16(6)?,
                scopes: Scopes(it.after(fixed)),
            }),
            _ => Self::Other { kind, bytes: it.as_slice() },
        };
        Ok((structure, size))
    }

    /// The device scopes as they stand there.
    pub(super) fn unchecked_scopes(&self) -> Option<Scopes<'a>> {
        match self {
            Self::Drhd(it) => Some(it.scopes),
            Self::Rmrr(it) => Some(it.scopes),
            Self::Atsr(it) => Some(it.scopes),
            Self::Satc(it) => Some(it.scopes),
            Self::Rhsa(_) | Self::Andd(_) | Self::Other { .. } => None,
        }
    }
}

impl<'a> Drhd<'a> {
    fn read(it: Bytes<'a>) -> Result<Self, AcpiError> {
        const REGISTERS: usize = 8;
        let registers = it.u64(REGISTERS)?;
        if registers == 0 || registers == u64::MAX {
            return Err(it.error(REGISTERS, Problem::Absent(registers)));
        }
        // 2^N pages.
        let registers_size = PAGE << (it.u8(5)? & 0xf);
        let last = registers.checked_add(registers_size.saturating_sub(1));
        if registers % PAGE != 0 || last.is_none() {
            return Err(it.error(REGISTERS, Problem::Registers(registers)));
        }
        Ok(Self {
            segment: it.u16(6)?,
            include_pci_all: it.u8(4)? & 1 != 0,
            registers,
            registers_size,
            offset: it.offset,
            scopes: Scopes(it.after(16)),
        })
    }

    /// The last byte of its registers.
    pub(super) fn last_register(&self) -> u64 {
        self.registers.saturating_add(self.registers_size.saturating_sub(1))
    }
}

impl<'a> Rmrr<'a> {
    fn read(it: Bytes<'a>) -> Result<Self, AcpiError> {
        const BASE: usize = 8;
        let (base, limit) = (it.u64(BASE)?, it.u64(16)?);
        let pages = base % PAGE == 0 && limit % PAGE == PAGE - 1;
        if base > limit || !pages {
            return Err(it.error(BASE, Problem::Memory(base, limit)));
        }
        Ok(Self { segment: it.u16(6)?, base, limit, scopes: Scopes(it.after(24)) })
    }
}

impl<'a> Andd<'a> {
    fn read(it: Bytes<'a>) -> Result<Self, AcpiError> {
        const NAME: usize = 8;
        let bytes = it.after(NAME).as_slice();
        let end = bytes.iter().position(|byte| *byte == 0);
        let name = end.and_then(|end| bytes.get(..end));
        let name = name.ok_or_else(|| it.error(NAME, Problem::Name))?;
        Ok(Self { device_number: it.u8(7)?, name })
    }
}

/// The structures of a table. Ends behind the first error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Structures<'a>(Bytes<'a>);

impl<'a> Structures<'a> {
    pub(super) const fn new(bytes: Bytes<'a>) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Structures<'a> {
    type Item = Result<Structure<'a>, AcpiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = Structure::read(self.0);
        let length = read.map_or(self.0.len(), |(_, length)| length);
        self.0 = self.0.after(length);
        Some(read.map(|(structure, _)| structure))
    }
}
