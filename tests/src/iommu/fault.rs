//! What a unit records when it refuses an access.

use pviommu_abi::{FaultReason as Told, PciDevice};
use pviommu_hypervisor::platform::UnitId;

/// Which way data goes, from the device's view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The device reads memory.
    Read,
    /// The device writes memory.
    Write,
}

/// Why an access was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FaultReason {
    /// The device has no entry, or one that blocks it.
    Blocked,
    /// The entry of the device is one that no unit takes.
    IllegalEntry,
    /// The address is above what the unit or the table covers.
    AddressWidth,
    /// An entry on the way is not present.
    NotPresent,
    /// The translation does not permit a read.
    NotReadable,
    /// The translation does not permit a write.
    NotWritable,
    /// An entry on the way has reserved bits set.
    ReservedBits,
    /// A table on the way is not memory of a table.
    BadTable,
    /// Translated, but to a frame that must not be reached: stopped by the machine and recorded
    /// as a violation; hardware would have let it pass.
    Stopped,
    /// The address is in the interrupt window, so the access is an interrupt and not DMA.
    Interrupt,
    /// The address is of a range that the unit does not translate, and is no memory.
    Hole,
    /// The machine has no such device.
    NoDevice,
    /// The device is switched off: it sent no request, and no unit recorded one.
    Off,
}

impl FaultReason {
    /// What a guest is told of it.
    #[must_use]
    pub const fn told(self) -> Told {
        match self {
            Self::Blocked | Self::IllegalEntry => Told::BLOCKED,
            Self::AddressWidth => Told::ABOVE_APERTURE,
            Self::NotPresent => Told::NOT_MAPPED,
            Self::NotReadable => Told::READ_DENIED,
            Self::NotWritable => Told::WRITE_DENIED,
            Self::ReservedBits | Self::BadTable => Told::TABLE_ERROR,
            Self::Interrupt => Told::INTERRUPT_DENIED,
            Self::Stopped | Self::Hole | Self::NoDevice | Self::Off => Told::OTHER,
        }
    }
}

/// One refused access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultRecord {
    /// Unit that refused it.
    pub unit: UnitId,
    /// Function that asked.
    pub device: PciDevice,
    /// Bus address, in bytes.
    pub address: u64,
    /// What it wanted.
    pub direction: Direction,
    /// Why it was refused.
    pub reason: FaultReason,
}
