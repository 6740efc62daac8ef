//! Why bus frames were not handed out, or not taken back.

#![forbid(unsafe_code)]

use core::fmt;

use pviommu_abi::Bfn;

use super::BfnRange;

/// Why a range was not handed out, taken back or reserved. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BfnError {
    /// A range ends before it begins.
    Empty {
        /// Its first frame.
        first: Bfn,
        /// Its last frame.
        last: Bfn,
    },
    /// The number of pages is 0, or the alignment is no power of two.
    Request {
        /// How many pages.
        pages: u64,
        /// Their alignment in pages.
        align: u64,
    },
    /// No free range is long enough, aligned so, and below the limit. Give some back first, or ask
    /// for less at a time.
    NoRoom {
        /// How many pages.
        pages: u64,
        /// Their alignment in pages.
        align: u64,
        /// The last frame that could have been used.
        limit: Bfn,
    },
    /// All entries of the storage are in use: it was made for fewer ranges at a time.
    TooManyRanges {
        /// How many entries there are.
        capacity: usize,
    },
    /// The range to reserve is handed out already.
    InUse {
        /// The first frame of the allocation in the way.
        first: Bfn,
        /// Its last frame.
        last: Bfn,
    },
    /// Another allocator handed the range out.
    NotOurs,
    /// Another allocator uses the storage.
    StorageTaken,
}

impl fmt::Display for BfnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { first, last } => write!(f, "empty range {first} to {last}"),
            Self::Request { pages, align } => {
                write!(f, "{pages} pages aligned to {align} cannot be allocated")
            }
            Self::NoRoom { pages, align, limit } => {
                write!(f, "no room for {pages} pages aligned to {align} up to {limit}")
            }
            Self::TooManyRanges { capacity } => write!(f, "all {capacity} ranges are in use"),
            Self::InUse { first, last } => write!(f, "{first} to {last} is allocated"),
            Self::NotOurs => f.write_str("the range is another allocator's"),
            Self::StorageTaken => f.write_str("the storage is another allocator's"),
        }
    }
}

impl core::error::Error for BfnError {}

/// A range that was not taken back, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct NotFreed {
    /// The range, still handed out.
    pub range: BfnRange,
    /// Why.
    pub cause: BfnError,
}

impl fmt::Display for NotFreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, pages) = (self.range.first(), self.range.pages());
        write!(f, "{pages} pages from {first} on were not given back: {}", self.cause)
    }
}

impl core::error::Error for NotFreed {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}
