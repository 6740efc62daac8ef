//! Programs in C over the C interface, on the simulated machine of the testbed.
//!
//! ```text
//!  c/linux_v7.c ──► pviommu.h ──► pviommu-capi ──► the service
//!       │                              │ struct pviommu_platform
//!       │ struct bed                   ▼
//!       └──────────► bed.rs ◄──── callbacks.rs: C functions that ask the testbed's platform
//!                      │
//!                      ▼
//!              the testbed's machine: its units, its walker, its checks
//! ```
//!
//! [`on_machine`] starts a machine and calls a test with a guest on it; what the machine must never see, and
//! what is left at the end, is checked as everywhere in the testbed. [`embed_machine`] is the machine below the
//! example `embed.c`, which brings its own memory.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a check of the testbed fails"
)]

pub mod bed;
mod callbacks;
pub mod embed_machine;
pub mod layout;
pub mod suite;

pub use bed::on_machine;
