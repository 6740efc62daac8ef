//! The driver of VT-d.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod bring_up;
mod busy;
mod facts;
mod faults;
mod forgetting;
mod interrupts;
mod kit;
mod no_answer;
mod refused;
mod several;
mod sleep;
mod stop;
mod take_over;
mod waits;
