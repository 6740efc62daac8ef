//! Ranges that a CPU keeps at hand: free for its callers, handed out as the depot sees it.
//!
//! A stack for each size and each half of the address space, so that the range given back last is
//! handed out next, while what the caches hold of it is warm, the IOMMU's among them.

#![forbid(unsafe_code)]

use super::depot::{Id, LOW_LAST};

/// How many ranges a magazine holds.
const DEPTH: usize = 64;
/// How many are moved between a magazine and the depot at a time.
pub(super) const TRANSFER: usize = 8;

/// Sizes with magazines: 1, 2, 4 pages, and so on.
const SIZES: usize = 7;

/// A size that magazines have: a power of two of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(u8);

impl Size {
    /// The least size that has room for `pages` pages, at least one; `None` if they are too many.
    #[inline]
    pub(super) const fn of(pages: u64) -> Option<Self> {
        let lg2 = u64::BITS.wrapping_sub(pages.wrapping_sub(1).leading_zeros());
        if lg2 < SIZES as u32 { Some(Self(lg2 as u8)) } else { None }
    }

    #[inline]
    pub(super) const fn pages(self) -> u64 {
        1_u64.wrapping_shl(self.0 as u32)
    }
}

/// Which of the two halves a magazine's ranges lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// Below 4 GiB: what devices with 32 address bits reach.
    Low,
    /// All the rest.
    High,
}

impl Half {
    #[inline]
    pub(super) const fn of(first: u64) -> Self {
        if first <= LOW_LAST { Self::Low } else { Self::High }
    }
}

/// A range in a magazine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) first: u64,
    pub(super) id: Id,
}

impl Kept {
    const NONE: Self = Self { first: 0, id: Id::NONE };
}

/// The first `len` entries are filled, the one used last behind the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Magazine {
    len: usize,
    kept: [Kept; DEPTH],
}

impl Magazine {
    const EMPTY: Self = Self { len: 0, kept: [Kept::NONE; DEPTH] };

    /// Takes out the range put in last, if it ends at `limit` or below.
    #[inline]
    pub(super) fn pop(&mut self, size: Size, limit: u64) -> Option<Kept> {
        let below = self.len.checked_sub(1)?;
        let kept = *self.kept.get(below)?;
        if kept.first.saturating_add(size.pages().wrapping_sub(1)) > limit {
            return None;
        }
        self.len = below;
        Some(kept)
    }

    /// False if it is full.
    #[inline]
    pub(super) fn push(&mut self, kept: Kept) -> bool {
        let Some(entry) = self.kept.get_mut(self.len) else { return false };
        *entry = kept;
        self.len = self.len.wrapping_add(1);
        true
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out those that were not used for longest, some of a full magazine.
    pub(super) fn oldest(&mut self) -> [Kept; TRANSFER] {
        let mut oldest = [Kept::NONE; TRANSFER];
        for (to, from) in oldest.iter_mut().zip(self.kept.iter().take(self.len)) {
            *to = *from;
        }
        self.kept.copy_within(TRANSFER.., 0);
        self.len = self.len.saturating_sub(TRANSFER);
        oldest
    }

    /// Takes out all.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Kept> {
        let len = core::mem::take(&mut self.len);
        self.kept.iter().copied().take(len)
    }
}

/// The magazines of one CPU, in cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Magazines {
    low: [Magazine; SIZES],
    high: [Magazine; SIZES],
}

impl Magazines {
    pub(super) const EMPTY: Self =
        Self { low: [Magazine::EMPTY; SIZES], high: [Magazine::EMPTY; SIZES] };

    #[inline]
    pub(super) fn of(&mut self, half: Half, size: Size) -> Option<&mut Magazine> {
        let half = match half {
            Half::Low => &mut self.low,
            Half::High => &mut self.high,
        };
        half.get_mut(usize::from(size.0))
    }

    /// Takes out everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Kept> {
        self.low.iter_mut().chain(&mut self.high).flat_map(Magazine::drain)
    }

    /// How many pages all ranges have.
    pub(super) fn pages(&self) -> u64 {
        let of_half = |half: &[Magazine; SIZES]| {
            half.iter().zip(0..).fold(0_u64, |sum, (magazine, lg2)| {
                sum.saturating_add((magazine.len as u64).saturating_mul(Size(lg2).pages()))
            })
        };
        of_half(&self.low).saturating_add(of_half(&self.high))
    }
}
