//! An allocator that is watched.

use std::collections::BTreeMap;

use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnRange, BfnStorage};

/// All below 4 GiB.
const LAST: u64 = 0xf_ffff;
const RANGES: usize = 4096;
pub(crate) const CPUS: usize = 4;
/// Pages that a CPU may have at hand, in ranges of seven sizes.
pub(crate) const AT_HAND: u64 = 256 + 128 + 128 + 256 + 512 + 512 + 1024;

/// What was seen at worst.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Worst {
    /// The pages that were handed out at a time, sizes rounded up as magazines do.
    pub(crate) pages: u64,
    /// The pages from the lowest frame that was handed out up to the highest there is.
    pub(crate) span: u64,
    /// The ranges that were handed out at a time.
    pub(crate) ranges: usize,
    /// The gaps between these, each of a free range or more.
    pub(crate) gaps: usize,
}

/// An allocator, and what it handed out.
pub(crate) struct Watched {
    bfns: BfnAllocator<'static>,
    /// Where each range ends, by its first frame.
    taken: BTreeMap<u64, u64>,
    pages: u64,
    pub(crate) worst: Worst,
}

impl Watched {
    pub(crate) fn new() -> Self {
        let storage: &'static BfnStorage<RANGES, CPUS> = Box::leak(Box::default());
        let bfns = BfnAllocator::new(Bfn(1), Bfn(LAST), storage).unwrap();
        Self { bfns, taken: BTreeMap::new(), pages: 0, worst: Worst::default() }
    }

    pub(crate) fn take(&mut self, cpu: usize, pages: u64) -> BfnRange {
        let range = self.bfns.allocate(cpu, pages, Bfn(LAST)).unwrap();
        let first = range.first().0;
        self.taken.insert(first, first + pages);
        self.pages += rounded(pages);
        self.worst.pages = self.worst.pages.max(self.pages);
        self.worst.span = self.worst.span.max(LAST + 1 - first);
        self.worst.ranges = self.worst.ranges.max(self.taken.len());
        range
    }

    pub(crate) fn give(&mut self, cpu: usize, range: BfnRange) {
        self.taken.remove(&range.first().0).unwrap();
        self.pages -= rounded(range.pages());
        self.bfns.free(cpu, range).unwrap();
    }

    /// Counts the gaps there are now.
    pub(crate) fn look(&mut self) {
        let mut end = 0;
        let mut gaps = 0;
        for (first, after) in &self.taken {
            gaps += usize::from(*first != end);
            end = *after;
        }
        self.worst.gaps = self.worst.gaps.max(gaps);
    }

    /// Everything that can be had in one piece, once all is given back.
    pub(crate) fn largest(&self) -> u64 {
        assert!(self.taken.is_empty());
        let all = self.bfns.allocate(0, 3 << 18, Bfn(LAST)).unwrap();
        let pages = all.pages();
        self.bfns.free(0, all).unwrap();
        pages
    }
}

fn rounded(pages: u64) -> u64 {
    if pages <= 64 { pages.next_power_of_two() } else { pages }
}
