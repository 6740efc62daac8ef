//! The tables of firmware that say where the units are: each structure byte by byte, each mistake, tables
//! of machines, and bytes that are no tables.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

#[cfg(feature = "vtd")]
mod dmar;
#[cfg(feature = "vtd")]
mod dmar_behind;
#[cfg(feature = "vtd")]
mod dmar_mistakes;
mod header;
#[cfg(feature = "amdvi")]
mod ivrs;
#[cfg(feature = "amdvi")]
mod ivrs_behind;
#[cfg(feature = "amdvi")]
mod ivrs_mistakes;
mod kit;
mod random;
#[cfg(all(feature = "vtd", feature = "amdvi"))]
mod recorded;
