//! Lists of frames: what was acquired, and what is to be released.

use core::{fmt, slice};

use super::{Access, ForeignHandle, PageKind, Run};
use crate::{
    addr::{Mfn, MfnRange},
    sync::room,
};

/// Most runs that [`Runs`] holds: a call acquires and releases at most this many at a time.
pub const MAX_RUNS: usize = room(256);

/// The list of runs is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunsFull;

/// What is said of all frames of a run, in two words that are compared without a branch.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Like {
    /// Access below, kind above.
    bits: u16,
    handle: u64,
}

impl Like {
    /// What no run is like.
    const NOTHING: Self = Self { bits: u16::MAX, handle: 0 };

    #[inline]
    fn new(kind: PageKind, access: Access) -> Self {
        let (kind, handle) = match kind {
            PageKind::Ram => (RAM, 0),
            PageKind::Mmio => (MMIO, 0),
            PageKind::Foreign(handle) => (FOREIGN, handle.0),
        };
        Self { bits: kind | u16::from(access.bits()), handle }
    }

    #[inline]
    fn kind(self) -> PageKind {
        match self.bits & KINDS {
            RAM => PageKind::Ram,
            MMIO => PageKind::Mmio,
            _ => PageKind::Foreign(ForeignHandle(self.handle)),
        }
    }

    #[inline]
    fn access(self) -> Access {
        let [low, _] = self.bits.to_le_bytes();
        Access::from_bits_retain(low)
    }
}

const KINDS: u16 = 3 << 8;
const RAM: u16 = 0;
const MMIO: u16 = 1 << 8;
const FOREIGN: u16 = 2 << 8;

/// A bounded list of runs; one that follows on the last is joined to it.
///
/// Runs are most often alike but for their frames. What is said of them then stands here once, beside their sum and
/// their hull, so that such a list is checked as a whole; only of a mixed list it is kept for each run.
pub struct Runs {
    frames: [MfnRange; MAX_RUNS],
    len: usize,
    /// The number of the frame after the last one; 0 if there is none.
    follows: u64,
    /// What all runs are like; nothing if there are none, or if they are mixed.
    like: Like,
    /// What each run of a mixed list is like.
    each: heapless::Vec<Like, MAX_RUNS>,
    pages: u64,
    lowest: Mfn,
    highest: Mfn,
}

/// Each run of a list.
#[derive(Clone)]
struct Each<'r> {
    frames: slice::Iter<'r, MfnRange>,
    like: Like,
    each: slice::Iter<'r, Like>,
}

impl Iterator for Each<'_> {
    type Item = Run;

    #[inline]
    fn next(&mut self) -> Option<Run> {
        let frames = *self.frames.next()?;
        let like = match self.like {
            Like::NOTHING => *self.each.next()?,
            alike => alike,
        };
        Some(Run { frames, kind: like.kind(), access: like.access() })
    }
}

/// Runs that are alike but for their frames.
#[derive(Clone, Copy, Debug)]
pub struct AlikeRuns<'r> {
    /// The frames of each run.
    pub frames: &'r [MfnRange],
    /// What they are.
    pub kind: PageKind,
    /// What devices may do there.
    pub access: Access,
}

impl AlikeRuns<'_> {
    /// Number of frames in all runs.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.frames.iter().fold(0, |pages, run| pages.saturating_add(run.pages()))
    }
}

impl<'r> From<&'r Run> for AlikeRuns<'r> {
    fn from(run: &'r Run) -> Self {
        let frames = slice::from_ref(&run.frames);
        Self { frames, kind: run.kind, access: run.access }
    }
}

impl Runs {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: [MfnRange::fixed(Mfn(0), Mfn(0)); MAX_RUNS],
            len: 0,
            follows: 0,
            like: Like::NOTHING,
            each: heapless::Vec::new(),
            pages: 0,
            lowest: Mfn(u64::MAX),
            highest: Mfn(0),
        }
    }

    /// Appends a run.
    ///
    /// # Errors
    /// [`RunsFull`] if it does not follow on the last and there is no room; nothing is appended.
    #[inline]
    pub fn push(&mut self, run: Run) -> Result<(), RunsFull> {
        let like = Like::new(run.kind, run.access);
        // Most often it is like the others, and does not follow on the last.
        if like == self.like && run.frames.first().0 != self.follows {
            self.append(run.frames)?;
        } else {
            self.push_unusual(run.frames, like)?;
        }
        self.follows = run.frames.last().0.wrapping_add(1);
        self.pages = self.pages.saturating_add(run.frames.pages());
        self.lowest = self.lowest.min(run.frames.first());
        self.highest = self.highest.max(run.frames.last());
        Ok(())
    }

    #[inline]
    fn append(&mut self, frames: MfnRange) -> Result<(), RunsFull> {
        *self.frames.get_mut(self.len).ok_or(RunsFull)? = frames;
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// Appends the first frames, or some that follow on the last, or that are not like all before them.
    fn push_unusual(&mut self, frames: MfnRange, like: Like) -> Result<(), RunsFull> {
        let before = self.len;
        if before == 0 {
            self.like = like;
        }
        let alike = like == self.like;
        let last_like = self.each.last().copied().unwrap_or(self.like);
        if like == last_like && self.join(frames) {
            return Ok(());
        }
        self.append(frames)?;
        if !alike {
            // There is room for as many as there are runs.
            while self.each.len() < before && self.each.push(self.like).is_ok() {}
            let _ = self.each.push(like);
            self.like = Like::NOTHING;
        }
        Ok(())
    }

    /// Joins frames to the last run, if they follow on it.
    fn join(&mut self, frames: MfnRange) -> bool {
        let last = self.len.checked_sub(1).and_then(|last| self.frames.get_mut(last));
        let last = last.filter(|last| last.last().checked_add(1) == Some(frames.first()));
        let Some(last) = last else { return false };
        *last = MfnRange::fixed(last.first(), frames.last());
        true
    }

    /// Appends the frames that `frames` tells, one by one, all of one kind and access, while there is room; how many.
    ///
    /// A frame is asked for only when there is room for it, so each that `frames` takes a reference on is appended.
    #[inline]
    pub fn push_each(
        &mut self,
        kind: PageKind,
        access: Access,
        frames: impl IntoIterator<Item = Mfn>,
    ) -> u64 {
        let before = self.pages;
        let like = Like::new(kind, access);
        if self.is_empty() {
            self.like = like;
        }
        if self.like == like {
            self.append_each(&mut frames.into_iter());
            if self.is_empty() {
                self.like = Like::NOTHING;
            }
        } else {
            self.push_unlike(kind, access, frames.into_iter());
        }
        self.pages.saturating_sub(before)
    }

    /// The same where they are not like all before them.
    #[cold]
    fn push_unlike(
        &mut self,
        kind: PageKind,
        access: Access,
        mut frames: impl Iterator<Item = Mfn>,
    ) {
        while !self.is_full()
            && let Some(frame) = frames.next()
        {
            // There is room.
            let _ = self.push(Run { frames: MfnRange::single(frame), kind, access });
        }
    }

    /// The same where all runs are alike, also with these: what changes with each frame stays in registers.
    #[inline]
    fn append_each(&mut self, frames: &mut impl Iterator<Item = Mfn>) {
        let (before, free) = self.frames.split_at_mut_checked(self.len).unwrap_or_default();
        let mut last = before.last_mut();
        let room = free.len();
        let mut free = free.iter_mut();
        let (mut pages, mut follows) = (0u64, self.follows);
        let (mut lowest, mut highest) = (self.lowest, self.highest);
        while free.len() > 0
            && let Some(frame) = frames.next()
        {
            pages = pages.wrapping_add(1);
            lowest = lowest.min(frame);
            highest = highest.max(frame);
            // One comparison most often. By itself it is true of frame 0 after the last that there is, too.
            if frame.0 == follows
                && let Some(run) = &mut last
                && run.last().checked_add(1) == Some(frame)
            {
                **run = MfnRange::fixed(run.first(), frame);
            } else {
                let Some(slot) = free.next() else { break };
                *slot = MfnRange::single(frame);
                last = Some(slot);
            }
            follows = frame.0.wrapping_add(1);
        }
        self.follows = follows;
        self.len = self.len.saturating_add(room.saturating_sub(free.len()));
        self.pages = self.pages.saturating_add(pages);
        (self.lowest, self.highest) = (lowest, highest);
    }

    /// The runs, in the order they were appended.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Run> + Clone + '_ {
        Each { frames: self.frames().iter(), like: self.like, each: self.each.iter() }
    }

    #[inline]
    fn frames(&self) -> &[MfnRange] {
        self.frames.get(..self.len).unwrap_or_default()
    }

    /// The runs from number `first` on that are alike; `None` if there is no run of that number.
    #[must_use]
    #[inline]
    pub fn alike_from(&self, first: usize) -> Option<AlikeRuns<'_>> {
        match self.all_alike() {
            Some(all) if first == 0 => Some(all),
            _ => self.alike_among_mixed(first),
        }
    }

    fn alike_among_mixed(&self, first: usize) -> Option<AlikeRuns<'_>> {
        let rest = self.frames().get(first..).filter(|rest| !rest.is_empty())?;
        let likes = self.each.get(first..).unwrap_or_default();
        let like = *likes.first().unwrap_or(&self.like);
        let other = likes.iter().position(|other| *other != like).unwrap_or(rest.len());
        let frames = rest.get(..other).unwrap_or(rest);
        Some(AlikeRuns { frames, kind: like.kind(), access: like.access() })
    }

    /// All runs, if there are any and they are alike.
    #[must_use]
    #[inline]
    pub fn all_alike(&self) -> Option<AlikeRuns<'_>> {
        let (kind, access) = (self.like.kind(), self.like.access());
        let alike = self.like != Like::NOTHING;
        alike.then_some(AlikeRuns { frames: self.frames(), kind, access })
    }

    /// The first run.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<Run> {
        let like = *self.each.first().unwrap_or(&self.like);
        let frames = *self.frames().first()?;
        Some(Run { frames, kind: like.kind(), access: like.access() })
    }

    /// Number of runs.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if [`push`](Self::push) can fail.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len >= MAX_RUNS
    }

    /// Number of frames in all runs.
    #[must_use]
    #[inline]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The smallest range that all frames are in.
    #[inline]
    pub(crate) fn hull(&self) -> Option<MfnRange> {
        MfnRange::new(self.lowest, self.highest)
    }

    /// Forgets all runs; what they stand for must have been handed on.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
        self.follows = 0;
        self.like = Like::NOTHING;
        self.each.clear();
        self.pages = 0;
        (self.lowest, self.highest) = (Mfn(u64::MAX), Mfn(0));
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
