//! The contract between a guest, its hypervisor and the service: who maintains which map and who may
//! change it, what is reserved, whose pages are mapped. With a scratch page behind every bus frame that
//! nobody mapped; `contract_fault` runs the same tests without.
//!
//! As those of `service`, every test ends with a teardown and a look at what is left.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use pviommu_hypervisor::Background;

const BACKGROUND: Background = Background::Scratch;

mod acts;
#[path = "../service/batch/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod batch_kit;
mod direct;
mod foreign;
mod four_cases;
#[path = "../service/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod kit;
mod model;
mod query;
mod switch;
