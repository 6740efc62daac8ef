//! The allocator: magazines first, the depot when they do not help.
//!
//! Locks: that of a CPU's magazines, then that of the depot; never those of two CPUs at a time.

#![forbid(unsafe_code)]

use core::fmt;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};

use pviommu_abi::Bfn;
use spin::Mutex;

use super::depot::{Depot, Entry, LOW_LAST, LOWEST_HIGH, NotReserved, Reach, Taken, Unmet};
use super::magazine::{Half, Kept, Magazine, Magazines, Size, TRANSFER};
use super::storage::{BfnStorage, Claimed};
use super::{BfnError, BfnRange, NotFreed};

/// The number of the next allocator: a range is taken back by the one that handed it out.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Hands out ranges of bus frames within an aperture, except reserved ones, to all CPUs.
///
/// A range never has frames on both sides of one of the addresses where DMA masks end: 16 MiB,
/// 256 MiB, 1, 4 and 64 GiB, and 1, 16 and 256 TiB.
///
/// It takes spin locks, for a short time: where interrupts use it, too, nobody may call it while
/// they are enabled.
///
/// ```
/// use pviommu_abi::Bfn;
/// use pviommu_guest::{BfnAllocator, BfnError, BfnStorage};
///
/// // 256 ranges, and two CPUs.
/// static STORAGE: BfnStorage<256, 2> = BfnStorage::new();
///
/// let bfns = BfnAllocator::new(Bfn(1), Bfn(0xff_ffff), &STORAGE)?;
/// bfns.add_reserved(Bfn(0xfee00), Bfn(0xfeeff))?;
/// // A device with 32 address bits, and one with 64.
/// let low = bfns.allocate(0, 4, Bfn(0xf_ffff))?;
/// let high = bfns.allocate(0, 4, Bfn(u64::MAX))?;
/// assert!(low.first() <= Bfn(0xf_fffc) && high.first() > Bfn(0xf_ffff));
/// bfns.free(0, low).expect("it is this allocator's");
/// bfns.free(1, high).expect("it is this allocator's");
/// # Ok::<(), BfnError>(())
/// ```
pub struct BfnAllocator<'m> {
    number: u64,
    last: u64,
    depot: &'m Mutex<Depot<[Entry]>>,
    magazines: &'m [Mutex<Magazines>],
    _claimed: Claimed<'m>,
}

impl<'m> BfnAllocator<'m> {
    /// All of `first..=last` is free. Bus frame 0 is best left out: many drivers take bus address 0
    /// for none.
    ///
    /// # Errors
    ///
    /// [`BfnError::Empty`]; [`BfnError::StorageTaken`]; [`BfnError::TooManyRanges`] if the storage
    /// has no entry for each zone.
    pub fn new<const RANGES: usize, const CPUS: usize>(
        first: Bfn,
        last: Bfn,
        storage: &'m BfnStorage<RANGES, CPUS>,
    ) -> Result<Self, BfnError> {
        if first > last {
            return Err(BfnError::Empty { first, last });
        }
        let claimed = storage.claim.take().ok_or(BfnError::StorageTaken)?;
        let depot: &Mutex<Depot<[Entry]>> = &storage.depot;
        for magazines in &storage.magazines {
            magazines.lock().drain(drop);
        }
        if !depot.lock().reset(first.0, last.0) {
            return Err(BfnError::TooManyRanges { capacity: RANGES });
        }
        Ok(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            last: last.0,
            depot,
            magazines: &storage.magazines,
            _claimed: claimed,
        })
    }

    /// Never hands out a frame of `first..=last`. Ranges may overlap each other and reach outside
    /// of the aperture.
    ///
    /// Not the quick path: it looks at every range.
    ///
    /// # Errors
    ///
    /// [`BfnError::Empty`]; [`BfnError::InUse`] if part of it is handed out;
    /// [`BfnError::TooManyRanges`]. Nothing is changed then.
    pub fn add_reserved(&self, first: Bfn, last: Bfn) -> Result<(), BfnError> {
        if first > last {
            return Err(BfnError::Empty { first, last });
        }
        // What magazines hold is free, too.
        self.depot.lock().close();
        self.drain();
        let mut depot = self.depot.lock();
        depot.open();
        depot.reserve(first.0, last.0).map_err(|error| match error {
            NotReserved::Out { first, last } => {
                BfnError::InUse { first: Bfn(first), last: Bfn(last) }
            }
            NotReserved::NoEntry => BfnError::TooManyRanges { capacity: depot.capacity() },
        })
    }

    /// Takes `pages` pages whose last frame is not above `limit`, such as `Bfn(0xf_ffff)` for a
    /// device with 32 address bits. `cpu` is the number of the CPU; if it is wrong, this is only
    /// slower.
    ///
    /// Quick for up to 64 pages, and limits at the end of a mask of 32 bits or more; others come
    /// straight from the depot. A limit where no mask of 24, 28, 30, 32, 36, 40, 44 or 48 bits ends
    /// takes longer yet, unless the aperture ends there or before.
    ///
    /// # Errors
    ///
    /// [`BfnError::Request`], [`BfnError::NoRoom`], [`BfnError::TooManyRanges`].
    #[inline]
    pub fn allocate(&self, cpu: usize, pages: u64, limit: Bfn) -> Result<BfnRange, BfnError> {
        let limit = limit.0.min(self.last);
        if let Some(half) = self.half_of(limit)
            && let Some(range) = self.take_at_hand(cpu, pages, half, limit)
        {
            return Ok(range);
        }
        self.allocate_otherwise(cpu, pages, limit)
    }

    /// Takes `pages` pages whose first frame is a multiple of `align` pages, a power of two, and
    /// whose last frame is not above `limit`.
    ///
    /// Straight from the depot: for what is kept for long, such as coherent memory.
    ///
    /// # Errors
    ///
    /// [`BfnError::Request`], [`BfnError::NoRoom`], [`BfnError::TooManyRanges`].
    pub fn allocate_aligned(
        &self,
        pages: u64,
        align: u64,
        limit: Bfn,
    ) -> Result<BfnRange, BfnError> {
        let wanted = NonZeroU64::new(pages).filter(|_| align.is_power_of_two());
        let wanted = wanted.ok_or(BfnError::Request { pages, align })?;
        let limit = limit.0.min(self.last);
        let reach = Reach { lowest: 0, limit };
        let mut taken = self.depot.lock().take(pages, align, reach);
        if taken.is_err() {
            // What CPUs keep may be what is missing.
            self.drain();
            taken = self.depot.lock().take(pages, align, reach);
        }
        match taken {
            Ok(Taken { first, id }) => {
                Ok(BfnRange { first, pages: wanted, owner: self.number, id, size: None })
            }
            Err(Unmet::NoRoom) => Err(BfnError::NoRoom { pages, align, limit: Bfn(limit) }),
            Err(Unmet::NoEntry) => {
                Err(BfnError::TooManyRanges { capacity: self.depot.lock().capacity() })
            }
        }
    }

    /// Gives back a range.
    ///
    /// Only for frames that are unmapped: a device that still reaches them would reach what is
    /// mapped there next, and that may be at once.
    ///
    /// # Errors
    ///
    /// [`BfnError::NotOurs`], with the range.
    #[inline]
    pub fn free(&self, cpu: usize, range: BfnRange) -> Result<(), NotFreed> {
        if range.owner != self.number {
            return Err(NotFreed { range, cause: BfnError::NotOurs });
        }
        let kept = Kept { first: range.first, id: range.id };
        if let Some(size) = range.size
            && let Some(magazines) = self.magazines_of(cpu)
            && let Some(mut magazine) = magazines.lock().of(Half::of(range.first), size)
        {
            if !magazine.push(kept) {
                self.flush(&mut magazine, kept);
            }
        } else {
            self.depot.lock().give(range.id);
        }
        Ok(())
    }

    /// How many frames are not handed out. Ranges of up to 64 pages count as the next power of two.
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        let kept = self
            .magazines
            .iter()
            .fold(0_u64, |sum, magazines| sum.saturating_add(magazines.lock().pages()));
        kept.saturating_add(self.depot.lock().free_pages())
    }

    /// Where the magazines for this limit are; `None` if it is too low for any.
    #[inline]
    const fn half_of(&self, limit: u64) -> Option<Half> {
        if limit > LOW_LAST {
            Some(Half::High)
        } else if limit == LOW_LAST || limit == self.last {
            Some(Half::Low)
        } else {
            None
        }
    }

    #[inline]
    fn magazines_of(&self, cpu: usize) -> Option<&Mutex<Magazines>> {
        match self.magazines.get(cpu) {
            None => self.magazines.get(cpu.checked_rem(self.magazines.len())?),
            found => found,
        }
    }

    #[inline]
    fn take_at_hand(&self, cpu: usize, pages: u64, half: Half, limit: u64) -> Option<BfnRange> {
        let (wanted, size) = (NonZeroU64::new(pages)?, Size::of(pages)?);
        let mut magazines = self.magazines_of(cpu)?.lock();
        let mut magazine = magazines.of(half, size)?;
        let kept = match magazine.pop(size, limit) {
            None => self.refill(&mut magazine, half, size, limit)?,
            Some(kept) => kept,
        };
        let Kept { first, id } = kept;
        Some(BfnRange { first, pages: wanted, owner: self.number, id, size: Some(size) })
    }

    /// Takes some ranges from the depot: one for the caller, the others for an empty magazine.
    #[cold]
    fn refill(
        &self,
        magazine: &mut Magazine<'_>,
        half: Half,
        size: Size,
        limit: u64,
    ) -> Option<Kept> {
        let lowest = match half {
            Half::Low => 0,
            Half::High => LOWEST_HIGH,
        };
        let reach = Reach { lowest, limit };
        let mut depot = self.depot.lock();
        let most = if magazine.is_empty() && !depot.is_closed() { TRANSFER } else { 1 };
        let mut one = None;
        depot.take_some(size.pages(), reach, most, |Taken { first, id }| {
            // The first is the caller's.
            if one.is_none() {
                one = Some(Kept { first, id });
            } else {
                magazine.push(Kept { first, id });
            }
        });
        one
    }

    /// What the magazines of the half do not help with.
    #[cold]
    fn allocate_otherwise(&self, cpu: usize, pages: u64, limit: u64) -> Result<BfnRange, BfnError> {
        if limit > LOW_LAST
            && let Some(range) = self.take_at_hand(cpu, pages, Half::Low, LOW_LAST)
        {
            return Ok(range);
        }
        self.allocate_aligned(pages, 1, Bfn(limit))
    }

    /// Makes room in a full magazine, and puts a range into it.
    #[cold]
    fn flush(&self, magazine: &mut Magazine<'_>, kept: Kept) {
        {
            let mut depot = self.depot.lock();
            for _ in 0..TRANSFER {
                let Some(Kept { id, .. }) = magazine.pop_oldest() else { break };
                depot.give(id);
            }
        }
        magazine.push(kept);
    }

    /// Gives all that magazines hold back to the depot.
    fn drain(&self) {
        for magazines in self.magazines {
            let mut magazines = magazines.lock();
            let mut depot = self.depot.lock();
            magazines.drain(|Kept { id, .. }| depot.give(id));
        }
    }
}

impl fmt::Debug for BfnAllocator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, last, .. } = self;
        f.debug_struct("BfnAllocator")
            .field("number", number)
            .field("last", &Bfn(*last))
            .finish_non_exhaustive()
    }
}
