//! What must be invalidated before anything is given back.
//!
//! Page references and table frames that leave a table go into a [`PendingFlush`]. Its only exit
//! is [`complete`](PendingFlush::complete), which invalidates, waits, and only then releases
//! (INV-20, INV-07). Dropped without it, everything in it stays held for ever: a leak, but no
//! device reaches what is someone else's.

use pviommu_abi::Bfn;

use crate::{
    addr::{BfnRange, Mfn},
    format::MAX_LEVELS,
    platform::{Invalidation, PageKind, Run, Runs},
};

/// Table frames that are enough for one flush.
const ENOUGH_TABLES: usize = 16;

/// Most table frames a flush can wait for: the last page that is unmapped may empty a table a level.
const MAX_TABLES: usize = ENOUGH_TABLES + MAX_LEVELS;

/// Pages that wait for one flush at most, but for those of one leaf more: an embedder may count them one
/// by one when they are given back.
const MAX_PAGES: u64 = 4096;

/// Room for what changed in a table, and for what waits for the flush.
///
/// Lent to one edit at a time: it is too large for a stack, and to be moved about.
#[derive(Debug, Default)]
pub struct FlushRoom {
    /// Turned from not present to present: units that cache that, or have a write buffer.
    added: Span,
    /// Present leaves changed.
    leaves: Span,
    /// Present entries above the leaves changed, with the span they stand for.
    tables: Span,
    released: Runs,
    freed: heapless::Vec<Mfn, MAX_TABLES>,
    unreserved: u32,
    /// What there was no room for, so that it is held for ever: pages and table frames.
    lost: (u64, u64),
    /// What is added now is made visible by a later call.
    sync_later: bool,
}

/// What changed in a table, and what waits for the flush.
#[must_use = "what is in it is released by `complete` only"]
#[derive(Debug)]
pub struct PendingFlush<'r>(&'r mut FlushRoom);

/// What a completed flush has to give back.
#[derive(Debug)]
pub struct Released<'r> {
    /// Runs whose references no device can use any more.
    pub runs: &'r Runs,
    /// Table frames that no unit can walk any more.
    pub tables: &'r [Mfn],
    /// Reserved table frames that no leaf needs any more.
    pub unreserved: u32,
}

/// The smallest range of bus frames that holds all it was widened by. Empty is `first > last`, so
/// that it widens without a branch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    first: Bfn,
    last: Bfn,
}

impl Span {
    pub(crate) const EMPTY: Self = Self { first: Bfn(u64::MAX), last: Bfn(0) };

    #[inline]
    pub(crate) fn widen(&mut self, by: BfnRange) {
        self.first = self.first.min(by.first());
        self.last = self.last.max(by.last());
    }

    #[inline]
    fn is_empty(self) -> bool {
        self.first > self.last
    }

    pub(crate) fn range(self) -> Option<BfnRange> {
        // Not `BfnRange::new`, which is `None` for all frames there are.
        let ends = BfnRange::single(self.first).union(BfnRange::single(self.last));
        (self.first <= self.last).then_some(ends)
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl FlushRoom {
    /// Room with nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            added: Span::EMPTY,
            leaves: Span::EMPTY,
            tables: Span::EMPTY,
            released: Runs::new(),
            freed: heapless::Vec::new(),
            unreserved: 0,
            lost: (0, 0),
            sync_later: false,
        }
    }

    /// Forgets what is in it. Not by a new one, which would be moved here.
    fn clear(&mut self) {
        self.added = Span::EMPTY;
        self.leaves = Span::EMPTY;
        self.tables = Span::EMPTY;
        self.released.clear();
        self.freed.clear();
        self.unreserved = 0;
        self.lost = (0, 0);
        self.sync_later = false;
    }
}

impl<'r> PendingFlush<'r> {
    /// Nothing to flush yet. What was left in `room` is forgotten, and so held for ever.
    pub fn new(room: &'r mut FlushRoom) -> Self {
        room.clear();
        Self(room)
    }

    /// Entries of `range` turned present where nothing was.
    #[inline]
    pub(crate) fn added(&mut self, range: BfnRange) {
        if !self.0.sync_later {
            self.0.added.widen(range);
        }
    }

    /// Forgets what turned present: no unit is to be told.
    #[inline]
    pub(crate) fn forget_added(&mut self) {
        self.0.added = Span::EMPTY;
    }

    /// True if nothing changed that a unit is to be told of, and nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let room = &*self.0;
        let unchanged = room.added.is_empty() && room.leaves.is_empty() && room.tables.is_empty();
        let waits = !room.released.is_empty() || !room.freed.is_empty() || room.unreserved != 0;
        unchanged && !waits && room.lost == (0, 0)
    }

    /// From now on, leaves what is added to a call that makes it visible.
    #[inline]
    pub(crate) fn sync_later(&mut self, later: bool) {
        self.0.sync_later = later;
    }

    /// The leaves changed and the references they held, if that is all, and all of the domain's own
    /// memory: what may wait for a later flush. What is taken so is not flushed here any more.
    pub(crate) fn take_leaves(&mut self) -> Option<(BfnRange, &Runs)> {
        let room = &mut *self.0;
        let only_leaves =
            room.tables.range().is_none() && room.freed.is_empty() && room.unreserved == 0;
        // A record of what waits has no room for handles.
        let own = room.released.iter().all(|run| run.kind == PageKind::Ram);
        let leaves = room.leaves.range().filter(|_| only_leaves && own)?;
        room.leaves = Span::EMPTY;
        Some((leaves, &room.released))
    }

    /// Present leaves of `range` changed.
    pub(crate) fn changed_leaves(&mut self, range: BfnRange) {
        self.0.leaves.widen(range);
    }

    /// A present entry above the leaves changed, which stands for `range`.
    pub(crate) fn changed_tables(&mut self, range: BfnRange) {
        self.0.tables.widen(range);
    }

    /// Forgets what is in it: it is somebody else's to release.
    pub(crate) fn forget(&mut self) {
        let lost = self.0.lost;
        self.0.clear();
        self.0.lost = lost;
    }

    /// True if no further run may be taken.
    pub(crate) fn runs_full(&self) -> bool {
        self.0.released.is_full() || self.0.released.pages() >= MAX_PAGES
    }

    /// True if table frames wait.
    pub(crate) fn has_tables(&self) -> bool {
        !self.0.freed.is_empty()
    }

    /// True if there may be no room for a table a level.
    pub(crate) fn tables_full(&self) -> bool {
        self.0.freed.len() >= ENOUGH_TABLES
    }

    /// Takes the references of pages that left the table. Room was asked for.
    #[inline(always)]
    pub(crate) fn take_run(&mut self, run: Run) {
        let pages = run.frames.pages();
        if self.0.released.push(run).is_err() {
            // Not reached: every caller asks `runs_full` first.
            self.lose_pages(pages);
        }
    }

    /// So many pages left the table, and what holds them is not known.
    #[cold]
    pub(crate) fn lose_pages(&mut self, pages: u64) {
        let (before, tables) = self.0.lost;
        self.0.lost = (before.saturating_add(pages), tables);
    }

    /// A table frame left the table, and there is no room for it.
    #[cold]
    pub(crate) fn lose_table(&mut self) {
        let (pages, tables) = self.0.lost;
        self.0.lost = (pages, tables.saturating_add(1));
    }

    /// Takes a table frame that nothing points to any more.
    ///
    /// # Errors
    /// The frame, if there is no room for it.
    pub(crate) fn take_table(&mut self, frame: Mfn) -> Result<(), Mfn> {
        self.0.freed.push(frame)
    }

    /// Reserved frames that a large leaf does not need any more.
    pub(crate) fn unreserve(&mut self, frames: u32) {
        self.0.unreserved = self.0.unreserved.saturating_add(frames);
    }

    /// What must be invalidated, as little as the change allows.
    ///
    /// Leaf-only exactly if no present entry above the leaves changed: else a unit would go on
    /// with the table it has cached.
    #[must_use]
    pub fn invalidation(&self) -> Option<Invalidation> {
        match (self.0.tables.range(), self.0.leaves.range()) {
            (Some(tables), Some(leaves)) => Some(Invalidation::Tables(tables.union(leaves))),
            (Some(tables), None) => Some(Invalidation::Tables(tables)),
            (None, Some(leaves)) => Some(Invalidation::Leaves(leaves)),
            (None, None) => None,
        }
    }

    /// The entries that turned present where nothing was.
    #[must_use]
    pub fn sync(&self) -> Option<BfnRange> {
        self.0.added.range()
    }

    /// Invalidates and waits by `flush`, then hands what may be released to `release`. Nothing is
    /// pending afterwards.
    ///
    /// # Errors
    /// That of `flush`. What a unit may reach is then held for ever, and `leaked` is told how much of it:
    /// pages and table frames (INV-15). It is told, too, of what there was no room for.
    pub fn complete<E>(
        &mut self,
        flush: impl FnOnce(Option<Invalidation>, Option<BfnRange>) -> Result<(), E>,
        leaked: impl FnOnce(u64, u64),
        release: impl FnOnce(Released<'_>),
    ) -> Result<(), E> {
        let flushed = flush(self.invalidation(), self.sync());
        let room = &mut *self.0;
        let unreserved = room.unreserved;
        let (pages, tables) = room.lost;
        match &flushed {
            Ok(()) if (pages, tables) != (0, 0) => leaked(pages, tables),
            Ok(()) => {}
            Err(_) => {
                let freed = u64::try_from(room.freed.len()).unwrap_or(0);
                leaked(pages.saturating_add(room.released.pages()), tables.saturating_add(freed));
            }
        }
        match &flushed {
            Ok(()) => release(Released { runs: &room.released, tables: &room.freed, unreserved }),
            Err(_) => {
                room.released.clear();
                // Frames that are only put aside, no unit can reach.
                release(Released { runs: &room.released, tables: &[], unreserved });
            }
        }
        room.clear();
        flushed
    }
}

#[cfg(test)]
mod tests;
