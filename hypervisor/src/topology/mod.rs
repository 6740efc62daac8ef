//! Which PCI functions the IOMMU can keep apart.

mod acs;
mod function;

pub use acs::{Acs, AcsBits};
pub use function::{BusNumbers, Function, Identity, Kind, REGIONS, Traits, Window};
