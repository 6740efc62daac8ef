//! What a fuzzer feeds to the hypercall, and what must hold whatever it feeds.
//!
//! ```text
//!  bytes ──► Input ──► Operation, Operation, ... ──► machine and service ──► oracles
//! ```
//!
//! The bytes are read from front to back, so that a mutation changes one operation and leaves
//! the others alone. Everything is here and not in the fuzz target, so that `cargo test` runs
//! the seeds and a crash is reproduced without a fuzzer.
//!
//! The oracles, each a panic:
//!
//! * a status is 0 or a negative errno of the ABI (INV-55);
//! * a call ends after a bounded number of continuations (INV-54);
//! * an argument is read once per entry, and written back nowhere else; of a batch, only results
//!   of elements that are finished, and how far the next one is (INV-50);
//! * no byte changes that the subop does not write (INV-52);
//! * the machine saw no violation (INV-03, INV-07, INV-20 and others);
//! * what a call has mapped an attached device reaches, and none of it is reserved (INV-04,
//!   INV-30); what a call has unmapped it reaches no more (INV-03);
//! * an allocation that fails leaves nothing behind (INV-53), a context with a device in it is not
//!   freed (INV-45), the default one is not edited before it is
//!   taken over (INV-70);
//! * after teardown no reference, table frame or reservation is left (INV-21, INV-60), unless a
//!   unit has failed, whose pages stay held on purpose (INV-15).

mod batch;
mod copies;
mod entry;
#[cfg(all(feature = "vtd", feature = "amdvi"))]
mod firmware;
mod input;
mod manage;
mod printing;
mod script;
mod seeds;
mod seeds_ext;
mod world;

#[cfg(all(feature = "vtd", feature = "amdvi"))]
pub use firmware::firmware_table;
pub use input::{Batch, Call, Element, Input, Operation, Place};
pub use seeds::seeds;

/// Name of the environment variable that has every operation printed with what came of it.
pub const PRINT: &str = "PVIOMMU_FUZZ_PRINT";

/// Runs one input.
///
/// # Panics
/// If an oracle fails.
pub fn hypercall(data: &[u8]) {
    let print = std::env::var_os(PRINT).is_some();
    world::run(&Input::from_bytes(data), print);
}
