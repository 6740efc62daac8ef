//! PCI topologies: how captures of machines are read.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod data;
mod json;
mod lspci_bytes;
mod lspci_words;
mod robust;
mod sysfs;
