//! PCI topologies of real, emulated and made-up machines: what a capture holds, and how it is read.
//!
//! ```text
//!  pviommu-pci-1 ─► json ──────┐
//!  lspci -xxxx ───► lspci::hex ┤◄─► config: registers      ┌─► check
//!  lspci -vvv ────► lspci::text┼──► Capture, one a segment ┤
//!  /sys ──────────► sysfs ─────┘                           └─► convert ─► the service's topology
//! ```
//!
//! A capture is untrusted: what does not fit its form is an error that names the file, the place,
//! what stood there and what was expected. What a source does not show stays unknown. But for
//! `convert` nothing here knows the service. [`fabric`] sends requests over a capture, and so knows who
//! reaches whom; [`random`] makes captures up.

pub mod capture;
mod check;
pub mod class;
pub mod config;
pub mod convert;
mod error;
pub mod fabric;
mod file;
pub mod json;
pub mod lspci;
pub mod random;
pub mod sysfs;

pub use capture::{Buses, Capture, Captured, Kind, Name};
pub use error::{Fault, PciError, Place};
pub use file::{open, read};
