//! Which functions of a machine can be kept apart, and what of the bus is not theirs to use.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod against_fabric;
mod as_linux;
mod bring_up;
mod configuration_space;
mod kit;
mod mistakes;
mod msi_doorbells;
mod order;
mod reserved_regions;
