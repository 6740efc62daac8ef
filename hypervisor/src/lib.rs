//! The hypervisor's side of a paravirtual IOMMU: a service to link in.
//!
//! ```text
//!  guest                      your hypervisor                           machine
//! ┌──────────┐  iommu_op   ┌───────────────────────────────┐  MMIO   ┌────────────┐
//! │ driver   │ ──────────► │ hypercall glue                │         │ IOMMU unit │
//! │          │             │   ▼                           │ ──────► │ walks the  │
//! │          │ ◄────────── │ Iommu::iommu_op (this crate)  │         │ tables     │
//! └──────────┘   status    │   ▼                           │         └─────▲──────┘
//!                          │ your platform traits          │               │ DMA
//!                          └───────────────────────────────┘         ┌─────┴──────┐
//!                                                                    │ device     │
//!                                                                    └────────────┘
//! ```
//!
//! A guest with a passed-through device asks to map a bus frame (BFN) to one of its pages. The
//! service checks the request as hostile, takes a reference on the page, puts the translation
//! into a table in the unit's own format, and gives the reference back only after the flush that
//! follows the unmap.
//!
//! No standard library, no allocator, no global state: everything lives in memory you lend
//! ([`Machine`], [`Context`]s, [`Cpu`]s), and everything it needs of you is in the traits of
//! [`platform`]. It does not panic, whatever a guest does.
//!
//! # Embedding it
//!
//! `cargo run --example embed` runs a whole one, with a machine below it: `examples/embed/platform.rs` is to copy
//! from. For hypervisors in C there are `hypervisor/capi/include/pviommu.h` and the same example.
//!
//! Implement the traits, lend the memory, and call [`Iommu::iommu_op`] from your hypercall table:
//!
//! ```
//! use core::sync::atomic::{AtomicU64, Ordering};
//! use pviommu_hypervisor::{
//!     Caller, Context, Cpu, Device, DeviceFacts, DomainIommu, FaultRule, Iommu, Limits, Machine,
//!     Outcome, Role, SourceEntry, Unit, Width,
//!     abi::{DomId, GuestPtr, PciDevice, Subop},
//!     addr::{BfnRange, Mfn, MfnRange},
//!     format::FormatKind,
//!     platform::*,
//! };
//!
//! struct Hypervisor {
//!     tables: Vec<[AtomicU64; TABLE_ENTRIES]>, // page-table memory, frame n at index n
//!     used: AtomicU64,
//! }
//!
//! impl GuestMemory for Hypervisor {
//!     fn copy_in(&self, _: DomId, _: GuestPtr, to: &mut [u8]) -> Result<(), CopyFault> {
//!         to.fill(0); // here: the guest's bytes at that address
//!         Ok(())
//!     }
//!     fn copy_out(&self, _: DomId, _: GuestPtr, _: &[u8]) -> Result<(), CopyFault> {
//!         Ok(())
//!     }
//! }
//! // SAFETY: guest frames are the machine's frames from 0x1000 on, and nobody else's.
//! unsafe impl PageOwnership for Hypervisor {
//!     fn acquire(
//!         &self, _: DomId, wanted: Wanted, access: Access, out: &mut Runs,
//!     ) -> Result<(), AcquireError> {
//!         let Wanted::Guest { gfns, .. } = wanted else { return Err(AcquireError::NotPermitted) };
//!         let first = Mfn(gfns.first().0.checked_add(0x1000).ok_or(AcquireError::NotBacked)?);
//!         let frames = MfnRange::of_pages(first, gfns.pages()).ok_or(AcquireError::NotBacked)?;
//!         let _ = out.push(Run { frames, kind: PageKind::Ram, access }); // and take a reference
//!         Ok(())
//!     }
//!     fn release(&self, _: DomId, _: &Run) {}
//! }
//! // SAFETY: each table is handed out once and never written by anybody else.
//! unsafe impl TableFrames for Hypervisor {
//!     fn alloc(&self, _: DomId, _: Pool) -> Option<Mfn> {
//!         let next = self.used.fetch_add(1, Ordering::Relaxed);
//!         ((next as usize) < self.tables.len()).then_some(Mfn(next))
//!     }
//!     fn free(&self, _: DomId, _: Mfn, _: Pool) {}
//!     fn reserve(&self, _: DomId, _: u32) -> bool { false } // so: 4 KiB leaves only
//!     fn unreserve(&self, _: DomId, _: u32) {}
//!     fn table(&self, frame: Mfn) -> &[AtomicU64] {
//!         self.tables.get(frame.0 as usize).map_or(&[], |table| table)
//!     }
//!     fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
//!         Some(frames.first()).filter(|first| (first.0 as usize) < self.tables.len())
//!     }
//! }
//! // SAFETY: there is no unit, so there is no DMA.
//! unsafe impl IommuHw for Hypervisor {
//!     fn attach(
//!         &self, _: UnitId, _: SourceId, _: TableRoot, _: Tag,
//!     ) -> Result<(), AttachError> { Ok(()) }
//!     fn block(&self, _: UnitId, _: SourceId) -> Result<(), UnitError> { Ok(()) }
//!     fn invalidate(&self, _: UnitId, _: Tag, _: Invalidation) -> Result<(), UnitError> { Ok(()) }
//!     fn sync_map(&self, _: UnitId, _: Tag, _: BfnRange) -> Result<(), UnitError> { Ok(()) }
//!     fn stop(&self, _: UnitId, _: SourceId) {}
//!     fn restart(&self, _: UnitId, _: SourceId) {}
//! }
//! impl Devices for Hypervisor {
//!     fn resolve(&self, _: DomId, name: PciDevice) -> Option<PciDevice> { Some(name) }
//! }
//! impl Domains for Hypervisor {
//!     fn with_domain(&self, _: DomId, _: &mut dyn FnMut(&DomainIommu<'_>)) -> bool { false }
//! }
//! impl Preempt for Hypervisor {}
//! impl AccessPolicy for Hypervisor {}
//!
//! let facts = UnitFacts {
//!     format: FormatKind::VtdSecondStage,
//!     features: UnitFeatures::COHERENT | UnitFeatures::LEVELS_4,
//!     bus_address_bits: 48, host_address_bits: 46, tags: 64,
//! };
//! let tags = [AtomicU64::new(0)];
//! let units = [Unit::new(facts, &tags)];
//! let device = Device::new(PciDevice::new(0, 0, 3, 0), UnitId(0), &[]);
//! // What you know of the machine; without it an ordinary guest is not given the device.
//! let devices = [device.with_facts(DeviceFacts::INTERRUPTS_ISOLATED)];
//! let mut room = [SourceEntry::default(); 1];
//! let sources = Machine::index_sources(&devices, &mut room).expect("each id is one device's");
//! let cpus = [Cpu::new()];
//! let machine = Machine {
//!     units: &units, tables: None, devices: &devices, sources, quarantine: None, cpus: &cpus,
//!     reserved: &[], unreachable: &[], faults: FaultRule::default(),
//! };
//! let zeroed = || core::array::from_fn(|_| AtomicU64::new(0));
//! let tables = (0..64).map(|_| zeroed()).collect();
//! let hypervisor = Hypervisor { tables, used: AtomicU64::new(0) };
//! let iommu = Iommu::new(hypervisor, machine).expect("the lists fit together");
//!
//! let contexts: Vec<Context> = (0..=8).map(|_| Context::new()).collect();
//! let domain = DomainIommu::new(DomId(1), Role::Guest, &contexts, Limits::default());
//! iommu.assign(&domain, 0, PciDevice::new(0, 0, 3, 0)).expect("nobody has it");
//!
//! // In the handler of hypercall 43, with what the guest left in its registers:
//! let caller = Caller { cpu: 0, width: Width::Bits64 };
//! match iommu.iommu_op(&domain, caller, u64::from(Subop::NOOP.0), 0) {
//!     Outcome::Done(status) => assert_eq!(status, 0), // into rax
//!     Outcome::Continue => {}                         // let the guest execute it again
//! }
//! ```
//!
//! # Features
//!
//! All are on by default.
//!
//! | feature | what is built in |
//! |---|---|
//! | `vtd` | tables of VT-d units, and firmware's table of them |
//! | `amdvi` | tables of AMD-Vi units, their driver, and firmware's table of them |
//! | `log` | what goes wrong with a unit is told to the `log` crate |
//!
//! At least one of the first two is needed. [`Iommu::new`] refuses a machine whose tables are of a
//! format that is not built in.
//!
//! # Where to look
//!
//! | question | module |
//! |---|---|
//! | what happens in a hypercall, in order? | `hypercall` (private; one page) |
//! | what must I provide? | [`platform`] |
//! | what outlives a domain, and how do devices move? | [`machine`] |
//! | which devices may different domains have? | [`topology`] |
//! | what can I see of it at a debug key, and why did this DMA fault? | [`operator`](mod@operator) |
//! | what is kept for a domain, and what may it use? | [`domain`] |
//! | how do several CPUs work in one table? | [`table`] |
//! | what does an entry mean to hardware? | [`format`](mod@format) |
//! | what is a unit told? | [`unit`](mod@unit) |
//! | which units are there, and who is behind which? | [`unit::acpi`] |
//! | when is something given back? | [`flush`] |
//!
//! # Invariants
//!
//! 1. What a device or a cache can reach by a guest's mapping holds a reference, until the flush that
//!    ends that.
//! 2. Every live entry changes by one aligned store.
//! 3. A guest's bytes are read once, and nothing in them reaches a panic, an overflow or an
//!    unbounded loop.
//! 4. A flush that did not complete is an error, and what it covered is never reused.
//! 5. A reserved bus frame is never a guest's to edit.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test fails by a panic"))]

#[cfg(not(any(feature = "vtd", feature = "amdvi")))]
compile_error!("pviommu-hypervisor needs a table format: the feature `vtd`, or `amdvi`, or both");

pub mod addr;
mod context;
pub mod domain;
pub mod flush;
pub mod format;
mod hypercall;
pub mod machine;
#[cfg(all(test, loom))]
mod model;
pub mod operator;
pub mod platform;
mod policy;
mod report;
mod reserved;
mod sort;
pub mod sync;
pub mod table;
pub mod topology;
pub mod unit;

pub use context::Context;
pub use domain::{
    Background, Backing, DefaultMap, DomainIommu, DomainStats, GroupRule, Limits, OptIns,
    P2mChange, Role, UnknownFlags,
};
pub use hypercall::{Caller, Width};
pub use machine::{
    ChangeError, Cpu, Device, Fate, Fault, FaultRule, Iommu, Machine, NewGroup, Outcome,
    ReassignError, Regroup, RegroupError, Reported, Risks, Scope, SetupError, SourceEntry, Sweep,
    Unit,
};
pub use operator::{DumpLine, Explanation};
pub use platform::DeviceFacts;
pub use pviommu_abi as abi;
pub use reserved::{Reserved, ReservedKind};
