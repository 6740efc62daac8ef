//! PCI topologies of real, emulated and made-up machines: what a capture holds.
//!
//! The format is described in `tests/pci/README.md`. Nothing here knows the service.

pub mod capture;

pub use capture::{Buses, Capture, Captured, Kind, Name};
