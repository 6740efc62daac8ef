//! The drivers of the `virtio-drivers` crate, with all their DMA through the IOMMU.
//!
//! ```text
//!  VirtIOBlk, VirtIONet, ...            virtio-drivers
//!     │ share, dma_alloc │ registers
//!     ▼                  ▼
//!  VirtioHal          AccessPlatform    this module
//!     │                  │
//!     ▼                  ▼
//!  dma::Device        PciTransport      bus frames            virtio-drivers
//! ```
//!
//! * [`VirtioHal`] maps every buffer for as long as the device has it, with no more access than its
//!   direction needs, and gives the device bus addresses. It asks its [`Platform`] for memory.
//! * [`AccessPlatform`] makes the device use them: virtio's feature `ACCESS_PLATFORM`, without which
//!   a device may take what it is told for guest addresses, and a driver must not talk to one that
//!   offers it.
//!
//! # What it does not protect from
//!
//! A buffer is mapped by whole pages, so its device reaches what lies beside it there, in the same
//! direction. Align and pad buffers for a device that is not trusted.
//!
//! # Waiting
//!
//! A device that was refused a DMA may never answer. The blocking calls of `virtio-drivers` then wait
//! for ever: use those ending in `_nb`, and give up after a while. A buffer whose request was given
//! up is the device's until the device has been reset and its mappings are gone
//! ([`VirtioDma::take_all_back`]).

mod access_platform;
mod hal;
mod memory;

pub use self::access_platform::AccessPlatform;
pub use self::hal::{NOWHERE, Platform, VirtioDma, VirtioHal};
pub use self::memory::VirtualMemory;
