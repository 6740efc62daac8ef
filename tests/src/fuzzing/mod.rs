//! What a fuzzer feeds to the hypercall, and what must hold whatever it feeds. What it feeds to the formats of
//! tables is in [`format`](mod@format), to the topology in [`topology`](mod@topology), and to the service and a model of
//! it in [`ops`](mod@ops). Memory that changes during a call is in [`toctou`](mod@toctou), and what a hypervisor may answer
//! to the guest driver in [`guest`](mod@guest).
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
pub mod format;
pub mod guest;
mod input;
mod manage;
pub mod ops;
mod printing;
mod script;
mod seeds;
mod seeds_ext;
pub mod toctou;
pub mod topology;
mod world;

#[cfg(all(feature = "vtd", feature = "amdvi"))]
pub use firmware::firmware_table;
pub use input::{Batch, Call, Element, Input, Operation, Place};
pub use seeds::seeds;

/// Name of the environment variable that has every operation printed with what came of it.
pub const PRINT: &str = "PVIOMMU_FUZZ_PRINT";

/// A fuzz target.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Runs one input, and panics if an oracle fails.
    pub run: fn(&[u8]),
    /// The seeds that are made from code, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// How many beginnings of each seed `cargo test` runs.
    pub cuts: usize,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "hypercall", run: hypercall, seeds: hypercall_seeds, cuts: 40 },
    Target { name: "format", run: format, seeds: format_seeds, cuts: 40 },
    Target { name: "ops", run: ops, seeds: ops::seeds, cuts: 4 },
    Target { name: "topology", run: topology, seeds: topology_seeds, cuts: 40 },
    Target { name: "toctou", run: toctou, seeds: toctou_seeds, cuts: 40 },
    Target { name: "guest", run: guest, seeds: guest_seeds, cuts: 40 },
];

/// Runs one input of `hypercall`.
///
/// # Panics
/// If an oracle fails.
pub fn hypercall(data: &[u8]) {
    world::run(&Input::from_bytes(data), prints());
}

/// Runs one input of `format`.
///
/// # Panics
/// If an oracle fails.
pub fn format(data: &[u8]) {
    format::run(data, prints());
}

/// Runs one input of `ops`.
///
/// # Panics
/// If an oracle fails.
pub fn ops(data: &[u8]) {
    ops::run(data, prints());
}

/// Runs one input of `topology`.
///
/// # Panics
/// If an oracle fails.
pub fn topology(data: &[u8]) {
    topology::run(data, prints());
}

/// Runs one input of `toctou`.
///
/// # Panics
/// If an oracle fails.
pub fn toctou(data: &[u8]) {
    toctou::run(data, prints());
}

/// Runs one input of `guest`.
///
/// # Panics
/// If an oracle fails.
pub fn guest(data: &[u8]) {
    guest::run(data, prints());
}

fn prints() -> bool {
    std::env::var_os(PRINT).is_some()
}

fn hypercall_seeds() -> Vec<(String, Vec<u8>)> {
    seeds().into_iter().map(|(name, input)| (name.into(), input.to_bytes())).collect()
}

fn format_seeds() -> Vec<(String, Vec<u8>)> {
    let bytes = |samples: Vec<format::Sample>| {
        samples.into_iter().flat_map(format::Sample::to_bytes).collect()
    };
    format::seeds().into_iter().map(|(name, samples)| (name.into(), bytes(samples))).collect()
}

fn topology_seeds() -> Vec<(String, Vec<u8>)> {
    topology::seeds().into_iter().map(|(name, input)| (name, input.to_bytes())).collect()
}

fn toctou_seeds() -> Vec<(String, Vec<u8>)> {
    toctou::seeds().into_iter().map(|(name, input)| (name.into(), input.to_bytes())).collect()
}

fn guest_seeds() -> Vec<(String, Vec<u8>)> {
    guest::seeds().into_iter().map(|(name, input)| (name, input.to_bytes())).collect()
}
