//! I/O virtualization hardware definition: a unit (section 5.2.2).

use pviommu_abi::PciDevice;

use super::{
    super::{AcpiError, Problem, bytes::Bytes},
    DeviceSettings, Entry,
    entry::{Entries, Span},
};

/// The type of a block that describes a unit. The higher, the more it tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum IvhdType {
    /// 10h: without the extended feature register.
    Basic,
    /// 11h: with it.
    Extended,
    /// 40h: with it, and with devices that are named by ACPI.
    Named,
}

impl IvhdType {
    pub(super) const fn new(kind: u8) -> Option<Self> {
        match kind {
            0x10 => Some(Self::Basic),
            0x11 => Some(Self::Extended),
            0x40 => Some(Self::Named),
            _ => None,
        }
    }

    /// The number that stands in the table.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Basic => 0x10,
            Self::Extended => 0x11,
            Self::Named => 0x40,
        }
    }

    /// Bytes before the entries.
    pub(super) const fn head(self) -> usize {
        match self {
            Self::Basic => 24,
            Self::Extended | Self::Named => 40,
        }
    }
}

bitflags::bitflags! {
    /// Settings for the control register of a unit (section 5.2.2.1, IVHD flags).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct IvhdFlags: u8 {
        /// HtTunEn: HyperTransport tunnel translation is to be on.
        const TUNNEL = 1 << 0;
        /// PassPW: of posted writes is passed on what the request says.
        const PASS_POSTED = 1 << 1;
        /// ResPassPW: the same of responses.
        const RESPONSE_PASS_POSTED = 1 << 2;
        /// Isoc: table walks are isochronous requests.
        const ISOCHRONOUS = 1 << 3;
        /// IotlbSup: it supports devices with a cache of translations.
        const REMOTE_IOTLB = 1 << 4;
        /// Coherent: its table walks are to snoop.
        const COHERENT = 1 << 5;
        /// PreFSup: it knows the prefetch command. Of type 10h only.
        const PREFETCH = 1 << 6;
        /// PPRSup: it takes page requests. Of type 10h only.
        const PAGE_REQUESTS = 1 << 7;
    }
}

/// A unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ivhd<'a> {
    /// Which type of block tells of it.
    pub kind: IvhdType,
    /// Settings for its control register.
    pub flags: IvhdFlags,
    /// The function that it is itself. Its own requests it does not translate.
    pub function: PciDevice,
    /// Where its capability is, in the configuration space of that function.
    pub capability: u16,
    /// Address of its registers, a multiple of 16 KiB.
    pub registers: u64,
    /// IOMMU info: the number of its MSI in bits 4 to 0, its unit id in 12 to 8.
    pub info: u16,
    /// IOMMU feature info of type 10h, IOMMU attributes of the others.
    pub features: u32,
    /// The extended feature registers, of 64 bits each; those of type 10h have none.
    pub extended_features: Option<[u64; 2]>,
    /// Where it is, in bytes from the begin of the table.
    pub offset: usize,
    entries: Entries<'a>,
}

/// Registers take this much at least, and begin at a multiple of it.
const REGISTERS_SIZE: u64 = 16 << 10;

impl<'a> Ivhd<'a> {
    pub(super) fn read(it: Bytes<'a>, kind: IvhdType) -> Result<Self, AcpiError> {
        const REGISTERS: usize = 8;
        let registers = it.u64(REGISTERS)?;
        if registers == 0 || registers == u64::MAX {
            return Err(it.error(REGISTERS, Problem::Absent(registers)));
        }
        if registers % REGISTERS_SIZE != 0 {
            return Err(it.error(REGISTERS, Problem::Registers(registers)));
        }
        let extended_features = match kind {
            IvhdType::Basic => None,
            IvhdType::Extended | IvhdType::Named => Some([it.u64(24)?, it.u64(32)?]),
        };
        Ok(Self {
            kind,
            flags: IvhdFlags::from_bits_truncate(it.u8(1)?),
            function: of_segment(it.u16(16)?, it.u16(4)?),
            capability: it.u16(6)?,
            registers,
            info: it.u16(18)?,
            features: it.u32(20)?,
            extended_features,
            offset: it.offset,
            entries: Entries::new(it.after(kind.head())),
        })
    }

    /// The devices behind it, in the order of the table.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        // All of them were read once without an error.
        self.entries.map_while(Result::ok)
    }

    pub(super) fn unchecked_entries(&self) -> Entries<'a> {
        self.entries
    }

    /// The ids that entries name, with what else those say, in the order of the table.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> + use<'a> {
        self.entries().filter_map(|entry| entry.span())
    }

    /// True if it has all ids of its segment that no other unit has.
    pub(super) fn has_all_others(&self) -> bool {
        self.entries().any(|entry| matches!(entry, Entry::All { .. }))
    }

    /// True if an entry names the id of this function.
    pub(super) fn names(&self, function: PciDevice) -> bool {
        let id = id_of(function);
        function.seg == self.function.seg && self.spans().any(|span| span.has(id))
    }

    /// Settings for the device table entry of `id`, bus and devfn: those of the last entry that names it,
    /// or as what requests are sent, or all; `None` if none does.
    #[must_use]
    pub fn settings_of(&self, id: u16) -> Option<DeviceSettings> {
        self.entries().fold(None, |found, entry| entry.settings_of(id).or(found))
    }
}

/// The function of this segment with this id.
pub(super) const fn of_segment(segment: u16, id: u16) -> PciDevice {
    let [devfn, bus] = id.to_le_bytes();
    PciDevice { seg: segment, bus, devfn }
}

/// Bus and devfn as one number.
pub(super) const fn id_of(function: PciDevice) -> u16 {
    u16::from_le_bytes([function.devfn, function.bus])
}
