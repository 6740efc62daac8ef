//! The guest side of a paravirtual IOMMU.
//!
//! A driver that wants a device to read or write memory chooses bus frames (BFNs) for the pages,
//! asks the hypervisor to map them, programs the device with the bus addresses, and unmaps them
//! when the device is done:
//!
//! ```text
//!  BfnAllocator              IommuClient                      Hypercall
//!  which BFNs are free  ──►  map, unmap, contexts, devices  ──►  an instruction, or a fake
//! ```
//!
//! * [`client`]: the calls, typed. A hypervisor's answers are checked before they are believed.
//! * [`batch`]: many operations in one hypercall.
//! * [`extensions`]: what a bus frame maps to, what a context can hold, and contexts with chosen
//!   properties; which bus frames are reserved, how a device is isolated, and whose the default
//!   context is.
//! * [`bfn`]: which BFNs are free.
//! * [`hypercall`]: the one trait between this crate and a hypervisor.
//! * [`transport`]: its implementations with the instructions of x86-64.
//! * [`space`]: what one device is given of all this: buffers in, bus addresses out.
//! * `virtio`, with the feature of that name: the drivers of the `virtio-drivers` crate on top.
//!
//! # Example
//!
//! A closure stands in for the hypervisor here, and answers as one that maps everything:
//!
//! ```
//! use pviommu_abi::{Bfn, ContextId, Gfn, MapFlags, MapPages, Subop};
//! use pviommu_guest::{BfnAllocator, IommuClient};
//! use zerocopy::{FromBytes, IntoBytes};
//!
//! let hypervisor = |subop: Subop, arg: &mut [u8], _buffer: Option<&mut [u8]>| {
//!     if subop == Subop::MAP_PAGES {
//!         let mut call = MapPages::read_from_bytes(arg).unwrap();
//!         call.mapped += call.nr_pages;
//!         arg.copy_from_slice(call.as_bytes());
//!     }
//!     0
//! };
//!
//! // Bus frames below 4 GiB, without those of the interrupt window.
//! let mut bfns = BfnAllocator::<64>::new(Bfn(1), Bfn(0xf_ffff)).unwrap();
//! bfns.add_reserved(Bfn(0xfee00), Bfn(0xfeeff)).unwrap();
//!
//! let iommu = IommuClient::new(hypervisor);
//! let context = ContextId(1);
//! let pages = 4;
//! let bfn = bfns.allocate(u64::from(pages), 1, Bfn(0xf_ffff)).unwrap();
//! iommu.map(context, bfn, Gfn(0x1234), pages, MapFlags::READABLE).unwrap();
//! // The device is given this address.
//! assert_eq!(bfn.address(), Some(0xffff_c000));
//! ```
//!
//! [`BatchBuilder`] has an example of a batch.

#![no_std]

pub mod batch;
pub mod bfn;
pub mod client;
pub mod error;
pub mod extensions;
pub mod hypercall;
pub mod space;
#[cfg(target_arch = "x86_64")]
pub mod transport;
#[cfg(feature = "virtio")]
pub mod virtio;

pub use batch::{BatchBuilder, BatchDone, BatchFull, BatchPage, ElementDone, LookedUp};
pub use bfn::{BfnAllocator, BfnError};
pub use client::{IommuClient, Remote};
pub use error::{BadReply, Error, MapError};
pub use extensions::{
    DeviceInfo, DevicePlace, Faults, ForDomain, MAX_RESERVED_RANGES, Mapping, ReservedError,
    ReservedOf,
};
pub use hypercall::Hypercall;
pub use space::{DeviceSpace, SpaceError};
#[cfg(target_arch = "x86_64")]
pub use transport::{HypercallPage, Vmcall, Vmmcall};
