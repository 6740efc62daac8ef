//! DMA: buffers in, bus addresses out.
//!
//! ```text
//!   driver     Device ── map(buffer, direction) ──► Mapping ── unmap() ──► the buffer, Pending, Kept
//!                │                                     │                        which of these is the
//!   one for      ▼                                     ▼                        device's mode
//!   a context  DmaSpace ─── bus frames ─────────── maps and unmaps, many to a call
//!                │            BfnAllocator             │
//!   kernel     DmaStorage                           Kernel ── iommu_op
//! ```
//!
//! * A [`DmaSpace`] is one context of the IOMMU. It lives in a [`DmaStorage`] that the kernel lends.
//! * [`DmaSpace::attach`] moves a device there and returns its [`Device`]. How it is isolated from
//!   others, [`Device::isolation`] tells.
//! * [`Device::map`] takes a [`Buffer`], which may be a list of pieces, and returns a [`Mapping`] with
//!   the bus addresses. It is one hypercall; the mapping owns the buffer until it is unmapped.
//! * A [`Pool`] is memory that stays mapped, in blocks.
//!
//! # When is a buffer safe again?
//!
//! The type of what [`Mapping::unmap`] returns says it. Which type that is, is chosen for each device:
//!
//! | mode | unmap returns | hypercalls | until when a device that goes wrong reaches the buffer |
//! |---|---|---|---|
//! | [`Strict`] | the buffer | one a map, one an unmap | until `unmap` returns |
//! | [`Deferred`] | [`Pending`], which holds it back | about one a map | until the unmap was made with others: bounded by [`Deferral`] |
//! | `Reusing` | `Kept`, which asks | one for pages that were not mapped lately | for as long as the mapping is kept |
//!
//! `Reusing` needs the feature `alloc`. Whatever the mode is, what is dropped is unmapped and flushed
//! first, pages of other domains ([`Device::map_grants`], [`Device::map_foreign`]) are unmapped
//! strictly, and bus frames are used for nothing else before a flush was made. A buffer that cannot be
//! unmapped is never handed back: it is forgotten, and [`DmaSpace::lost_pages`] counts it.
//!
//! # Hypervisors
//!
//! With the extensions of this project many maps and unmaps are one hypercall. With PV-IOMMU RFC v7
//! alone each run of pages that follow each other is one, unmaps are never deferred, and reserved
//! ranges are for the kernel to tell ([`DmaSpace::reserve`]). Without a PV-IOMMU there is
//! [`DmaError::NoService`].
//!
//! # Errors
//!
//! Calls to be issued again are, up to a bound; a limit that is reached has what waits unmapped, and is
//! tried once more. [`DmaError::remedy`] says what is left to do. A call that fails changes nothing.
//!
//! # Example
//!
//! A driver gives a device two pages that lie apart:
//!
//! ```
//! use pviommu_abi::PciDevice;
//! use pviommu_guest::dma::{Direction, DmaError, DmaSpace, DmaStorage, Kernel, Piece, Segment};
//! # use pviommu_abi::{AllocContext, Capabilities, ContextId, Errno, MapPages, Subop, UnmapPages};
//! # use pviommu_guest::Hypercall;
//! # use zerocopy::FromBytes;
//!
//! struct ThisKernel;
//!
//! impl Kernel for ThisKernel {
//!     fn now_us(&self) -> u64 {
//!         0 // Its clock.
//!     }
//! }
//! #
//! # // Answers as a hypervisor that has RFC v7 only, and maps everything.
//! # impl Hypercall for ThisKernel {
//! #     fn iommu_op(&self, subop: Subop, arg: &mut [u8], _: Option<&mut [u8]>) -> i64 {
//! #         match subop {
//! #             Subop::QUERY_CAPABILITIES => {
//! #                 let reply = Capabilities::mut_from_bytes(arg).unwrap();
//! #                 (reply.max_iova_addr, reply.pgsize_mask) = ((1 << 48) - 1, 0x1000);
//! #                 reply.max_ctx_no = 128;
//! #             }
//! #             Subop::ALLOC_CONTEXT => {
//! #                 AllocContext::mut_from_bytes(arg).unwrap().ctx_no = ContextId(1);
//! #             }
//! #             Subop::MAP_PAGES => {
//! #                 let call = MapPages::mut_from_bytes(arg).unwrap();
//! #                 call.mapped = call.nr_pages;
//! #             }
//! #             Subop::UNMAP_PAGES => {
//! #                 let call = UnmapPages::mut_from_bytes(arg).unwrap();
//! #                 call.unmapped = call.nr_pages;
//! #             }
//! #             Subop::REATTACH_DEVICE | Subop::FREE_CONTEXT => {}
//! #             _ => return Errno::EOPNOTSUPP.to_ret(),
//! #         }
//! #         0
//! #     }
//! # }
//!
//! static STORAGE: DmaStorage<1024, 4> = DmaStorage::new();
//!
//! let space = DmaSpace::open(ThisKernel, &STORAGE)?;
//! // Its addresses have 32 bits.
//! let disk = space.attach(PciDevice::from_sbdf(0x0010), 0xffff_ffff)?;
//!
//! let pages = [
//!     Piece { address: 0x1234_5000, length: 0x1000 },
//!     Piece { address: 0x777_3000, length: 0x1000 },
//! ];
//! let mapping = disk.map(pages, Direction::FromDevice)?;
//! // The device is given one address.
//! let segments: Vec<_> = mapping.segments().collect();
//! assert_eq!(segments, [Segment { address: mapping.address(), length: 0x2000 }]);
//! // It has written the data.
//! let pages = mapping.unmap()?;
//! // No device reaches the pages any longer.
//! # assert_eq!(pages.len(), 2);
//! disk.detach()?;
//! space.close()?;
//! # Ok::<(), DmaError>(())
//! ```

#![forbid(unsafe_code)]

mod access;
mod buffer;
#[cfg(feature = "alloc")]
mod cache;
mod deferred;
mod device;
mod error;
mod foreign;
mod kernel;
mod limits;
mod map;
mod mapping;
mod mode;
mod pool;
mod queue;
#[cfg(feature = "alloc")]
mod reuse;
mod space;
mod storage;
mod unmap;

pub use self::access::Direction;
pub use self::buffer::{Buffer, Piece, Segment};
pub use self::deferred::Pending;
pub use self::device::Device;
pub use self::error::{DmaError, MapFailed, Remedy, StillMapped};
pub use self::kernel::Kernel;
pub use self::mapping::Mapping;
pub use self::mode::{Deferred, Mode, Strict};
pub use self::pool::{Block, Pool};
pub use self::queue::Deferral;
#[cfg(feature = "alloc")]
pub use self::reuse::{Kept, Reusing};
pub use self::space::DmaSpace;
pub use self::storage::DmaStorage;
