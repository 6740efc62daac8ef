//! The tests of `service`, with a fault behind every bus frame that nobody mapped.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use pviommu_hypervisor::Background;

const BACKGROUND: Background = Background::Fault;

#[path = "../service/batch.rs"]
mod batch;
#[path = "../service/batch_continued.rs"]
mod batch_continued;
#[path = "../service/batch_elements.rs"]
mod batch_elements;
#[path = "../service/batch_failures.rs"]
mod batch_failures;
#[path = "../service/batch_header.rs"]
mod batch_header;
#[path = "../service/batch_hostile.rs"]
mod batch_hostile;
#[path = "../service/batch_kit.rs"]
mod batch_kit;
#[path = "../service/batch_list.rs"]
mod batch_list;
#[path = "../service/batch_operations.rs"]
mod batch_operations;
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
#[path = "../service/model.rs"]
mod model;
#[path = "../service/model_state.rs"]
mod model_state;
#[path = "../service/ownership.rs"]
mod ownership;
#[path = "../service/preemption.rs"]
mod preemption;
#[path = "../service/query.rs"]
mod query;
#[path = "../service/query_alloc.rs"]
mod query_alloc;
#[path = "../service/query_rules.rs"]
mod query_rules;
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
