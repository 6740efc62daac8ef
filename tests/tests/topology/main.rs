//! Which functions of a machine can be kept apart, and what of the bus is not theirs to use; and what guests
//! get of such machines (`mails`), on every kind that `kinds` has.

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
mod devices;
#[cfg(all(feature = "vtd", feature = "amdvi"))]
mod firmware_tables;
#[path = "../service/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod guest;
#[path = "../kinds/mod.rs"]
mod kinds;
mod kit;
#[path = "../service/listener.rs"]
mod listener;
mod mails;
mod mistakes;
mod msi_doorbells;
mod order;
mod overrides;
mod reserved_regions;

/// Tests that have to do with units: what guests get of machines.
const ON_EVERY_KIND: &str = "mails::";
