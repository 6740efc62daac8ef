//! AMD-Vi: what a unit can do, and the words it is told.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, Revision 3.08.

pub mod capability;
pub mod command;
pub mod device_entry;
pub mod interrupts;

pub use capability::{Capability, IrqEntries, Quirks};
pub use interrupts::{Interrupts, IrqTable};
