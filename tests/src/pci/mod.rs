//! PCI topologies of real, emulated and made-up machines: what a capture holds.
//!
//! The format is described in `tests/pci/README.md`. Nothing here knows the service. [`fabric`] sends
//! requests over such a topology, and so knows who reaches whom; [`random`] makes topologies up.

pub mod capture;
pub mod fabric;
pub mod random;

pub use capture::{Buses, Capture, Captured, Kind, Name};
