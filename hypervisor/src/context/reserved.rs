//! The ranges no guest may map in a context: those of the devices attached to it.

use pviommu_abi::Bfn;

use crate::{
    addr::BfnRange,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// Most different ranges of one context.
pub(crate) const MAX_RESERVED: usize = 16;

/// A short list of ranges with use counts. Changed only while nobody is inside the context, and
/// read in a snapshot that the epoch guards, so its words need no order of their own.
pub(crate) struct ReservedRanges([Slot; MAX_RESERVED]);

struct Slot {
    first: AtomicU64,
    last: AtomicU64,
    uses: AtomicU32,
}

impl Slot {
    fn range(&self) -> Option<BfnRange> {
        let used = self.uses.load(Ordering::Relaxed) > 0;
        let bfn = |word: &AtomicU64| Bfn(word.load(Ordering::Relaxed));
        if used { BfnRange::new(bfn(&self.first), bfn(&self.last)) } else { None }
    }
}

impl ReservedRanges {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| Slot {
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            uses: AtomicU32::new(0),
        }))
    }

    pub(crate) fn snapshot(&self) -> heapless::Vec<BfnRange, MAX_RESERVED> {
        let mut ranges = heapless::Vec::new();
        for range in self.0.iter().filter_map(Slot::range) {
            // There is room for as many as there are slots; collecting would panic without.
            let _ = ranges.push(range);
        }
        ranges
    }

    /// Adds one use of each range, of all or none; false if there is no room for all.
    pub(crate) fn add(&self, ranges: impl Iterator<Item = BfnRange> + Clone) -> bool {
        let mut added = 0usize;
        for range in ranges.clone() {
            if !self.add_one(range) {
                self.remove(ranges.take(added));
                return false;
            }
            added = added.saturating_add(1);
        }
        true
    }

    fn add_one(&self, range: BfnRange) -> bool {
        let same = self.0.iter().find(|slot| slot.range() == Some(range));
        let Some(slot) = same.or_else(|| self.0.iter().find(|slot| slot.range().is_none())) else {
            return false;
        };
        slot.first.store(range.first().0, Ordering::Relaxed);
        slot.last.store(range.last().0, Ordering::Relaxed);
        slot.uses.fetch_add(1, Ordering::Relaxed);
        true
    }

    pub(crate) fn remove(&self, ranges: impl Iterator<Item = BfnRange>) {
        for range in ranges {
            if let Some(slot) = self.0.iter().find(|slot| slot.range() == Some(range)) {
                slot.uses.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
