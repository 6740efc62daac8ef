//! The driver of AMD-Vi.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod as_simulated;
mod bring_up;
mod busy;
mod events;
mod facts;
mod forgetting;
mod interrupts;
mod kit;
mod log;
mod refused;
mod sleep;
mod stop;
mod take_over;
mod waits;
