//! The contract between a guest, its hypervisor and the service: who maintains which map and who may
//! change it, what is reserved, whose pages are mapped. On every kind of machine that `kinds` has.
//!
//! As those of `service`, every test ends with a teardown and a look at what is left.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod acts;
#[path = "../service/batch/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod batch_kit;
mod direct;
mod foreign;
mod four_cases;
#[path = "../kinds/mod.rs"]
mod kinds;
#[path = "../service/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod kit;
mod model;
mod query;
mod switch;

/// All of them.
const ON_EVERY_KIND: &str = "";
