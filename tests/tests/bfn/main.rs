//! The guest driver's allocator of bus frames on what kernels took and gave back: what is in use stays together, and what
//! is free does not fall to pieces.
//!
//! Seen from outside: how far down the ranges reach that are handed out, and how many free ranges must lie between
//! them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

#[path = "../replay/text/mod.rs"]
#[expect(dead_code, reason = "what only the tests of `replay` do")]
mod text;

mod kit;
mod long;
mod traces;
