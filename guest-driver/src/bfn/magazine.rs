//! Ranges that a CPU keeps at hand: free for its callers, handed out as the depot sees it.
//!
//! A stack for each size and each half of the address space, so that the range given back last is
//! handed out next, while what the caches hold of it is warm, the IOMMU's among them.

#![forbid(unsafe_code)]

use super::depot::{Id, LOW_LAST};

/// Sizes with magazines: 1, 2, 4 pages, and so on.
const SIZES: usize = 7;

/// How many ranges the magazine of each size holds: powers of two. Most ranges are a page.
const DEPTHS: [usize; SIZES] = [256, 64, 32, 32, 32, 16, 16];
/// How many that is, of all sizes.
const ROOM: usize = starts()[SIZES];

/// How many are moved between a magazine and the depot at a time.
pub(super) const TRANSFER: usize = 4;

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

    fn all() -> impl Iterator<Item = Self> {
        (0..SIZES as u8).map(Self)
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

/// The ring of one size: `len` entries from `oldest` on are filled, the one used last behind the
/// others.
#[derive(Clone, Copy, Debug)]
struct Ring {
    oldest: usize,
    len: usize,
}

/// The magazine of one size, in one half.
#[derive(Debug)]
pub(super) struct Magazine<'a> {
    ring: &'a mut Ring,
    kept: &'a mut [Kept],
}

impl Magazine<'_> {
    /// Takes out the range put in last, if it ends at `limit` or below.
    #[inline]
    pub(super) fn pop(&mut self, size: Size, limit: u64) -> Option<Kept> {
        let below = self.ring.len.checked_sub(1)?;
        let kept = *self.entry(below)?;
        if kept.first.saturating_add(size.pages().wrapping_sub(1)) > limit {
            return None;
        }
        self.ring.len = below;
        Some(kept)
    }

    /// False if it is full.
    #[inline]
    pub(super) fn push(&mut self, kept: Kept) -> bool {
        if self.ring.len >= self.kept.len() {
            return false;
        }
        let Some(entry) = self.entry(self.ring.len) else { return false };
        *entry = kept;
        self.ring.len = self.ring.len.wrapping_add(1);
        true
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.ring.len == 0
    }

    /// Takes out the range that was not used for longest.
    pub(super) fn pop_oldest(&mut self) -> Option<Kept> {
        let below = self.ring.len.checked_sub(1)?;
        let kept = *self.entry(0)?;
        (self.ring.oldest, self.ring.len) = (self.ring.oldest.wrapping_add(1), below);
        Some(kept)
    }

    /// The place of the range of this number, from the oldest on.
    #[inline]
    fn entry(&mut self, number: usize) -> Option<&mut Kept> {
        // Depths are powers of two.
        let mask = self.kept.len().wrapping_sub(1);
        self.kept.get_mut(self.ring.oldest.wrapping_add(number) & mask)
    }
}

/// Where the entries of each size begin, and all of them end.
const fn starts() -> [usize; SIZES + 1] {
    let mut starts = [0; SIZES + 1];
    let mut size = 0;
    #[expect(clippy::indexing_slicing, reason = "it is done by the compiler")]
    while size < SIZES {
        assert!(DEPTHS[size].is_power_of_two() && DEPTHS[size] >= TRANSFER, "as rings need it");
        starts[size + 1] = starts[size] + DEPTHS[size];
        size += 1;
    }
    starts
}

/// The magazines of a half.
#[derive(Debug)]
struct OfHalf {
    rings: [Ring; SIZES],
    /// Those of all sizes, one behind the other.
    kept: [Kept; ROOM],
}

impl OfHalf {
    const EMPTY: Self =
        Self { rings: [Ring { oldest: 0, len: 0 }; SIZES], kept: [Kept::NONE; ROOM] };

    #[inline]
    fn of(&mut self, size: Size) -> Option<Magazine<'_>> {
        const STARTS: [usize; SIZES + 1] = starts();
        let index = usize::from(size.0);
        let ring = self.rings.get_mut(index)?;
        let start = *STARTS.get(index)?;
        let kept = self.kept.get_mut(start..)?.get_mut(..*DEPTHS.get(index)?)?;
        Some(Magazine { ring, kept })
    }

    fn drain(&mut self, each: &mut impl FnMut(Kept)) {
        for size in Size::all() {
            if let Some(mut magazine) = self.of(size) {
                while let Some(kept) = magazine.pop_oldest() {
                    each(kept);
                }
            }
        }
    }

    fn pages(&self) -> u64 {
        self.rings.iter().zip(Size::all()).fold(0_u64, |sum, (ring, size)| {
            sum.saturating_add((ring.len as u64).saturating_mul(size.pages()))
        })
    }
}

/// The magazines of one CPU, in cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Magazines {
    low: OfHalf,
    high: OfHalf,
}

impl Magazines {
    pub(super) const EMPTY: Self = Self { low: OfHalf::EMPTY, high: OfHalf::EMPTY };

    #[inline]
    pub(super) fn of(&mut self, half: Half, size: Size) -> Option<Magazine<'_>> {
        match half {
            Half::Low => self.low.of(size),
            Half::High => self.high.of(size),
        }
    }

    /// Takes out everything.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Kept)) {
        self.low.drain(&mut each);
        self.high.drain(&mut each);
    }

    /// How many pages all ranges have.
    pub(super) fn pages(&self) -> u64 {
        self.low.pages().saturating_add(self.high.pages())
    }
}
