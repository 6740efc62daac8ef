//! AMD-Vi: how a unit is driven, and the words it is told.
//!
//! [`AmdVi`] is the driver; all else are words, which anybody may look at.
//!
//! What is not used stays off: guest translation, page requests, ATS (so translated requests are refused), the
//! guest's APIC, segments of the device table, the exclusion range.
//!
//! # What the embedder does
//!
//! * It enables the unit's registers in configuration space (bit 0 of the base address, section 3.2.2), if
//!   firmware has not; its MSI, if it wants to be told of events; and what errata of its model ask for there
//!   (746 and the like). This crate writes no configuration space.
//! * It brings every unit up before it lets a device be a bus master that firmware has not: a unit that is off
//!   lets everything pass.
//! * It calls [`next_event`](crate::unit::Driver::next_event) until there is none, when the unit interrupts or
//!   now and then.
//! * It gives the unit's own function to nobody: that is behind no unit, and not translated, whatever its entry
//!   says.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, Revision 3.08.

pub mod capability;
pub mod command;
pub mod device_entry;
// It changes entries 128 bits at a time.
#[cfg(all(target_arch = "x86_64", not(loom)))]
pub mod driver;
pub mod interrupts;

pub use capability::{Capability, IrqEntries, Quirks};
#[cfg(all(target_arch = "x86_64", not(loom)))]
pub use driver::{AmdVi, BringUpError, Resources, Settings};
pub use interrupts::{Interrupts, IrqTable};
