//! Table frames for the service's table: a frame is where its memory is, as in a direct map.
#![expect(unsafe_code, reason = "the arena is an embedder's implementation of a platform trait")]

use std::{
    cell::RefCell,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

use pviommu_hypervisor::{
    abi::DomId,
    addr::{Mfn, MfnRange, PAGE_SHIFT},
    platform::{Pool, TABLE_ENTRIES, TableFrames},
};

/// A table as large and as aligned as its frame.
#[repr(align(4096))]
struct Words([AtomicU64; TABLE_ENTRIES]);

/// A fixed number of frames; nothing is kept account of. The other candidates do the same.
pub(crate) struct Arena {
    free: RefCell<Vec<Mfn>>,
}

impl Arena {
    /// An arena whose memory lives as long as the process.
    pub(crate) fn new(frames: usize) -> Self {
        let zeroed = || Words([const { AtomicU64::new(0) }; TABLE_ENTRIES]);
        let tables: &'static [Words] =
            Box::leak((0..frames).map(|_| zeroed()).collect::<Box<[_]>>());
        let frame = |table: &'static Words| {
            Mfn(ptr::from_ref(table).expose_provenance() as u64 >> PAGE_SHIFT)
        };
        Self { free: RefCell::new(tables.iter().map(frame).collect()) }
    }
}

// SAFETY: `free` holds each frame at most once, so an allocated one is nobody else's, and `table`
// finds the memory it was made from.
unsafe impl TableFrames for Arena {
    fn alloc(&self, _: DomId, _: Pool) -> Option<Mfn> {
        let frame = self.free.borrow_mut().pop()?;
        for word in self.table(frame) {
            word.store(0, Ordering::Relaxed);
        }
        Some(frame)
    }

    fn free(&self, _: DomId, frame: Mfn, _: Pool) {
        self.free.borrow_mut().push(frame);
    }

    fn reserve(&self, _: DomId, frames: u32) -> bool {
        self.free.borrow().len() >= frames as usize
    }

    fn unreserve(&self, _: DomId, _: u32) {}

    #[inline]
    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        let words = ptr::with_exposed_provenance::<Words>((frame.0 << PAGE_SHIFT) as usize);
        // SAFETY: the harness asks only for frames of this arena, which are aligned, initialised
        // and never given back, and are shared as atomics.
        let words: &Words = unsafe { &*words };
        &words.0
    }

    /// Nothing that the harness maps is of the arena, whose frames are where memory really is.
    fn first_table(&self, _: MfnRange) -> Option<Mfn> {
        None
    }
}
