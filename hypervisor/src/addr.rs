//! Addresses of the machine: frame numbers, ranges of them, and page orders.
//!
//! A range is `first..=last` and never empty, so that the top of the address space can be named
//! and a length of zero cannot hide in an overflow. There is no conversion between a frame
//! number of a guest ([`Gfn`]), of the machine ([`Mfn`]) and of the bus ([`Bfn`]): to get from
//! one to another takes a table, and the table is what this crate is about.

use core::fmt;

use pviommu_abi::{Bfn, Gfn};

/// Number of address bits inside one 4 KiB page.
pub const PAGE_SHIFT: u32 = 12;

/// Machine frame number: the 4 KiB frame of the host's physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mfn(pub u64);

impl Mfn {
    /// The frame `pages` above this one, or `None` past the top of 64 bits.
    #[must_use]
    pub const fn checked_add(self, pages: u64) -> Option<Self> {
        match self.0.checked_add(pages) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }
}

impl fmt::Debug for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mfn({:#x})", self.0)
    }
}

impl fmt::Display for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A frame number: what the range type is generic over.
pub trait Frame: Copy + Ord + fmt::Debug {
    /// The frame with this number.
    fn from_number(number: u64) -> Self;
    /// The number of this frame.
    fn number(self) -> u64;
}

macro_rules! frame {
    ($($name:ident)*) => {$(
        impl Frame for $name {
            fn from_number(number: u64) -> Self {
                Self(number)
            }
            fn number(self) -> u64 {
                self.0
            }
        }
    )*};
}
frame!(Bfn Gfn Mfn);

/// An inclusive range of frames, never empty, with at most `u64::MAX` of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRange<F> {
    first: F,
    last: F,
}

/// A range of bus frames.
pub type BfnRange = FrameRange<Bfn>;
/// A range of guest frames.
pub type GfnRange = FrameRange<Gfn>;
/// A range of machine frames.
pub type MfnRange = FrameRange<Mfn>;

impl<F: Frame> FrameRange<F> {
    /// The range from `first` to `last`, or `None` if it would be empty or hold all 2^64 frames.
    #[must_use]
    pub fn new(first: F, last: F) -> Option<Self> {
        let full = first.number() == 0 && last.number() == u64::MAX;
        (first <= last && !full).then_some(Self { first, last })
    }

    /// `pages` frames from `first` on, or `None` if that is no page or wraps around.
    #[must_use]
    pub fn of_pages(first: F, pages: u64) -> Option<Self> {
        let last = first.number().checked_add(pages.checked_sub(1)?)?;
        Self::new(first, F::from_number(last))
    }

    /// A range that is known at compile time.
    pub(crate) const fn fixed(first: F, last: F) -> Self
    where
        F: Copy,
    {
        Self { first, last }
    }

    /// Just `frame`.
    #[must_use]
    pub fn single(frame: F) -> Self {
        Self { first: frame, last: frame }
    }

    /// Lowest frame.
    #[must_use]
    pub fn first(self) -> F {
        self.first
    }

    /// Highest frame.
    #[must_use]
    pub fn last(self) -> F {
        self.last
    }

    /// Number of frames, at least one.
    #[must_use]
    pub fn pages(self) -> u64 {
        self.last.number().wrapping_sub(self.first.number()).wrapping_add(1)
    }

    /// True if the two share a frame.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// True if `frame` is one of them.
    #[must_use]
    pub fn contains(self, frame: F) -> bool {
        self.first <= frame && frame <= self.last
    }

    /// The frames they share.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        // The union can only be all 2^64 frames if one of the two reaches each end; clamping the
        // top by one keeps `pages` representable and no frame number is that large.
        let last = self.last.max(other.last);
        let first = self.first.min(other.first);
        Self { first, last }
    }
}

impl<F: fmt::Display> fmt::Display for FrameRange<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_never_empty_and_never_wraps() {
        assert_eq!(BfnRange::of_pages(Bfn(1), 0), None);
        assert_eq!(BfnRange::of_pages(Bfn(u64::MAX), 2), None);
        assert_eq!(BfnRange::new(Bfn(2), Bfn(1)), None);
        assert_eq!(BfnRange::new(Bfn(0), Bfn(u64::MAX)), None);
        let top = BfnRange::of_pages(Bfn(u64::MAX), 1).unwrap();
        assert_eq!((top.first(), top.last(), top.pages()), (Bfn(u64::MAX), Bfn(u64::MAX), 1));
    }

    #[test]
    fn a_range_is_printed_as_its_first_and_its_last_frame() {
        assert_eq!(BfnRange::of_pages(Bfn(0xfee00), 0x100).unwrap().to_string(), "0xfee00-0xfeeff");
        assert_eq!(MfnRange::single(Mfn(7)).to_string(), "0x7-0x7");
    }

    #[test]
    fn ranges_overlap_exactly_when_they_share_a_frame() {
        let a = MfnRange::of_pages(Mfn(10), 5).unwrap();
        for first in 0..20 {
            for pages in 1..8 {
                let b = MfnRange::of_pages(Mfn(first), pages).unwrap();
                let shared = (0..pages).any(|i| a.contains(Mfn(first + i)));
                assert_eq!(a.overlaps(b), shared);
                assert_eq!(b.overlaps(a), shared);
            }
        }
    }
}
