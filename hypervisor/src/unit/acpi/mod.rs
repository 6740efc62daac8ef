//! What firmware says of the units: the ACPI tables DMAR (VT-d) and IVRS (AMD-Vi).
//!
//! ```text
//!                                  ┌─► units: registers, segment, settings
//!  bytes ─► header ─► structures ──┼─► unit_of: who is behind which           ─► Function::unit
//!           length,   checked,     ├─► direct_ranges: memory that is in use   ─► Firmware::direct
//!           checksum  conflicts    └─► aliases: ids that requests carry       ─► Firmware::aliases
//! ```
//!
//! Bytes are untrusted: a table is checked as a whole before anything of it is told, and what is
//! wrong is an [`AcpiError`] that names the place. What is told after that borrows from the bytes.
//! Structures of a type that is not known are skipped by their length, as both specifications ask.
//!
//! Sources: Intel Virtualization Technology for Directed I/O, Revision 4.1, chapter 8; AMD I/O
//! Virtualization Technology (IOMMU) Specification, publication 48882, Revision 3.08, chapter 5.
//!
//! # From tables to a topology
//!
//! Tables name functions by bridges on the way to them, so what is read of functions comes first:
//!
//! ```
//! # #[cfg(feature = "vtd")]
//! # fn main() -> Result<(), pviommu_hypervisor::unit::acpi::AcpiError> {
//! use pviommu_hypervisor::{
//!     abi::PciDevice,
//!     platform::{Access, UnitId},
//!     topology::{DirectRange, Firmware, Function, Window},
//!     unit::acpi::{Dmar, table_length},
//! };
//!
//! # let mut table = [0u8; 64];
//! # table[..8].copy_from_slice(b"DMAR\x40\0\0\0");
//! # table[8] = 1;
//! # (table[36], table[37]) = (38, 1);
//! # table[50] = 16;
//! # (table[52], table[58], table[59]) = (1, 0xd9, 0xfe);
//! # table[9] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
//! // Eight bytes say how many there are.
//! let length = table_length(&table[..8])?;
//! let dmar = Dmar::parse(&table[..length])?;
//! for (unit, drhd) in dmar.units() {
//!     println!("unit {} has its registers at {:#x}", unit.0, drhd.registers);
//! }
//!
//! // Each function that answered, without its unit.
//! let mut functions = [Function::new(PciDevice::new(0, 0, 3, 0))];
//! let known = functions;
//! let facts = |address| known.iter().find(|it| it.address == address).copied();
//! for function in &mut functions {
//!     function.unit = dmar.unit_of(function.address, &facts)?;
//! }
//! assert_eq!(functions[0].unit, Some(UnitId(0)));
//!
//! // USB and graphics need their memory until their driver runs.
//! let relaxable = |it: &Function| matches!(it.identity.class >> 8, 0x0c03 | 0x0300);
//! let vacant = DirectRange {
//!     function: PciDevice::new(0, 0, 0, 0),
//!     bytes: Window { first: 0, last: 0 },
//!     relaxable: false,
//!     access: Access::empty(),
//! };
//! let mut room = [vacant; 8];
//! let direct = dmar.direct_ranges(known.iter(), &facts, relaxable, &mut room);
//! let direct = direct.expect("there is room for all");
//! let firmware = Firmware { aliases: &[], direct, amd_ivrs: false };
//! # assert!(firmware.direct.is_empty());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "vtd"))]
//! # fn main() {}
//! ```

#![forbid(unsafe_code)]

mod bytes;
#[cfg(feature = "vtd")]
mod dmar;
mod error;
mod header;
#[cfg(feature = "amdvi")]
mod ivrs;
mod lists;

#[cfg(feature = "vtd")]
pub use dmar::{Andd, Atsr, Dmar, DmarFlags, Drhd, Rhsa, Rmrr, Satc, Scope, ScopeKind, Structure};
pub use error::{AcpiError, Problem};
pub use header::{MAX_TABLE, table_length};
#[cfg(feature = "amdvi")]
pub use ivrs::{
    Block, DeviceSettings, Entry, IvInfo, Ivhd, IvhdFlags, IvhdType, Ivmd, IvmdFlags, IvmdFor,
    Ivrs, Variety,
};
pub use lists::NoRoom;

use pviommu_abi::PciDevice;

use crate::topology::Function;

/// What is known of a function, for those that a table names and those it is asked about: its bus
/// numbers if it is a bridge, its physical function if it is a virtual one, in whose name it sends.
/// `None`: there is no such function.
pub type Facts<'f> = dyn Fn(PciDevice) -> Option<Function> + 'f;

/// Most units of a machine: several times what the largest have. It bounds the time for comparing
/// each with each.
pub const MAX_UNITS: usize = 256;

/// The function in whose name this one sends: one step, who sends for others sends for itself.
fn sender(function: PciDevice, facts: &Facts<'_>) -> PciDevice {
    facts(function).and_then(|it| it.requests_as).unwrap_or(function)
}

/// The physical function of a virtual one.
fn physical(function: PciDevice, facts: &Facts<'_>) -> Option<PciDevice> {
    facts(function).filter(Function::is_virtual).and_then(|it| it.physical)
}
