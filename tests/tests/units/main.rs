//! Drivers of units, against registers that a model is behind.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

#[cfg(all(feature = "amdvi", target_arch = "x86_64"))]
mod amdvi;
