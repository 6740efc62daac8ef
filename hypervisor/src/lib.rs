//! The hypervisor's side of a paravirtual IOMMU.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test fails by a panic"))]

pub mod addr;
mod context;
pub mod domain;
pub mod flush;
pub mod format;
mod hypercall;
pub mod machine;
#[cfg(all(test, loom))]
mod model;
pub mod platform;
mod policy;
pub mod sync;
pub mod table;

pub use context::Context;
pub use domain::{DomainIommu, DomainStats, Limits, Role, UnknownFlags};
pub use hypercall::{Caller, Outcome, Width};
pub use machine::{Cpu, Device, Iommu, Machine, Reserved, ReservedKind, SetupError, Unit};
pub use pviommu_abi as abi;
