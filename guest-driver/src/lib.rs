//! The guest side of a paravirtual IOMMU: what a driver of a passed-through device needs to do DMA.
//!
//! A device reaches only what its IOMMU context maps. A guest must not touch that map, so it asks the
//! hypervisor: `iommu_op`. A driver author wants none of this, but a bus address for a buffer:
//!
//! ```text
//!  drivers          disk.map(buffer, Direction::ToDevice)           mapping.unmap()
//!                          │                                              │
//!  [`dma`]                 ▼                                              ▼
//!                   BfnAllocator ─ which bus frames ─► many maps and unmaps in one call
//!                                                                         │
//!  calls                      IommuClient, BatchBuilder: typed, answers checked
//!                                                                         │
//!  [`hypercall`]              Hypercall ─► an instruction ([`transport`]), or a fake
//! ```
//!
//! # A driver's life
//!
//! 1. Implement [`dma::Kernel`] for the kernel, on one of the transports.
//! 2. Make a [`dma::DmaSpace`]: it finds the service, allocates a context, and learns what is
//!    reserved.
//! 3. [`attach`](dma::DmaSpace::attach) the device with its DMA mask. Choose when its buffers are
//!    taken away from it again: at once, later, or not as long as they come again.
//! 4. [`coherent`](dma::Device::coherent) for its rings; [`map`](dma::Device::map) and unmap for each
//!    request, a buffer or a list of pieces. What the types do not let you do would let the device
//!    corrupt memory.
//! 5. [`detach`](dma::Device::detach), and the context goes with the space.
//!
//! The example `driver` does all of this with a device that copies: `cargo run -p pviommu-guest
//! --example driver`.
//!
//! # Modules
//!
//! * [`dma`]: buffers in, bus addresses out. Begin here.
//! * [`bfn`]: which bus frames are free.
//! * [`client`]: the calls, typed. A hypervisor's answers are checked before they are believed.
//! * [`batch`]: many operations in one hypercall.
//! * [`extensions`]: what a bus frame maps to, what a context can hold, and contexts with chosen
//!   properties; which bus frames are reserved, how a device is isolated, and whose the default
//!   context is.
//! * [`hypercall`]: the one trait between this crate and a hypervisor.
//! * [`transport`]: its implementations with the instructions of x86-64.
//! * `virtio`, with the feature of that name: the drivers of the `virtio-drivers` crate on top.
//!
//! # Without the DMA API
//!
//! The calls can be made one by one. A closure stands in for the hypervisor here, and answers as one
//! that maps everything:
//!
//! ```
//! use pviommu_abi::{Bfn, ContextId, Gfn, MapFlags, MapPages, Subop};
//! use pviommu_guest::IommuClient;
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
//! let iommu = IommuClient::new(hypervisor);
//! iommu.map(ContextId(1), Bfn(0xffffc), Gfn(0x1234), 4, MapFlags::READABLE)?;
//! # Ok::<(), pviommu_guest::MapError>(())
//! ```
//!
//! [`BatchBuilder`] has an example of a batch, [`BfnAllocator`] one of an allocator.

#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod batch;
pub mod bfn;
pub mod client;
pub mod dma;
pub mod error;
pub mod extensions;
pub mod hypercall;
#[cfg(target_arch = "x86_64")]
pub mod transport;
#[cfg(feature = "virtio")]
pub mod virtio;

pub use batch::{BatchBuilder, BatchDone, BatchFull, BatchPage, ElementDone, LookedUp};
pub use bfn::{BfnAllocator, BfnError, BfnRange, BfnStorage, NotFreed};
pub use client::{IommuClient, Remote};
pub use dma::{DmaError, DmaSpace, DmaStorage};
pub use error::{BadReply, Error, MapError};
pub use extensions::{
    DeviceInfo, DevicePlace, Faults, ForDomain, MAX_RESERVED_RANGES, Mapping, ReservedError,
    ReservedOf,
};
pub use hypercall::Hypercall;
#[cfg(target_arch = "x86_64")]
pub use transport::{HypercallPage, Vmcall, Vmmcall};
