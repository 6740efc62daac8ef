//! The service on the simulated machine, at the level of its hypercalls, on every kind of machine that
//! `kinds` has.
//!
//! Every test ends with a teardown and a look at what is left: no reference, no table frame, no
//! access through anything that was given back.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod announced;
mod batch;
mod busy;
mod deferred;
mod device_memory;
mod devices;
mod dying;
mod errors;
mod failures;
mod faults;
mod flush_order;
mod groups;
mod holes;
mod hook;
#[path = "../kinds/mod.rs"]
mod kinds;
mod kit;
mod limits;
#[cfg(feature = "log")]
mod listener;
mod model;
mod neighbours;
mod ownership;
mod preemption;
mod query;
mod remote;
mod scratch;
mod shapes;
mod sharing;
mod superpages;
mod tables;
mod teardown;
mod together;
mod v7;
mod worst;

/// All of them.
const ON_EVERY_KIND: &str = "";
