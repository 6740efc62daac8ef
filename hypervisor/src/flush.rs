//! What must be invalidated before anything is given back.
//!
//! Page references and table frames that leave a table go into a [`PendingFlush`]. Its only exit
//! is [`complete`](PendingFlush::complete), which invalidates, waits, and only then releases
//! (INV-20, INV-07). Dropped without it, everything in it stays held for ever: a leak, but no
//! device reaches what is someone else's.

use crate::{
    addr::{BfnRange, Mfn},
    platform::{Invalidation, Run, Runs},
};

/// Most table frames a flush can wait for.
const MAX_TABLES: usize = 16;

/// What changed in a table, and what waits for the flush.
#[must_use = "what is in it is released by `complete` only"]
#[derive(Debug)]
pub struct PendingFlush<'r> {
    /// Turned from not present to present: units that cache that, or have a write buffer.
    added: Option<BfnRange>,
    /// Present leaves changed.
    leaves: Option<BfnRange>,
    /// Present entries above the leaves changed, with the span they stand for.
    tables: Option<BfnRange>,
    /// Where references wait; none for a pass that takes out tables only.
    released: Option<&'r mut Runs>,
    freed: heapless::Vec<Mfn, MAX_TABLES>,
    unreserved: u32,
}

/// What a completed flush has to give back.
#[derive(Debug)]
pub struct Released<'r> {
    /// Runs whose references no device can use any more.
    pub runs: Option<&'r mut Runs>,
    /// Table frames that no unit can walk any more.
    pub tables: heapless::Vec<Mfn, MAX_TABLES>,
    /// Reserved table frames that no leaf needs any more.
    pub unreserved: u32,
}

fn widen(range: &mut Option<BfnRange>, by: BfnRange) {
    *range = Some(range.map_or(by, |range| range.union(by)));
}

impl<'r> PendingFlush<'r> {
    /// Nothing to flush yet. `released` is where references wait; it must be empty.
    pub fn new(released: &'r mut Runs) -> Self {
        released.clear();
        Self { released: Some(released), ..Self::of_tables() }
    }

    /// Nothing to flush yet, and no room for references.
    pub fn of_tables() -> Self {
        Self {
            added: None,
            leaves: None,
            tables: None,
            released: None,
            freed: heapless::Vec::new(),
            unreserved: 0,
        }
    }

    /// Entries of `range` turned present where nothing was.
    pub(crate) fn added(&mut self, range: BfnRange) {
        widen(&mut self.added, range);
    }

    /// Present leaves of `range` changed.
    pub(crate) fn changed_leaves(&mut self, range: BfnRange) {
        widen(&mut self.leaves, range);
    }

    /// A present entry above the leaves changed, which stands for `range`.
    pub(crate) fn changed_tables(&mut self, range: BfnRange) {
        widen(&mut self.tables, range);
    }

    /// True if no further run may be taken.
    pub(crate) fn runs_full(&self) -> bool {
        self.released.as_ref().is_none_or(|runs| runs.is_full())
    }

    /// True if table frames wait.
    pub(crate) fn has_tables(&self) -> bool {
        !self.freed.is_empty()
    }

    /// True if no further table may be taken.
    pub(crate) fn tables_full(&self) -> bool {
        self.freed.is_full()
    }

    /// Takes the references of pages that left the table. Room was asked for.
    pub(crate) fn take_run(&mut self, run: Run) {
        let taken = self.released.as_mut().is_some_and(|runs| runs.push(run).is_ok());
        if !taken {
            // Not reached: every caller asks `runs_full` first. Held for ever, if it were.
            log::error!("pviommu: references of {run:?} are never given back");
        }
    }

    /// Takes a table frame that nothing points to any more.
    ///
    /// # Errors
    /// The frame, if there is no room for it.
    pub(crate) fn take_table(&mut self, frame: Mfn) -> Result<(), Mfn> {
        self.freed.push(frame)
    }

    /// Reserved frames that a large leaf does not need any more.
    pub(crate) fn unreserve(&mut self, frames: u32) {
        self.unreserved = self.unreserved.saturating_add(frames);
    }

    /// What must be invalidated, as little as the change allows.
    ///
    /// Leaf-only exactly if no present entry above the leaves changed: else a unit would go on
    /// with the table it has cached.
    #[must_use]
    pub fn invalidation(&self) -> Option<Invalidation> {
        match (self.tables, self.leaves) {
            (Some(tables), Some(leaves)) => Some(Invalidation::Tables(tables.union(leaves))),
            (Some(tables), None) => Some(Invalidation::Tables(tables)),
            (None, Some(leaves)) => Some(Invalidation::Leaves(leaves)),
            (None, None) => None,
        }
    }

    /// The entries that turned present where nothing was.
    #[must_use]
    pub fn sync(&self) -> Option<BfnRange> {
        self.added
    }

    /// Invalidates and waits by `flush`, then hands out what may be released.
    ///
    /// # Errors
    /// That of `flush`. What waited is then held for ever, and `leaked` is told how much: pages
    /// and table frames (INV-15).
    pub fn complete<E>(
        self,
        flush: impl FnOnce(Option<Invalidation>, Option<BfnRange>) -> Result<(), E>,
        leaked: impl FnOnce(u64, u64),
    ) -> Result<Released<'r>, E> {
        match flush(self.invalidation(), self.added) {
            Ok(()) => Ok(Released {
                runs: self.released,
                tables: self.freed,
                unreserved: self.unreserved,
            }),
            Err(error) => {
                let pages = self.released.map_or(0, |runs| {
                    let pages = runs.pages();
                    runs.clear();
                    pages
                });
                leaked(pages, u64::try_from(self.freed.len()).unwrap_or(0));
                Err(error)
            }
        }
    }
}
