//! The simulated machine: what it does as hardware does it, and each of its checks, provoked.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod buffers;
mod caches;
mod default;
mod harsh;
#[path = "../kinds/mod.rs"]
#[expect(dead_code, reason = "what only the tests of the service ask")]
mod kinds;
mod memory;
mod oracles;
mod p2m;
mod platform;
mod rules;
mod scratch;
mod service;
mod shares;
mod unlike;
mod walker;

use pviommu_testbed::{
    iommu::handmade::HandMade,
    machine::{self, Bed, Config, memory::Memory},
};

/// Runs `body` on the machine of `config`, with units of this process's make.
pub(crate) fn run<R>(config: &Config, body: impl FnOnce(&Bed<'_>) -> R) -> R {
    machine::run(&config.clone().on(kinds::unit()), body)
}

/// An empty table for those units.
pub(crate) fn hand_made(memory: &Memory, levels: u8) -> HandMade<'_> {
    HandMade::of(kinds::unit().format(), memory, levels)
}

/// All of them.
const ON_EVERY_KIND: &str = "";
