//! The service on the simulated machine, at the level of its hypercalls, with a scratch page behind
//! every bus frame that nobody mapped. `service_fault` runs the same tests without.
//!
//! Every test ends with a teardown and a look at what is left: no reference, no table frame, no
//! access through anything that was given back.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use pviommu_hypervisor::Background;

const BACKGROUND: Background = Background::Scratch;

mod batch;
mod batch_continued;
mod batch_elements;
mod batch_failures;
mod batch_header;
mod batch_hostile;
mod batch_kit;
mod batch_list;
mod batch_operations;
mod busy;
mod deferred;
mod devices;
mod failures;
mod flush_order;
mod kit;
mod model;
mod model_state;
mod ownership;
mod preemption;
mod query;
mod query_alloc;
mod query_rules;
mod remote;
mod scratch;
mod sharing;
mod superpages;
mod tables;
mod v7;
