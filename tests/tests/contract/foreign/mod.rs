//! Pages of other domains (INV-25, INV-26), registers, and pages that leave while they are mapped
//! (INV-27).

mod access;
mod grants;
mod handles;
pub(crate) mod kit;
mod mmio;
mod owners;
mod preempted;
mod quota;
mod retarget;
mod retarget_large;
mod unreachable;
