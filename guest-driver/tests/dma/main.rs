//! The DMA API against a hypervisor that keeps the mappings, and goes wrong where it is told to.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod deferred;
mod failures;
#[expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
#[path = "../fake/mod.rs"]
mod fake;
mod kit;
mod pool;
mod random;
mod reuse;
mod strict;
