//! Traces, bundled and made up, replayed on the whole stack.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod bundled;
mod dma;
mod every_way;
mod lazy;
mod synthetic;
mod text;
