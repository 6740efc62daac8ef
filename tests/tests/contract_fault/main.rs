//! The tests of `contract`, with a fault behind every bus frame that nobody mapped.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use pviommu_hypervisor::Background;

const BACKGROUND: Background = Background::Fault;

#[path = "../contract/acts.rs"]
mod acts;
#[path = "../service/batch/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod batch_kit;
#[path = "../contract/direct/mod.rs"]
mod direct;
#[path = "../contract/foreign/mod.rs"]
mod foreign;
#[path = "../contract/four_cases/mod.rs"]
mod four_cases;
#[path = "../service/kit.rs"]
#[expect(dead_code, reason = "what only the tests of `service` do")]
mod kit;
#[path = "../contract/model/mod.rs"]
mod model;
#[path = "../contract/query/mod.rs"]
mod query;
#[path = "../contract/switch/mod.rs"]
mod switch;
