//! What can be wrong with a table.

use core::fmt;

use pviommu_abi::PciDevice;

/// A table cannot be used: firmware's mistake, and nothing a guest can cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcpiError {
    /// Where, in bytes from the begin of the table.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl AcpiError {
    pub(super) const fn new(offset: usize, problem: Problem) -> Self {
        Self { offset, problem }
    }
}

/// What is wrong at some place of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// This many bytes are needed from here on, and the table or the structure ends before.
    Truncated(usize),
    /// This is not the table that was asked for.
    Signature([u8; 4]),
    /// The table cannot have this length: less than its header, or more than
    /// [`MAX_TABLE`](super::MAX_TABLE).
    TableLength(u32),
    /// The bytes of the table add up to this instead of 0.
    Checksum(u8),
    /// There is no such revision of the table.
    Revision(u8),
    /// Addresses of the host cannot be this many bits wide.
    AddressWidth(u16),
    /// A structure of this type cannot have this length.
    StructureLength(u16, u16),
    /// A device scope cannot have this length: 6, and 2 for each step of at least one.
    ScopeLength(u8),
    /// There is no such device and function.
    Path(u8, u8),
    /// The registers of a unit are at 0 or all ones: it is absent.
    Absent(u64),
    /// The registers of a unit cannot begin here: not aligned, or the address space ends within.
    Registers(u64),
    /// The registers of another unit are here, too.
    SharedRegisters(u64),
    /// There are more than [`MAX_UNITS`](super::MAX_UNITS) units.
    TooManyUnits,
    /// A second unit has all functions of this segment that no other has.
    SecondCatchAll(u16),
    /// A second unit has this function, or what is named by a path that begins there.
    TwoUnits(PciDevice),
    /// A second structure of this type describes the unit that is this function.
    UnitTwice(PciDevice, u8),
    /// The unit that is this function has other registers elsewhere in the table.
    MovedUnit(PciDevice),
    /// Reserved memory ends before it begins, or is not made of pages: its first and last byte.
    Memory(u64, u64),
    /// Reserved memory has this length: none, not made of pages, or beyond the address space.
    MemoryLength(u64),
    /// A range of device ids ends before it begins.
    IdRange(u16, u16),
    /// A range of device ids begins with this one, and the next entry does not end it.
    OpenRange(u16),
    /// A range of device ids ends with this one, and none has begun.
    EndOfNothing(u16),
    /// The length of an entry of this type is not known.
    EntryType(u8),
    /// A name does not end within its structure.
    Name,
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {:#x}: {}", self.offset, self.problem)
    }
}

impl core::error::Error for AcpiError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(needed) => write!(f, "{needed} bytes are needed, and there are less"),
            Self::Signature(found) => write!(f, "the signature is {}", found.escape_ascii()),
            Self::TableLength(length) => write!(f, "the table cannot be {length} bytes long"),
            Self::Checksum(sum) => write!(f, "the bytes add up to {sum:#04x} instead of 0"),
            Self::Revision(revision) => write!(f, "there is no revision {revision}"),
            Self::AddressWidth(bits) => write!(f, "addresses cannot have {bits} bits"),
            Self::StructureLength(kind, length) => {
                write!(f, "a structure of type {kind:#x} cannot be {length} bytes long")
            }
            Self::ScopeLength(length) => {
                write!(f, "a device scope cannot be {length} bytes long")
            }
            Self::Path(device, function) => {
                write!(f, "there is no device {device:#x} with a function {function:#x}")
            }
            Self::Absent(base) => {
                write!(f, "a unit with its registers at {base:#x} is absent")
            }
            Self::Registers(base) => {
                write!(f, "registers of a unit cannot begin at {base:#x}")
            }
            Self::SharedRegisters(base) => {
                write!(f, "another unit has registers where this one has its own, at {base:#x}")
            }
            Self::TooManyUnits => write!(f, "there are more than {} units", super::MAX_UNITS),
            Self::SecondCatchAll(segment) => {
                write!(f, "a second unit has all that no other has of segment {segment:04x}")
            }
            Self::TwoUnits(function) => {
                write!(f, "a second unit has {function}, or what it leads to")
            }
            Self::UnitTwice(unit, kind) => {
                write!(f, "a second structure of type {kind:#x} describes the unit {unit}")
            }
            Self::MovedUnit(unit) => {
                write!(f, "the unit {unit} has other registers elsewhere in the table")
            }
            Self::Memory(first, last) => {
                write!(f, "reserved memory from {first:#x} to {last:#x} is empty or not of pages")
            }
            Self::MemoryLength(length) => {
                write!(f, "reserved memory cannot be {length:#x} bytes long here")
            }
            Self::IdRange(first, last) => {
                write!(f, "the device ids from {first:#06x} to {last:#06x} are none")
            }
            Self::OpenRange(first) => {
                write!(f, "the range of device ids from {first:#06x} on is not ended next")
            }
            Self::EndOfNothing(last) => {
                write!(f, "the range of device ids up to {last:#06x} was not begun")
            }
            Self::EntryType(kind) => {
                write!(f, "how long an entry of type {kind:#04x} is, is not known")
            }
            Self::Name => f.write_str("the name has no end"),
        }
    }
}
