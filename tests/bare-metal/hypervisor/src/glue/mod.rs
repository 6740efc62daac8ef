//! Everything that an embedder writes for the service, in the order in which to read it.
//!
//! | file | obligation |
//! |---|---|
//! | this one | one object that all traits are implemented on |
//! | `memory` | [`GuestMemory`](pviommu_hypervisor::platform::GuestMemory): arguments of hypercalls |
//! | `ownership` | [`PageOwnership`](pviommu_hypervisor::platform::PageOwnership): which pages a device may be let at, and for how long |
//! | `tables` | [`TableFrames`](pviommu_hypervisor::platform::TableFrames): memory for page tables, which no device is let at |
//! | `hardware` | [`IommuHw`](pviommu_hypervisor::platform::IommuHw): the units, by the service's own drivers |
//! | `names` | the four small traits: who is meant, when a call gives way, what is allowed |
//! | `firmware` | what DMAR or IVRS say |
//! | `units` | each unit is lent memory and brought up; nothing passes it |
//! | `devices` | functions, groups and ids become the list of devices |
//! | `start` | all of it together: the service runs |
//! | `calls` | hypercalls, domains, devices that change hands, pages that leave, faults |

mod calls;
mod devices;
mod firmware;
mod hardware;
mod memory;
mod names;
mod ownership;
mod start;
mod tables;
mod units;

pub use calls::Registers;
pub use start::{Hypervisor, Setup, start};

use core::sync::atomic::AtomicBool;

use pviommu_hypervisor::{topology::DirectRange, unit::driver::Drivers};
use spin::Once;

use crate::{
    domains::{Domain, FrameTable},
    machine::frames::FREE,
};

/// Most domains until the machine is switched off.
pub const MAX_DOMAINS: usize = 16;

/// What the service runs on.
pub struct Platform {
    /// Who owns each frame.
    pub frames: FrameTable,
    /// Memory for page tables.
    pub tables: tables::TablePool,
    /// The units.
    pub drivers: Drivers<'static>,
    /// The domains, by their number. A record stays for ever. Outside of what is moved while the
    /// service starts: together they would fill a stack.
    pub domains: &'static [Once<Domain>],
    /// Memory that firmware uses for devices.
    pub direct: &'static [DirectRange],
    /// While it is true each long call gives way as soon as it may.
    pub impatient: AtomicBool,
}

/// What `items` tells, in memory that is never given back. It is asked twice, and each item taken once.
fn list<T, I: Iterator<Item = T>>(items: impl Fn() -> I) -> &'static [T] {
    let mut next = items();
    FREE.place(items().count(), |_| next.next().expect("so many there are"))
}
