//! Guest memory that changes while the service reads it, for a fuzzer.
//!
//! A guest's other CPUs, and devices by DMA, write what a call reads: its argument, the elements of a batch, lists.
//! An input says what is written to which field after which copy of a call, so between any two reads, and between a
//! call and its continuations. `layout` says what a call is, `changes` what is written.
//!
//! ```text
//!  copies of one entry ──► Log ──► Effects ──► Ledger ◄──► references, tables, DMA
//! ```
//!
//! The oracles, each a panic:
//!
//! * each copy is one that asks for it what was read before in this entry: so each byte of a structure is read once,
//!   and a continuation reads no more than the rest of what it reads then (INV-50);
//! * what is written is a result, or what was read (INV-52), of elements in order, and its sums are right;
//! * the service did what the values say that it read, for as many pages as it told, and nothing else: to the page in
//!   the tables, to the reference in each frame (INV-20, INV-21), and where attached devices land (INV-03, INV-04);
//! * none of it is reserved (INV-30), of a page that is not the caller's to map, mapped twice, or in a context that is
//!   not the guest's (INV-70);
//! * a status is 0 or an errno of the ABI (INV-55), a call ends (INV-54), the machine saw no violation, and teardown
//!   leaves nothing (INV-60).
//!
//! Units do not fail here, and pages do not leave: `hypercall` has that.

mod array;
mod changes;
mod compare;
mod effect;
mod input;
mod layout;
mod ledger;
mod lists;
mod log;
mod printing;
mod run;
mod seeds;

pub use input::{Call, Change, Input, Operation};
pub use seeds::seeds;

/// Runs the input that `data` stands for; tells of every operation if `prints`.
pub(super) fn run(data: &[u8], prints: bool) {
    run::run(&Input::from_bytes(data), prints);
}
