//! The hypercall ABI between a guest and its hypervisor's paravirtual IOMMU service.
//!
//! One hypercall, `iommu_op(subop, arg)`, number [`HYPERCALL_IOMMU_OP`]: a guest driver uses it to
//! put its own pages at the bus addresses it chooses. Both sides depend on this crate and on
//! nothing else of each other: it holds the structures that travel, the numbers, and the error
//! codes, and no behaviour.
//!
//! ```text
//!  guest                         memory of the guest                      hypervisor
//! ┌──────────────────┐  writes  ┌─────────────────────────┐  reads once ┌─────────────────────┐
//! │ driver           │ ───────► │ struct MapPages         │ ──────────► │ service             │
//! │                  │ ◄─────── │ ctx_no gfn dfn … mapped │ ◄────────── │                     │
//! │ iommu_op(6, arg) │   reads  └─────────────────────────┘   results   │ 0 or -errno         │
//! └──────────────────┘                                                  └─────────────────────┘
//! ```
//!
//! Subops 0 to 12 are the Xen PV-IOMMU ABI, bit for bit (PV-IOMMU RFC v7, `public/pv-iommu.h`); 13
//! is an extension of it that is deployed too; from 0x40 on they are this project's own, each
//! announced by a bit of [`CapabilityFlags`].
//!
//! | subop | number | argument | what it does |
//! |---|---|---|---|
//! | [`Subop::NOOP`] | 0 | ignored | nothing |
//! | [`Subop::QUERY_CAPABILITIES`] | 1 | [`Capabilities`] | what the service can do |
//! | [`Subop::INIT`] | 2 | [`Init`] | sets up contexts and table memory, once |
//! | [`Subop::ALLOC_CONTEXT`] | 3 | [`AllocContext`] | a new, empty context |
//! | [`Subop::FREE_CONTEXT`] | 4 | [`FreeContext`] | gives one back |
//! | [`Subop::REATTACH_DEVICE`] | 5 | [`ReattachDevice`] | moves a device to a context |
//! | [`Subop::MAP_PAGES`] | 6 | [`MapPages`] | maps a range |
//! | [`Subop::UNMAP_PAGES`] | 7 | [`UnmapPages`] | unmaps a range |
//! | [`Subop::REMOTE_CMD`] | 8 | [`RemoteCmd`] | one of these, for another domain |
//! | [`Subop::ALLOC_NESTED`] | 9 | [`AllocNested`] | no defined meaning yet |
//! | [`Subop::FLUSH_NESTED`] | 10 | none | no defined meaning yet |
//! | [`Subop::ATTACH_PASID`] | 11 | [`AttachPasid`] | no defined meaning yet |
//! | [`Subop::DETACH_PASID`] | 12 | [`DetachPasid`] | no defined meaning yet |
//! | [`Subop::FLUSH_PAGES`] | 13 | [`FlushPages`] | flushes what was mapped without a flush |
//! | [`Subop::BATCH`] | 0x40 | [`Batch`] | many operations, each with its own status |
//! | [`Subop::QUERY_RESERVED`] | 0x41 | [`QueryReserved`] | the BFNs that may not be mapped |
//! | [`Subop::TAKE_OWNERSHIP`] | 0x42 | [`TakeOwnership`] | the switch of context 0 to the guest |
//! | [`Subop::LOOKUP`] | 0x43 | [`Lookup`] | what a BFN maps to |
//! | [`Subop::QUERY_DEVICE`] | 0x44 | [`QueryDevice`] | how well a device is isolated |
//! | [`Subop::READ_FAULTS`] | 0x45 | [`ReadFaults`] | what devices were refused |
//! | [`Subop::QUERY_LIMITS`] | 0x46 | [`QueryLimits`] | aperture, page sizes, quotas |
//! | [`Subop::ALLOC_CONTEXT_EXT`] | 0x47 | [`AllocContextExt`] | a context with chosen properties |
//!
//! A call returns 0 or a negative [`Errno`]. Results are written into the argument.
//!
//! # Example
//!
//! The bytes of "let devices of context 1 read four pages":
//!
//! ```
//! use pviommu_abi::{Bfn, ContextId, Gfn, MapFlags, MapPages, PAGE_SIZE_U32};
//! use zerocopy::IntoBytes;
//!
//! let request = MapPages {
//!     ctx_no: ContextId(1),
//!     gfn: Gfn(0x1000),
//!     dfn: Bfn(0xfe000),
//!     map_flags: MapFlags::READABLE,
//!     pgsize: PAGE_SIZE_U32,
//!     nr_pages: 4,
//!     ..MapPages::default()
//! };
//! let bytes = request.as_bytes();
//! assert_eq!(bytes.len(), 40);
//! assert_eq!(bytes[0..2], [1, 0]);
//! assert_eq!(bytes[16..24], 0xfe000_u64.to_le_bytes());
//! ```
//!
//! # C
//!
//! `include/pviommu_abi.h` is printed from the same declarations (see [`layout`]) and compared with
//! them, field by field, as C and as C++.
//!
//! # Features
//!
//! * `arbitrary`: `arbitrary::Arbitrary` on every wire type, for fuzzers.

#![no_std]
#![forbid(unsafe_code)]
#![expect(
    missing_debug_implementations,
    reason = "every type has it; the private markers that `KnownLayout` derives next to them do not"
)]

#[cfg(not(target_endian = "little"))]
compile_error!("the ABI is little-endian, and its structures are used in place");

// The code that derives `Arbitrary` names the standard library.
#[cfg(feature = "arbitrary")]
extern crate std;

#[macro_use]
mod macros;

pub mod argument;
pub mod companion;
pub mod domain;
pub mod errno;
pub mod ext;
pub mod flags;
pub mod frame;
pub mod layout;
pub mod number;
pub mod v7;

pub use argument::{Argument, ArgumentInfo};
pub use domain::{ContextId, DomId, GuestPtr, PciDevice};
pub use errno::Errno;
pub use ext::{
    AccessFlags, AllocContextExt, AllocContextExtFlags, Background, Batch, BatchElement,
    BatchFlags, BatchOp, DeviceFlags, DeviceHandle, DeviceKind, ElementFlags, FaultReason,
    FaultRecord, LimitFlags, Lookup, LookupFlags, LookupResult, Origin, OwnershipMode, QueryDevice,
    QueryDeviceFlags, QueryLimits, QueryLimitsFlags, QueryReserved, QueryReservedFlags, ReadFaults,
    ReadFaultsFlags, ReservedKind, ReservedRange, TakeOwnership, TakeOwnershipFlags,
};
pub use flags::{AllocFlags, CapabilityFlags, FreeFlags, MapFlags};
pub use frame::{Bfn, Gfn, PAGE_SHIFT, PAGE_SIZE, PAGE_SIZE_U32};
pub use number::{
    HYPERCALL_GRANT_TABLE_OP, HYPERCALL_IOMMU_OP, HYPERCALL_MEMORY_OP, Subop,
    XENMEM_RESERVED_DEVICE_MEMORY_MAP,
};
pub use v7::{
    AllocContext, AllocNested, AttachPasid, Capabilities, DetachPasid, FlushPages, FreeContext,
    Init, MapPages, ReattachDevice, RemoteCmd, UnmapPages,
};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
