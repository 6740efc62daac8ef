//! Drivers of `virtio-drivers` over the DMA API, against a machine that keeps the mappings and a disk
//! that reads and writes memory through them only.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod access_platform;
mod disk;
#[path = "../fake/mod.rs"]
#[expect(dead_code, reason = "what only the tests of `dma` ask")]
mod fake;
mod hal;
mod platform;
