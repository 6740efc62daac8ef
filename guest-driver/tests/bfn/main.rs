//! The allocator of bus frames, from outside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod edges;
mod masks;
mod model;
mod storage;
mod threads;
