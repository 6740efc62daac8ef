//! PCI topologies: how captures of machines are read, and how their groups are shown.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod convert;
mod data;
mod json;
mod lspci_bytes;
mod lspci_words;
mod pictures;
mod robust;
mod sysfs;
