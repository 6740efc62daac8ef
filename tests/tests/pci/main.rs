//! PCI topologies: how captures of machines are read, who reaches whom, and what groups that makes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod data;
mod fabric;
mod json;
mod kit;
mod lspci_bytes;
mod lspci_words;
mod robust;
mod sysfs;
