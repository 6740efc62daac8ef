//! Batches against a hypervisor that runs them, and against ones that lie.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod anything;
mod fake;
mod order;
mod replies;
