//! Sequences of everything that can happen, against the reference model of [`model`](mod@crate::model).
//!
//! ```text
//!  bytes ──► Machine, Event, Event, ... ──► the service and the model ──► the same answers, the same DMA
//! ```
//!
//! The bytes are read from front to back: those of a machine, then those of one step after the other. Whatever they
//! are they stand for something: a byte mostly chooses among a dozen values of which each means something.

mod holdings;
mod script;
mod seeds;
mod traces;

use crate::model::{self, Sequence};
pub use seeds::seeds;

/// Most steps of an input; what is behind them is not read.
pub const STEPS: usize = 64;

/// Runs `data`, and prints each step before it happens.
pub(super) fn run(data: &[u8], print: bool) {
    let sequence = Sequence::from_bytes(data, STEPS);
    if !sequence.machine.is_built() {
        return;
    }
    if print {
        println!("{}", sequence.machine);
    }
    model::run_chaos(&sequence.machine, &sequence.events, &|event| {
        if print {
            println!("{event}");
        }
    });
}
