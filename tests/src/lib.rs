//! A machine in a process, to run the pviommu service on.
//!
//! ```text
//!   guest code ──► Guest (hypercalls) ──► pviommu-hypervisor
//!                                              │ platform traits
//!                          ┌───────────────────┴──────────────────┐
//!                          ▼                                      ▼
//!                machine: frame table, P2M,              iommu: units with their
//!                table frames, schedules                 own walker and caches
//!                          ▲                                      ▲
//!                          └────────────── DMA by bus address ────┘
//! ```
//!
//! * [`machine`]: guest memory scattered over machine frames, who owns each frame and how often
//!   it is referenced, page-table memory, and the platform traits on top of them.
//! * [`iommu`]: a model of IOMMU units that reads the raw page tables by a walker of its own,
//!   written from the specification, and keeps stale entries for as long as a unit may.
//! * [`hardware`]: units as their drivers see them, by registers and rings.
//! * [`trace`]: IOMMU traces of real kernels, and [`replay`]: one of them done again on the
//!   service, every mapping checked by DMA. [`show`] draws what is in the tables then, and
//!   [`sequence`] tells which ranges of bus addresses its kernel took.
//! * [`pci`]: PCI topologies of machines, and the groups that their kernels formed. [`groups`]
//!   shows those that the service forms.
//! * [`boot`]: the service on real drivers, in images that QEMU runs.
//! * [`fuzzing`]: bytes to operations, and what must hold whatever they are.
//! * [`cheap`]: a platform that costs next to nothing, and [`measure`]: what benches on it share.
//!
//! Machine and units check what they see, always: an access through a freed frame, or to a page
//! that no reference holds, is recorded as a [`Violation`](machine::Violation).
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a check of the testbed fails"
)]

pub mod boot;
pub mod cheap;
mod drawing;
pub mod fuzzing;
pub mod groups;
pub mod hardware;
pub mod iommu;
pub mod machine;
pub mod measure;
pub mod model;
pub mod pci;
pub mod replay;
pub mod sequence;
pub mod show;
mod source;
mod sync;
pub mod trace;
mod units;
pub mod vm;

/// The examples of the front page, which have to compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
