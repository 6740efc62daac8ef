//! The tables of firmware that say where the units are: each structure byte by byte, each mistake, tables
//! of machines, and bytes that are no tables.

#![cfg(all(feature = "vtd", feature = "amdvi", not(loom)))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod dmar;
mod dmar_behind;
mod dmar_mistakes;
mod header;
mod ivrs;
mod ivrs_behind;
mod ivrs_mistakes;
mod kit;
mod random;
mod recorded;
