//! Which functions of a machine can be kept apart, and what of the bus is not theirs to use.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod configuration_space;
