//! Which bus frames are free.
//!
//! ```text
//!  BfnAllocator ── a magazine of each CPU ── depot
//!                  ranges of a size, last     all ranges of the aperture, in the order of their
//!                  in, first out              addresses; free ones also by zone and size
//! ```
//!
//! A small range comes from a magazine of the CPU that asks, and goes back to one: a lock that no
//! other CPU wants, and a store. Magazines are filled from the depot, and emptied into it, a few
//! ranges at a time. The depot finds a range by bitmaps, and joins what is given back with its free
//! neighbours at once. So the time that each step takes is bounded by constants, but for those that
//! say otherwise.
//!
//! *Zones* are what devices with different DMA masks reach: a device with 64 address bits is given
//! the highest zone that has room, and leaves the lower ones to those that reach nothing else.
//! Within a zone, ranges are taken from the top down.
//!
//! Nothing is allocated but what a [`BfnStorage`] holds.

#![forbid(unsafe_code)]

mod allocator;
mod depot;
mod error;
mod magazine;
mod range;
mod storage;

pub use self::allocator::BfnAllocator;
pub use self::error::{BfnError, NotFreed};
pub use self::range::BfnRange;
pub use self::storage::BfnStorage;
