//! Several CPUs in the service at a time, on the simulated machine, under shuttle: which thread goes on is chosen
//! before each access to an atomic or a lock of the service, before each entry that a unit's walk reads, and before
//! each call of the platform.
//!
//! `./ci.sh shuttle` runs a few hundred schedules of each scenario; CONTRIBUTING.md says how to run many, and how
//! to run one that failed again.

#![cfg(shuttle)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod attach;
#[path = "../service/batch/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod batch_kit;
mod deferred;
mod domains;
mod explore;
#[path = "../contract/foreign/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `contract` do")]
mod foreign_kit;
mod grants;
mod kinds;
#[path = "../service/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod kit;
mod leaving;
mod ownership;
mod same_pages;
mod tables;
