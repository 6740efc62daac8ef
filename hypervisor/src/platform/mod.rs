//! What the hypervisor that embeds this crate provides.
//!
//! Seven small traits, implemented on one object. Three of them are `unsafe`: a wrong
//! implementation lets a device reach memory it must not, so each says what the implementer
//! promises, and what the service promises in return.
//!
//! **Locks.** `acquire` may take the embedder's P2M lock. So the service calls no method but
//! [`TableFrames::table`], [`TableFrames::publish`] and those of [`IommuHw`] while a lock of its
//! own is held or while it is inside a table; an embedder may take one and the same lock, not
//! even a reentrant one, in every other method. [`Iommu::p2m_changed`](crate::Iommu::p2m_changed)
//! is made to be called under the P2M lock: it calls no method of [`PageOwnership`] and of the safe
//! traits but [`Preempt::should_yield`]. No method may call the service.

mod frames;
mod hardware;
mod host;
mod ownership;
mod registers;
mod runs;
mod unit_memory;

pub use frames::{Pool, TABLE_ENTRIES, TableFrames};
pub use hardware::{
    AttachError, DeviceFacts, Invalidation, IommuHw, SourceId, TableRoot, TableShape, Tag,
    UnitError, UnitFacts, UnitFeatures, UnitId,
};
pub use host::{
    AccessPolicy, CopyFault, Devices, Domains, GuestMemory, Operation, PolicyDenied, Preempt,
};
pub use ownership::{
    Access, AcquireError, ForeignHandle, InitialRun, PageKind, PageOwnership, Run, Wanted,
    acquire_stretches,
};
pub use registers::{Host, Mmio, RegisterBlock};
pub use runs::{AlikeRuns, MAX_RUNS, Runs, RunsFull};
pub use unit_memory::UnitMemory;

/// Everything the embedder provides, as one bound.
pub trait Platform:
    GuestMemory + PageOwnership + TableFrames + IommuHw + Devices + Domains + Preempt + AccessPolicy
{
}

impl<T> Platform for T where
    T: GuestMemory
        + PageOwnership
        + TableFrames
        + IommuHw
        + Devices
        + Domains
        + Preempt
        + AccessPolicy
{
}
