//! PCI topologies: how captures of machines are read, who reaches whom, what groups that makes, and how
//! they are shown.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod convert;
mod data;
mod fabric;
mod json;
mod kit;
mod lspci_bytes;
mod lspci_words;
mod pictures;
mod robust;
mod sysfs;
