//! The guest driver against a hypervisor that answers anything, for a fuzzer.
//!
//! ```text
//!  Driver ──► DmaSpace, IommuClient, ... ──► Liar ──► Honest
//!     └── what came back, what is where ──► Witness ◄──┘ what was asked, what was answered
//! ```
//!
//! An input is a row of operations of a driver, each with lies: answers in which something is changed, from a status to
//! a word of a list, or whose call was done in part, or not at all. What the driver may believe is worked out a second time
//! by the rules of the ABI, from the calls and the answers alone (`witness`).
//!
//! The oracles, each a panic:
//!
//! * no panic, no overflow (INV-51); an operation makes a bounded number of calls (INV-54);
//! * what is asked for is such that a transport can pass it on;
//! * a bus frame is asked for only if it leads nowhere, as far as was told, and no flush of it is owed (INV-03);
//! * a buffer comes back, or is dropped, only if no device reaches a page of it, as far as was told: what may be reached is
//!   forgotten, and counted as lost (INV-20); but for those taken back with `accept_exposure`;
//! * what is mapped is at bus frames of which was told that they lead to its pages, in order, with the access that was asked
//!   for, and within the mask of the device;
//! * a status that is not 0 is an error, one that is no errno a bad reply, and what is told after success is possible;
//! * a map that fails takes no bus frames; in the end all are free but those that are reserved or lost, and these are all
//!   that may still lead somewhere.

mod calls;
mod driver;
mod honest;
mod input;
mod liar;
mod memory;
mod printing;
mod run;
mod seeds;
mod special;
mod witness;

pub use input::{Input, Lie, Operation};
pub use seeds::seeds;

/// Where the buffer of a call is, for the hypervisor.
const ADDRESS: u64 = 0x7000_0000;

/// The context, and the first of the bus frames, of calls past the DMA API.
const CLIENTS: u32 = 0x77;
const FAR: u64 = 1 << 40;

/// Runs the input that `data` stands for; tells of every operation if `prints`.
pub(super) fn run(data: &[u8], prints: bool) {
    run::run(&Input::from_bytes(data), prints);
}
