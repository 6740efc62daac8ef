//! Which PCI functions the IOMMU can keep apart.

mod acs;
mod function;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "nobody asks yet"))]
mod quirks;

pub use acs::{Acs, AcsBits};
pub use function::{BusNumbers, Function, Identity, Kind, REGIONS, Traits, Window};
