//! The tests of `service`, with a fault behind every bus frame that nobody mapped.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use pviommu_hypervisor::Background;

const BACKGROUND: Background = Background::Fault;

#[path = "../service/batch/mod.rs"]
mod batch;
#[path = "../service/busy.rs"]
mod busy;
#[path = "../service/deferred.rs"]
mod deferred;
#[path = "../service/devices.rs"]
mod devices;
#[path = "../service/failures.rs"]
mod failures;
#[path = "../service/flush_order.rs"]
mod flush_order;
#[path = "../service/kit.rs"]
mod kit;
#[path = "../service/model/mod.rs"]
mod model;
#[path = "../service/ownership.rs"]
mod ownership;
#[path = "../service/preemption.rs"]
mod preemption;
#[path = "../service/query/mod.rs"]
mod query;
#[path = "../service/remote.rs"]
mod remote;
#[path = "../service/scratch.rs"]
mod scratch;
#[path = "../service/sharing.rs"]
mod sharing;
#[path = "../service/superpages.rs"]
mod superpages;
#[path = "../service/tables.rs"]
mod tables;
#[path = "../service/v7.rs"]
mod v7;
