//! What `pviommu show` finds in tables, and how it is told and drawn.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod picture;
mod survey;
mod svg;
#[path = "../replay/text/mod.rs"]
#[expect(dead_code, reason = "what only the tests of `replay` do")]
mod text;
