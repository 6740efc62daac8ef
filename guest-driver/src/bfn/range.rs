//! The proof that a range was handed out, which alone can give it back.

#![forbid(unsafe_code)]

use core::num::NonZeroU64;

use pviommu_abi::Bfn;

use super::depot::Id;
use super::magazine::Size;

/// Bus frames that are whoever has this.
///
/// It cannot be copied, so a range is given back once. One that is dropped stays taken.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "bus frames whose range is dropped are never given back"]
pub struct BfnRange {
    pub(super) first: u64,
    /// As many as were asked for; the depot may hold more for it.
    pub(super) pages: NonZeroU64,
    /// Which allocator handed it out.
    pub(super) owner: u64,
    /// The depot's entry of it.
    pub(super) id: Id,
    /// The magazine it goes to, unless it goes to the depot.
    pub(super) size: Option<Size>,
}

impl BfnRange {
    /// The first frame.
    #[must_use]
    pub const fn first(&self) -> Bfn {
        Bfn(self.first)
    }

    /// How many frames, at least one: as many as were asked for.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages.get()
    }
}
