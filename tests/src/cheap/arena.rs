//! Table frames: a frame is where its memory is, as in a direct map.
#![expect(unsafe_code, reason = "the arena is an embedder's implementation of a platform trait")]

use std::{fmt, ptr, sync::Mutex};

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::{Mfn, MfnRange, PAGE_SHIFT},
    platform::{Pool, TABLE_ENTRIES, TableFrames},
    sync::AtomicU64,
};

use crate::machine::frames::lock;

/// A table as large and as aligned as its frame.
#[repr(align(4096))]
struct Words([AtomicU64; TABLE_ENTRIES]);

/// A fixed number of frames; nothing is kept account of but how many are free and put aside.
pub struct Arena {
    free: Mutex<Free>,
    all: MfnRange,
}

struct Free {
    frames: Vec<Mfn>,
    reserved: u32,
}

impl Arena {
    /// An arena whose memory lives as long as the process.
    ///
    /// # Panics
    /// If `frames` is 0.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        let zeroed = || Words([const { AtomicU64::new(0) }; TABLE_ENTRIES]);
        let tables: &'static [Words] =
            Box::leak((0..frames).map(|_| zeroed()).collect::<Box<[_]>>());
        let frame = |table: &'static Words| {
            Mfn(ptr::from_ref(table).expose_provenance() as u64 >> PAGE_SHIFT)
        };
        let frames: Vec<Mfn> = tables.iter().map(frame).collect();
        let all = MfnRange::new(frames[0], frames[frames.len() - 1]).expect("one block of memory");
        Self { free: Mutex::new(Free { frames, reserved: 0 }), all }
    }

    /// Frames that are neither allocated nor put aside.
    #[must_use]
    pub fn free(&self) -> usize {
        let free = lock(&self.free);
        free.frames.len() - free.reserved as usize
    }
}

/// Zeroes a frame that nobody has.
fn zero(frame: Mfn) {
    let words = ptr::with_exposed_provenance_mut::<Words>((frame.0 << PAGE_SHIFT) as usize);
    // SAFETY: the frame is one of an arena, was just taken out of its list, and is nobody else's yet.
    unsafe { words.write_bytes(0, 1) };
}

// SAFETY: `free` holds each frame at most once, so an allocated one is nobody else's, and `table`
// finds the memory it was made from.
unsafe impl TableFrames for Arena {
    fn alloc(&self, _: DomId, pool: Pool) -> Option<Mfn> {
        let frame = {
            let mut free = lock(&self.free);
            match pool {
                Pool::Open if free.frames.len() <= free.reserved as usize => return None,
                Pool::Open => {}
                Pool::Reserved => free.reserved -= 1,
            }
            free.frames.pop()?
        };
        zero(frame);
        Some(frame)
    }

    fn alloc_some(&self, _: DomId, frames: &mut [Mfn]) -> usize {
        let found = {
            let mut free = lock(&self.free);
            let left = free.frames.len() - free.reserved as usize;
            let found = frames.len().min(left);
            for place in &mut frames[..found] {
                *place = free.frames.pop().expect("there are as many");
            }
            found
        };
        frames[..found].iter().for_each(|frame| zero(*frame));
        found
    }

    fn free(&self, _: DomId, frame: Mfn, pool: Pool) {
        let mut free = lock(&self.free);
        free.frames.push(frame);
        free.reserved += u32::from(pool == Pool::Reserved);
    }

    fn reserve(&self, _: DomId, frames: u32) -> bool {
        let mut free = lock(&self.free);
        let enough = free.frames.len() >= (free.reserved + frames) as usize;
        free.reserved += if enough { frames } else { 0 };
        enough
    }

    fn unreserve(&self, _: DomId, frames: u32) {
        lock(&self.free).reserved -= frames;
    }

    #[inline]
    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        let words = ptr::with_exposed_provenance::<Words>((frame.0 << PAGE_SHIFT) as usize);
        // SAFETY: the service asks only for frames of this arena, which are aligned, initialised
        // and never given back to the system, and are shared as atomics.
        let words: &Words = unsafe { &*words };
        &words.0
    }

    #[inline]
    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        self.all.overlaps(frames).then(|| self.all.first().max(frames.first()))
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("all", &self.all).finish_non_exhaustive()
    }
}
