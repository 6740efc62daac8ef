//! Which PCI functions the IOMMU can keep apart.

mod acs;
mod function;
mod merge;

pub use acs::{Acs, AcsBits};
pub use function::{BusNumbers, Function, Identity, Kind, REGIONS, Traits, Window};
pub use merge::{MAX_RANGES, RangeList, TooManyRanges, frames_of, merge};
