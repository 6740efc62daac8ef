//! AMD-Vi.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, Revision 3.08.

pub mod command;
pub mod device_entry;
