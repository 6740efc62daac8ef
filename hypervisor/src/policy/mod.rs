//! What is allowed: facts and a request in, a plan or a refusal out.
//!
//! Nothing here touches memory, hardware or a lock, so that every rule can be read and tested by
//! itself. What is checked page by page (who owns a page, whether a bus frame is mapped already)
//! is not here: those are atomic with the entry.

mod context;
mod device;
mod group;
mod mapping;
mod request;

pub(crate) use context::{may_be_freed, may_init};
pub(crate) use device::{may_be_given, may_be_moved, may_have_direct, may_take_tag, may_walk};
pub(crate) use group::{Member, Part, Taker, part_of};
pub(crate) use mapping::{
    Area, GrantPlan, ListPlan, MapPlan, UnmapPlan, may_flush, may_look, may_map, may_map_list,
    may_unmap,
};
pub(crate) use request::{MapHow, MapRequest, Pages, UnmapHow, UnmapRequest};
