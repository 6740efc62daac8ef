//! What was unmapped and is flushed later: the record of one context.
//!
//! ```text
//!   unmap, no flush yet            flush                      give back, piece by piece
//!  ───────────────────► waiting ──────────► ready to give back ────────────────────────► released
//!                         │
//!                         └ filter: one bit for a bus frame modulo 32768
//! ```
//!
//! Runs of pages stand in frames of the domain's share, one word a run. The filter says whether a
//! bus frame may be among those that wait: a map there is flushed before it returns. It may say yes
//! for another bus frame with the same bit, which costs a flush and nothing else.

use core::mem;

use pviommu_abi::Bfn;

use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    flush::Span,
    platform::{Access, PageKind, Run, Runs, TableFrames},
    sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering},
};

/// Most pages of one run in the record.
const MAX_RUN: u64 = 1 << PAGES_BITS;

/// Runs that one unmap can add: there is room for them before it begins.
const RUNS_AT_ONCE: u64 = 256;

/// ```text
///  63         14 13        2 1     0
/// │ first frame │ pages - 1 │ access │
/// ```
const ACCESS_BITS: u32 = 2;
const PAGES_BITS: u32 = 12;
const FRAME_SHIFT: u32 = ACCESS_BITS + PAGES_BITS;

/// The removals of a context that wait.
#[derive(Debug)]
pub(crate) struct Deferred {
    record: Mutex<Waiting>,
    /// Not 0 while the record holds anything. Set before a page is unmapped, under the lock.
    active: AtomicU32,
}

/// The record, locked. No platform method but entry access and the units' is called meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Bus frames that may be cached still.
    span: Span,
    filter: Option<Mfn>,
    waiting: Chain,
    ready: Chain,
}

/// Frames full of runs: in each, the next frame, the number of runs, the runs.
#[derive(Debug, Default)]
struct Chain {
    head: Option<Mfn>,
}

const NEXT: usize = 0;
const COUNT: usize = 1;
const FIRST_RUN: usize = 2;

impl Deferred {
    pub(crate) fn new() -> Self {
        Self { record: Mutex::new(Waiting::default()), active: AtomicU32::new(0) }
    }

    /// True if anything waits, or is to be given back.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) != 0
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.record.lock()
    }

    /// Keeps [`is_active`](Self::is_active) in step with `record`, which is locked.
    pub(crate) fn settle(&self, record: &Waiting) {
        let idle = record.span.range().is_none() && record.ready.head.is_none();
        self.active.store(u32::from(!idle), Ordering::Release);
    }

    /// Locks the record and says of `range`, at most [`RUNS_AT_ONCE`] pages, that it waits from now
    /// on. Before the first of them is unmapped: who maps there afterwards sees that it waits.
    pub(crate) fn begin(
        &self,
        frames: &impl TableFrames,
        range: BfnRange,
    ) -> MutexGuard<'_, Waiting> {
        let record = self.record.lock();
        self.active.store(1, Ordering::Release);
        record.mark(frames, range);
        record
    }
}

impl Waiting {
    /// True if an unmap of [`RUNS_AT_ONCE`] pages can be recorded.
    pub(crate) fn has_room(&self, frames: &impl TableFrames) -> bool {
        self.filter.is_some() && self.waiting.room(frames) >= RUNS_AT_ONCE
    }

    /// Takes a zeroed frame to make room.
    pub(crate) fn add_room(&mut self, frames: &impl TableFrames, frame: Mfn) {
        if self.filter.is_none() {
            self.filter = Some(frame);
        } else {
            self.waiting.grow(frames, frame);
        }
    }

    fn mark(&self, frames: &impl TableFrames, range: BfnRange) {
        for bfn in range.first().0..=range.last().0 {
            if let Some((word, bit)) = self.bit(frames, Bfn(bfn)) {
                word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
            }
        }
    }

    /// True if a bus frame of `range` may be among those that wait.
    pub(crate) fn may_hold(&self, frames: &impl TableFrames, range: BfnRange) -> bool {
        let bits = self.filter.map_or(0, |filter| frames.table(filter).len().saturating_mul(64));
        let all = u64::try_from(bits).unwrap_or(0);
        range.pages() >= all
            || (range.first().0..=range.last().0).any(|bfn| {
                let bit = self.bit(frames, Bfn(bfn));
                bit.is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
            })
    }

    fn bit<'t>(&self, frames: &'t impl TableFrames, bfn: Bfn) -> Option<(&'t AtomicU64, u64)> {
        let words = frames.table(self.filter?);
        let number = usize::try_from(bfn.0 / 64).ok()?.checked_rem(words.len())?;
        Some((words.get(number)?, 1u64.checked_shl(u32::try_from(bfn.0 % 64).ok()?)?))
    }

    /// Records what an unmap took out. There is room: else pages are held for ever, as many as it says.
    pub(crate) fn add(&mut self, frames: &impl TableFrames, leaves: BfnRange, runs: &Runs) -> u64 {
        self.span.widen(leaves);
        let mut lost = 0u64;
        for run in runs.iter() {
            if !self.waiting.push(frames, &run) {
                lost = lost.saturating_add(run.frames.pages());
            }
        }
        lost
    }

    /// What has to be flushed before anything here may be given back.
    pub(crate) fn span(&self) -> Option<BfnRange> {
        self.span.range()
    }

    /// It was flushed: what waited is ready to be given back.
    pub(crate) fn flushed(&mut self, frames: &impl TableFrames) {
        let waited = mem::take(&mut self.waiting);
        self.ready.prepend(frames, waited);
        self.forget(frames);
    }

    /// It cannot be flushed: forgets what waits, which is then held for ever. How many pages and
    /// frames that is.
    pub(crate) fn abandon(&mut self, frames: &impl TableFrames) -> (u64, u64) {
        let mut lost = mem::take(&mut self.waiting);
        let (mut pages, mut tables) = (0u64, 0u64);
        while let Some(popped) = lost.pop(frames) {
            pages = pages.saturating_add(popped.run.map_or(0, |run| run.frames.pages()));
            tables = tables.saturating_add(u64::from(popped.emptied.is_some()));
        }
        self.forget(frames);
        (pages, tables)
    }

    fn forget(&mut self, frames: &impl TableFrames) {
        self.span = Span::EMPTY;
        for word in self.filter.map_or(&[][..], |filter| frames.table(filter)) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Takes a run that may be given back, or a frame without runs, or both.
    pub(crate) fn take_ready(&mut self, frames: &impl TableFrames) -> Option<Popped> {
        self.ready.pop(frames)
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.ready.head.is_some()
    }

    /// A frame of the record, when nothing waits any more and the record goes.
    pub(crate) fn take_frame(&mut self, frames: &impl TableFrames) -> Option<Mfn> {
        while let Some(popped) = self.waiting.pop(frames).or_else(|| self.ready.pop(frames)) {
            if popped.emptied.is_some() {
                return popped.emptied;
            }
        }
        self.filter.take()
    }
}

/// What was taken out of a chain.
pub(crate) struct Popped {
    pub(crate) run: Option<Run>,
    /// A frame that is not in the chain any more.
    pub(crate) emptied: Option<Mfn>,
}

impl Chain {
    fn words<'t>(&self, frames: &'t impl TableFrames) -> &'t [AtomicU64] {
        self.head.map_or(&[], |head| frames.table(head))
    }

    fn room(&self, frames: &impl TableFrames) -> u64 {
        let words = self.words(frames);
        let used = words.get(COUNT).map_or(0, |count| count.load(Ordering::Relaxed));
        let slots = words.len().saturating_sub(FIRST_RUN);
        u64::try_from(slots).unwrap_or(0).saturating_sub(used)
    }

    fn grow(&mut self, frames: &impl TableFrames, frame: Mfn) {
        let next = self.head.map_or(0, |head| head.0.wrapping_add(1));
        if let Some(word) = frames.table(frame).get(NEXT) {
            word.store(next, Ordering::Relaxed);
        }
        self.head = Some(frame);
    }

    fn next(words: &[AtomicU64]) -> Option<Mfn> {
        words.get(NEXT)?.load(Ordering::Relaxed).checked_sub(1).map(Mfn)
    }

    /// Appends a run, in as many words as it takes; false if there is no room.
    fn push(&mut self, frames: &impl TableFrames, run: &Run) -> bool {
        let words = self.words(frames);
        let Some(count) = words.get(COUNT) else { return false };
        let mut first = run.frames.first().0;
        let mut left = run.frames.pages();
        while left > 0 {
            let pages = left.min(MAX_RUN);
            let used = usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
            let Some(slot) = words.get(used.saturating_add(FIRST_RUN)) else { return false };
            let word = (first << FRAME_SHIFT)
                | (pages.saturating_sub(1) << ACCESS_BITS)
                | u64::from(run.access.bits());
            slot.store(word, Ordering::Relaxed);
            count.fetch_add(1, Ordering::Relaxed);
            first = first.wrapping_add(pages);
            left = left.saturating_sub(pages);
        }
        true
    }

    fn pop(&mut self, frames: &impl TableFrames) -> Option<Popped> {
        let head = self.head?;
        let words = frames.table(head);
        let count = words.get(COUNT).map_or(0, |count| count.load(Ordering::Relaxed));
        let left = count.checked_sub(1);
        let run = left.and_then(|left| {
            let index = usize::try_from(left).ok()?.checked_add(FIRST_RUN)?;
            decode(words.get(index)?.load(Ordering::Relaxed))
        });
        if let (Some(left), Some(word)) = (left.filter(|left| *left != 0), words.get(COUNT)) {
            word.store(left, Ordering::Relaxed);
            return Some(Popped { run, emptied: None });
        }
        self.head = Self::next(words);
        Some(Popped { run, emptied: Some(head) })
    }

    /// Puts all of `other` before what is here. A walk over the frames of `other`, a few.
    fn prepend(&mut self, frames: &impl TableFrames, other: Self) {
        let Some(first) = other.head else { return };
        let mut last = first;
        while let Some(next) = Self::next(frames.table(last)) {
            last = next;
        }
        if let Some(word) = frames.table(last).get(NEXT) {
            word.store(self.head.map_or(0, |head| head.0.wrapping_add(1)), Ordering::Relaxed);
        }
        self.head = Some(first);
    }
}

fn decode(word: u64) -> Option<Run> {
    let pages = (word >> ACCESS_BITS) & (MAX_RUN - 1);
    let frames = MfnRange::of_pages(Mfn(word >> FRAME_SHIFT), pages.saturating_add(1))?;
    let access = u8::try_from(word & ((1 << ACCESS_BITS) - 1)).ok()?;
    Some(Run { frames, kind: PageKind::Ram, access: Access::from_bits_retain(access) })
}
