//! The simulated machine: what it does as hardware does it, and each of its checks, provoked.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod buffers;
mod caches;
mod default;
mod harsh;
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
