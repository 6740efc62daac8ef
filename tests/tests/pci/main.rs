//! PCI topologies: who reaches whom, and what groups that makes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod fabric;
mod kit;
