//! Memory for page tables: frames of their own that follow each other, so that nobody is ever let at one.
#![expect(unsafe_code, reason = "who implements the trait vouches for what devices reach")]

use core::sync::atomic::{AtomicU64, Ordering};

use pviommu_hypervisor::{
    abi::DomId,
    addr::{Mfn, MfnRange},
    platform::{Host, Pool, TableFrames},
};
use spin::Mutex;

use super::Platform;
use crate::machine::{
    clock::Clock,
    frames::FREE,
    memory::{self, words},
};

/// The frames for tables.
pub struct TablePool {
    range: MfnRange,
    state: Mutex<State>,
}

struct State {
    /// The first of a list of frames that came back; each has the next one in its first word. 0: none.
    returned: u64,
    /// The first that was never given out.
    next: u64,
    free: u32,
    /// So many of the free ones are promised.
    reserved: u32,
}

impl TablePool {
    /// A pool of `frames` frames.
    ///
    /// # Panics
    /// If there is not as much memory.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        let range =
            FREE.alloc(frames as usize, 1).and_then(|it| MfnRange::of_pages(it, frames.into()));
        let range = range.expect("the machine has too little memory for page tables");
        let state = State { returned: 0, next: range.first().0, free: frames, reserved: 0 };
        Self { range, state: Mutex::new(state) }
    }

    /// How many frames are free.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.state.lock().free
    }
}

fn first_word(frame: Mfn) -> Option<&'static AtomicU64> {
    words(frame, 1).first()
}

// SAFETY: the frames are the pool's alone, and each is given out once until it comes back. The units find them
// where the words are, because memory is mapped one to one. `first_table` keeps devices away from all of them.
unsafe impl TableFrames for Platform {
    fn alloc(&self, _domain: DomId, pool: Pool) -> Option<Mfn> {
        let mut state = self.tables.state.lock();
        if pool == Pool::Open && state.free <= state.reserved {
            return None;
        }
        let frame = Mfn(if state.returned != 0 { state.returned } else { state.next });
        if state.returned != 0 {
            state.returned = first_word(frame)?.load(Ordering::Relaxed);
        } else {
            state.next += 1;
        }
        state.free -= 1;
        state.reserved -= u32::from(pool == Pool::Reserved);
        drop(state);
        memory::clear(frame, 1);
        Some(frame)
    }

    fn free(&self, _domain: DomId, frame: Mfn, pool: Pool) {
        let mut state = self.tables.state.lock();
        if let Some(word) = first_word(frame) {
            word.store(state.returned, Ordering::Relaxed);
            state.returned = frame.0;
            state.free += 1;
            state.reserved += u32::from(pool == Pool::Reserved);
        }
    }

    fn reserve(&self, _domain: DomId, frames: u32) -> bool {
        let mut state = self.tables.state.lock();
        let enough = state.free - state.reserved >= frames;
        state.reserved += if enough { frames } else { 0 };
        enough
    }

    fn unreserve(&self, _domain: DomId, frames: u32) {
        self.tables.state.lock().reserved -= frames;
    }

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        if self.tables.range.contains(frame) { words(frame, 1) } else { &[] }
    }

    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        self.tables.range.intersection(frames).map(MfnRange::first)
    }

    fn publish(&self, frame: Mfn, first: usize, last: usize) {
        Clock.write_back(self.table(frame).get(first..=last).unwrap_or_default());
    }
}
