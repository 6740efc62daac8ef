//! What AMD-Vi units have of their own: the words of their device table and of their commands.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, revision 3.08.
//! Nothing here is shared with the service, which writes these words.

pub mod command;
pub mod device_entry;
mod execute;

/// Two 64-bit words, the low one first: a command, or the half of a device-table entry that decides
/// about DMA.
pub type Words = [u64; 2];
