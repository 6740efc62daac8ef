//! Table frames for the service's table: a frame number is an index.
#![expect(unsafe_code, reason = "the arena is an embedder's implementation of a platform trait")]

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

use pviommu_hypervisor::{
    abi::DomId,
    addr::Mfn,
    platform::{Pool, TABLE_ENTRIES, TableFrames},
};

/// A table as large and as aligned as its frame.
#[repr(align(4096))]
struct Words([AtomicU64; TABLE_ENTRIES]);

/// A fixed number of frames; nothing is kept account of.
pub(crate) struct Arena {
    tables: Box<[Words]>,
    free: RefCell<Vec<Mfn>>,
}

impl Arena {
    pub(crate) fn new(frames: u64) -> Self {
        let zeroed = || Words([const { AtomicU64::new(0) }; TABLE_ENTRIES]);
        Self {
            tables: (0..frames).map(|_| zeroed()).collect(),
            free: RefCell::new((0..frames).map(Mfn).collect()),
        }
    }
}

// SAFETY: `free` holds each frame at most once, so an allocated one is nobody else's, and its
// memory is that of the table with its number.
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

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        self.tables.get(frame.0 as usize).map_or(&[], |table| &table.0)
    }
}
