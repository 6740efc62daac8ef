//! Published allocators of numbers.

use buddy_system_allocator::FrameAllocator;
use offset_allocator::Allocation;

use crate::allocator::{Allocator, FIRST, LAST};

/// Ordered sets of free blocks of each power of two.
pub(crate) struct Buddy(FrameAllocator<21>);

impl Allocator for Buddy {
    type Range = (usize, usize);

    const NAME: &str = "buddy_system_allocator";

    fn new() -> Self {
        let mut frames = FrameAllocator::new();
        frames.add_frame(FIRST as usize, LAST as usize + 1);
        Self(frames)
    }

    fn take(&mut self, _cpu: usize, pages: u64) -> (usize, usize) {
        (self.0.alloc(pages as usize).expect("there is room"), pages as usize)
    }

    fn give(&mut self, _cpu: usize, (first, pages): (usize, usize)) {
        self.0.dealloc(first, pages);
    }

    fn first((first, _): &(usize, usize)) -> Option<u64> {
        Some(*first as u64)
    }
}

/// Lists by size, found by bitmaps; joins free neighbours at once.
pub(crate) struct Offset(offset_allocator::Allocator);

impl Allocator for Offset {
    type Range = Allocation;

    const NAME: &str = "offset-allocator";

    fn new() -> Self {
        let pages = u32::try_from(LAST - FIRST + 1).unwrap();
        Self(offset_allocator::Allocator::with_max_allocs(pages, 1 << 14))
    }

    fn take(&mut self, _cpu: usize, pages: u64) -> Allocation {
        self.0.allocate(pages as u32).expect("there is room")
    }

    fn give(&mut self, _cpu: usize, range: Allocation) {
        self.0.free(range);
    }

    fn first(range: &Allocation) -> Option<u64> {
        Some(FIRST + u64::from(range.offset))
    }
}
