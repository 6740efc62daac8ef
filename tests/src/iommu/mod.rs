//! A model of IOMMU units, as unhelpful as the architecture allows.
//!
//! A unit reads the raw page tables by the walker in [`walker`], which is written from the
//! specifications (Intel Virtualization Technology for Directed I/O, revision 4.1, sections 3.7
//! and 9.8; AMD 48882, revision 3.08, section 2.2.3) and shares no code with the service that writes
//! them. Units of AMD read the words of their device table and of their commands, too ([`amdvi`]). What
//! a unit has read it keeps, until it is told to forget it: translations in [`iotlb`], the way to them
//! in [`paging_cache`], device entries in [`device_table`]. So a flush that is missing, or comes too
//! late, shows as an access that [`unit`](mod@unit) does not let pass and records.
//!
//! ```text
//!  DMA ─► device entry ─► IOTLB ─hit──────────────────────► frame ─► oracle ─► memory
//!              │            └─miss─► paging-structure cache ─► walk ─┘
//!              └─ blocked ─► fault
//! ```

mod absent;
pub mod amdvi;
mod attach;
pub mod device_table;
pub mod fault;
pub mod handmade;
pub mod holes;
pub mod index;
mod invalidate;
pub mod iotlb;
mod meanwhile;
pub mod paging_cache;
mod peek;
pub mod soft;
mod translate;
pub mod unit;
pub mod walker;
mod write_buffer;

pub use device_table::DeviceEntry;
pub use fault::{Direction, FaultReason, FaultRecord};
#[cfg(feature = "amdvi")]
pub(crate) use invalidate::Why;
pub use soft::{Origin, Soft};
pub use translate::Landing;
pub use unit::{UnitCounters, UnitModel};
pub use walker::Rights;
