//! Traces as they are read: what is understood, and what a malformed one is answered with.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod bundled;
mod dma;
mod errors;
mod format;
#[path = "../replay/text/mod.rs"]
#[expect(dead_code, reason = "what only the tests of `replay` do")]
mod text;
