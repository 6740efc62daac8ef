//! The guest driver's allocator.

use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnRange, BfnStorage};

use crate::allocator::{Allocator, FIRST, LAST};

type Storage = BfnStorage<4096, 4>;

pub(crate) struct Ours {
    storage: &'static Storage,
    bfns: Option<BfnAllocator<'static>>,
}

impl Allocator for Ours {
    type Range = BfnRange;

    const NAME: &str = "pviommu";

    fn new() -> Self {
        // As long as the process: there are a few.
        let mut ours = Self { storage: Box::leak(Box::default()), bfns: None };
        ours.clear();
        ours
    }

    fn take(&mut self, cpu: usize, pages: u64) -> BfnRange {
        let bfns = self.bfns.as_ref().expect("there is one");
        bfns.allocate(cpu, pages, Bfn(LAST)).expect("there is room")
    }

    fn give(&mut self, cpu: usize, range: BfnRange) {
        let bfns = self.bfns.as_ref().expect("there is one");
        bfns.free(cpu, range).expect("it was taken");
    }

    fn first(range: &BfnRange) -> Option<u64> {
        Some(range.first().0)
    }

    fn clear(&mut self) {
        self.bfns = None;
        self.bfns = Some(BfnAllocator::new(Bfn(FIRST), Bfn(LAST), self.storage).unwrap());
    }
}
