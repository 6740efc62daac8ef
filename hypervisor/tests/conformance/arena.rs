//! Table memory: as the CPU writes it, and as a walker sees it that does not snoop.
#![expect(unsafe_code, reason = "the suite provides table frames")]

use std::cell::{Cell, RefCell};

use pviommu_hypervisor::{
    abi::DomId,
    addr::{Mfn, MfnRange},
    platform::{Pool, TableFrames},
    sync::{AtomicU64, Ordering},
};

/// Number of the first table frame.
const FIRST: u64 = 0x100;
/// What a walker sees in a frame that nothing was published of.
const NEVER_PUBLISHED: u64 = 0x5a5a_5a5a_5a5a_5a5a;

struct Frame {
    words: Box<[AtomicU64]>,
    published: Box<[AtomicU64]>,
    live: Cell<bool>,
}

/// What is called when entries were published.
type Watch = Box<dyn Fn(&Arena)>;

/// Frames that hold one table each.
pub(crate) struct Arena {
    frames: Vec<Frame>,
    reserved: Cell<u32>,
    watch: RefCell<Option<Watch>>,
}

impl Arena {
    /// `count` free frames for tables of `entries` entries.
    pub(crate) fn new(count: usize, entries: usize) -> Self {
        let words = |word| (0..entries).map(|_| AtomicU64::new(word)).collect();
        let frame =
            || Frame { words: words(0), published: words(NEVER_PUBLISHED), live: Cell::new(false) };
        let frames = std::iter::repeat_with(frame).take(count).collect();
        Self { frames, reserved: Cell::new(0), watch: RefCell::new(None) }
    }

    /// Frames in use.
    pub(crate) fn live(&self) -> usize {
        self.frames.iter().filter(|frame| frame.live.get()).count()
    }

    /// Frames put aside.
    pub(crate) fn reserved(&self) -> u32 {
        self.reserved.get()
    }

    /// Has `watch` called whenever something is published, until it is replaced.
    pub(crate) fn watch(&self, watch: Option<Watch>) {
        *self.watch.borrow_mut() = watch;
    }

    /// What a walker reads.
    pub(crate) fn read(&self, table: Mfn, index: usize, snoops: bool) -> u64 {
        let frame = self.frame(table);
        let words = if snoops { &frame.words } else { &frame.published };
        words[index].load(Ordering::Acquire)
    }

    fn frame(&self, table: Mfn) -> &Frame {
        let index = usize::try_from(table.0.wrapping_sub(FIRST)).unwrap();
        let frame = self.frames.get(index).filter(|frame| frame.live.get());
        frame.unwrap_or_else(|| panic!("{table:?} is no table"))
    }
}

// SAFETY: each frame is handed out once until it comes back, and its memory is nobody else's.
unsafe impl TableFrames for Arena {
    fn alloc(&self, _: DomId, pool: Pool) -> Option<Mfn> {
        if pool == Pool::Reserved {
            self.reserved.set(self.reserved.get().checked_sub(1).expect("it was put aside"));
        }
        let index = self.frames.iter().position(|frame| !frame.live.get())?;
        let frame = &self.frames[index];
        frame.live.set(true);
        frame.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        frame.published.iter().for_each(|word| word.store(NEVER_PUBLISHED, Ordering::Relaxed));
        Some(Mfn(FIRST + index as u64))
    }

    fn free(&self, _: DomId, frame: Mfn, pool: Pool) {
        self.frame(frame).live.set(false);
        if pool == Pool::Reserved {
            self.reserved.set(self.reserved.get() + 1);
        }
    }

    fn reserve(&self, _: DomId, frames: u32) -> bool {
        self.reserved.set(self.reserved.get() + frames);
        true
    }

    fn unreserve(&self, _: DomId, frames: u32) {
        self.reserved.set(self.reserved.get().checked_sub(frames).expect("they were put aside"));
    }

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        &self.frame(frame).words
    }

    fn first_table(&self, frames: MfnRange) -> Option<Mfn> {
        Some(frames.first()).filter(|first| first.0.wrapping_sub(FIRST) < self.frames.len() as u64)
    }

    fn publish(&self, frame: Mfn, first: usize, last: usize) {
        let Frame { words, published, .. } = self.frame(frame);
        for (word, seen) in words[first..=last].iter().zip(&published[first..=last]) {
            seen.store(word.load(Ordering::Relaxed), Ordering::Release);
        }
        if let Some(watch) = &*self.watch.borrow() {
            watch(self);
        }
    }
}
