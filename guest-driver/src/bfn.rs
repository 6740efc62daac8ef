//! Which bus frames are free.
//!
//! A sorted array of busy ranges, filled from the top of the aperture down: devices that reach only
//! low addresses find room at the bottom, as long as others leave it. Memory is bounded by `N`, the
//! number of ranges that are allocated or reserved at the same time; giving back never needs any.

#![forbid(unsafe_code)]

use core::fmt;

use pviommu_abi::Bfn;

/// Hands out ranges of bus frames within `first..=last`, except reserved ones.
///
/// ```
/// use pviommu_abi::Bfn;
/// use pviommu_guest::{BfnAllocator, BfnError};
///
/// let mut bfns = BfnAllocator::<16>::new(Bfn(0x100), Bfn(0x1ff))?;
/// bfns.add_reserved(Bfn(0x1f0), Bfn(0x1ff))?;
/// let a = bfns.allocate(8, 8, Bfn(u64::MAX))?;
/// assert_eq!(a, Bfn(0x1e8));
/// bfns.free(a, 8)?;
/// assert_eq!(bfns.free(a, 8), Err(BfnError::NotAllocated { first: a, pages: 8 }));
/// # Ok::<(), BfnError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BfnAllocator<const N: usize> {
    first: Bfn,
    last: Bfn,
    /// The first `used` entries are in ascending order and do not overlap.
    busy: [Busy; N],
    used: usize,
}

/// A range that cannot be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Busy {
    first: Bfn,
    last: Bfn,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Reserved,
    Allocated,
}

/// Why a range was not handed out or taken back.
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
    /// No free range is long enough, aligned so, and below the limit.
    NoRoom {
        /// How many pages.
        pages: u64,
        /// Their alignment in pages.
        align: u64,
        /// The last frame that could have been used.
        limit: Bfn,
    },
    /// All entries of the allocator are in use.
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
    /// Exactly this range is not allocated: given back twice, or only in part.
    NotAllocated {
        /// The first frame.
        first: Bfn,
        /// How many pages.
        pages: u64,
    },
}

impl<const N: usize> BfnAllocator<N> {
    /// All of `first..=last` is free. Bus frame 0 is best left out: many drivers take bus address 0
    /// for none.
    ///
    /// # Errors
    ///
    /// [`BfnError::Empty`].
    pub const fn new(first: Bfn, last: Bfn) -> Result<Self, BfnError> {
        if first.0 > last.0 {
            return Err(BfnError::Empty { first, last });
        }
        let unused = Busy { first: Bfn(0), last: Bfn(0), why: Why::Reserved };
        Ok(Self { first, last, busy: [unused; N], used: 0 })
    }

    /// Never hands out a frame of `first..=last`. Ranges may overlap each other and reach outside
    /// of the aperture.
    ///
    /// # Errors
    ///
    /// [`BfnError::Empty`]; [`BfnError::InUse`] if part of it is allocated;
    /// [`BfnError::TooManyRanges`]. Nothing is changed then.
    pub fn add_reserved(&mut self, first: Bfn, last: Bfn) -> Result<(), BfnError> {
        if first > last {
            return Err(BfnError::Empty { first, last });
        }
        if last < self.first || first > self.last {
            return Ok(());
        }
        let mut new =
            Busy { first: first.max(self.first), last: last.min(self.last), why: Why::Reserved };
        let overlapping = |busy: &Busy| busy.first <= new.last && new.first <= busy.last;
        let ranges = self.ranges();
        if let Some(taken) =
            ranges.iter().find(|busy| overlapping(busy) && busy.why == Why::Allocated)
        {
            return Err(BfnError::InUse { first: taken.first, last: taken.last });
        }
        // Reserved ranges that overlap the new one become part of it.
        let start = ranges.partition_point(|busy| busy.last < new.first);
        let end = ranges.partition_point(|busy| busy.first <= new.last);
        if start == end {
            return self.insert(start, new);
        }
        for old in ranges.get(start..end).unwrap_or_default() {
            new.first = new.first.min(old.first);
            new.last = new.last.max(old.last);
        }
        self.remove(start.saturating_add(1), end);
        if let Some(entry) = self.busy.get_mut(start) {
            *entry = new;
        }
        Ok(())
    }

    /// Takes the highest free range of `pages` pages whose first frame is a multiple of `align`
    /// pages and whose last is not above `limit`, such as `Bfn(0xf_ffff)` for a device with 32
    /// address bits.
    ///
    /// # Errors
    ///
    /// [`BfnError::Request`], [`BfnError::NoRoom`], [`BfnError::TooManyRanges`].
    pub fn allocate(&mut self, pages: u64, align: u64, limit: Bfn) -> Result<Bfn, BfnError> {
        if pages == 0 || !align.is_power_of_two() {
            return Err(BfnError::Request { pages, align });
        }
        let no_room = BfnError::NoRoom { pages, align, limit };
        // The gap above the busy range looked at, from the top of the aperture down.
        let mut gap_last = Some(self.last.min(limit));
        for (index, busy) in self.ranges().iter().enumerate().rev() {
            let gap_first = busy.last.checked_add(1);
            if let Some(first) = fit(gap_first, gap_last, pages, align) {
                return self.take(index.saturating_add(1), first, pages);
            }
            gap_last = busy.first.checked_sub(1).map(|last| last.min(limit));
        }
        match fit(Some(self.first), gap_last, pages, align) {
            Some(first) => self.take(0, first, pages),
            None => Err(no_room),
        }
    }

    /// Gives back a range, as it was allocated.
    ///
    /// Only for frames that are unmapped: a device that still reaches them would reach what is
    /// mapped there next.
    ///
    /// # Errors
    ///
    /// [`BfnError::NotAllocated`].
    pub fn free(&mut self, first: Bfn, pages: u64) -> Result<(), BfnError> {
        let index = self.index_of(first, pages)?;
        self.remove(index, index.saturating_add(1));
        Ok(())
    }

    /// Whether exactly this range is allocated.
    #[must_use]
    pub fn is_allocated(&self, first: Bfn, pages: u64) -> bool {
        self.index_of(first, pages).is_ok()
    }

    fn index_of(&self, first: Bfn, pages: u64) -> Result<usize, BfnError> {
        let wrong = BfnError::NotAllocated { first, pages };
        let last = last_of(first, pages).ok_or(wrong)?;
        let wanted = Busy { first, last, why: Why::Allocated };
        let index = self.ranges().partition_point(|busy| busy.first < first);
        if self.ranges().get(index) == Some(&wanted) { Ok(index) } else { Err(wrong) }
    }

    /// How many frames can still be handed out, if in small enough ranges.
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        // Saturates only for the aperture of all 2^64 frames.
        let length = |first: Bfn, last: Bfn| last.0.saturating_sub(first.0).saturating_add(1);
        let busy = self
            .ranges()
            .iter()
            .fold(0_u64, |sum, busy| sum.saturating_add(length(busy.first, busy.last)));
        length(self.first, self.last).saturating_sub(busy)
    }

    fn ranges(&self) -> &[Busy] {
        self.busy.get(..self.used).unwrap_or_default()
    }

    fn take(&mut self, index: usize, first: Bfn, pages: u64) -> Result<Bfn, BfnError> {
        let last = last_of(first, pages).ok_or(BfnError::Request { pages, align: 1 })?;
        self.insert(index, Busy { first, last, why: Why::Allocated })?;
        Ok(first)
    }

    fn insert(&mut self, index: usize, new: Busy) -> Result<(), BfnError> {
        let full = BfnError::TooManyRanges { capacity: N };
        // The unused entry behind the last one rotates to the front, and becomes the new one.
        let tail = self.busy.get_mut(index..=self.used).ok_or(full)?;
        tail.rotate_right(1);
        *tail.first_mut().ok_or(full)? = new;
        self.used = self.used.saturating_add(1);
        Ok(())
    }

    /// Removes the entries `start..end`.
    fn remove(&mut self, start: usize, end: usize) {
        let Some(count) = end.checked_sub(start) else { return };
        if let Some(tail) = self.busy.get_mut(start..self.used)
            && count <= tail.len()
        {
            tail.rotate_left(count);
            self.used = self.used.saturating_sub(count);
        }
    }
}

/// The last frame of a range, or `None` if it has none or wraps.
fn last_of(first: Bfn, pages: u64) -> Option<Bfn> {
    first.checked_add(pages.checked_sub(1)?)
}

/// The highest aligned start of `pages` pages within a gap; `align` is a power of two.
fn fit(gap_first: Option<Bfn>, gap_last: Option<Bfn>, pages: u64, align: u64) -> Option<Bfn> {
    let highest = gap_last?.checked_sub(pages.checked_sub(1)?)?;
    let first = Bfn(highest.0 & !align.checked_sub(1)?);
    (first >= gap_first?).then_some(first)
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
            Self::NotAllocated { first, pages } => {
                write!(f, "{pages} pages from {first} are not allocated as such")
            }
        }
    }
}

impl core::error::Error for BfnError {}
