//! Which PCI functions the IOMMU can keep apart.

mod acs;
mod function;
mod interrupt_reason;
mod merge;
mod msi;
mod regions;

pub use acs::{Acs, AcsBits};
pub use function::{BusNumbers, Function, Identity, Kind, REGIONS, Traits, Window};
pub use interrupt_reason::InterruptReason;
pub use merge::{MAX_RANGES, RangeList, TooManyRanges, frames_of, merge};
pub use msi::{HostBuses, Interrupts, MsiController, MsiKind, MsiPlatform, Place};
pub use regions::{DirectRange, HostWindow, PeerToPeer, RegionError, Regions};
