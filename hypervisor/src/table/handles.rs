//! Which handle each page of another domain is given back with.
//!
//! The entry says *that* a page is foreign; the embedder's name for the grant or the mapping that it
//! came through takes a word more. It stands in a second tree of the same shape, which no unit walks
//! and which is there only below pages that are foreign:
//!
//! ```text
//!  the context's table        handles
//!  root ─► … ─► leaf ─┐       root ─► … ─► one word for each entry of the leaf table:
//!                     └ foreign ┄┄┄┄┄┄┄┄┄┄► handle + 1, or 0
//! ```
//!
//! A word changes only under the lock of the leaf table that has the entry. Tables are linked by
//! compare-exchange, and unlinked by a pass that has the context for itself.

use pviommu_abi::Bfn;

use super::{
    Cursor, Edit, Prune, Pruned, Stop, Table,
    prune::{LOOKS, Left},
};
use crate::{
    addr::Mfn,
    flush::PendingFlush,
    format::{Format, pages_at},
    platform::{ForeignHandle, Pool, TableFrames},
    sync::{AtomicU64, Ordering},
};

/// The root of the tree: its frame + 1, or 0 if there is none.
#[derive(Debug)]
pub struct Handles(AtomicU64);

impl Handles {
    /// No handles.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Default for Handles {
    fn default() -> Self {
        Self::new()
    }
}

/// One piece of a pass.
struct Pass<'p, 'r> {
    what: Prune,
    from: Cursor,
    looks: u32,
    pending: &'p mut PendingFlush<'r>,
}

/// What stands in a word for `handle`; `None` for the one that has none.
pub(crate) fn encode(handle: ForeignHandle) -> Option<u64> {
    handle.0.checked_add(1)
}

fn pointer(word: &AtomicU64) -> Option<Mfn> {
    word.load(Ordering::Acquire).checked_sub(1).map(Mfn)
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Takes the handle of the page at `at` out. The leaf table of `at` is locked, or the caller has
    /// the table for itself.
    #[cold]
    pub(crate) fn take_handle(&self, at: Bfn) -> Option<ForeignHandle> {
        let mut word = &self.beside.handles.0;
        for level in (0..=self.top_level()).rev() {
            word = self.place(pointer(word)?, level, at)?.entry;
        }
        word.swap(0, Ordering::Relaxed).checked_sub(1).map(ForeignHandle)
    }

    /// Tables of handles that are not there on the way to the word for `at`.
    pub(crate) fn missing_handle_tables(&self, at: Bfn) -> u8 {
        let mut word = &self.beside.handles.0;
        for level in (0..=self.top_level()).rev() {
            let next = pointer(word).and_then(|table| self.place(table, level, at));
            match next {
                Some(place) => word = place.entry,
                None => return level.saturating_add(1),
            }
        }
        0
    }

    /// The word for the page at `at`, with the tables that lead there.
    ///
    /// # Errors
    /// [`Stop::NeedTables`].
    pub(crate) fn handle_word(&self, at: Bfn, edit: &mut Edit<'_>) -> Result<&'t AtomicU64, Stop> {
        let mut word = &self.beside.handles.0;
        for level in (0..=self.top_level()).rev() {
            let table = match pointer(word) {
                Some(table) => table,
                None => self.link_handles(word, level, edit)?,
            };
            word = self.place(table, level, at).ok_or(Stop::BadTable)?.entry;
        }
        Ok(word)
    }

    fn link_handles(&self, word: &AtomicU64, level: u8, edit: &mut Edit<'_>) -> Result<Mfn, Stop> {
        // One for this level, and one for each below.
        let missing = level.saturating_add(1);
        let need = Stop::NeedTables(missing, Pool::Open);
        if edit.stash.len(Pool::Open) < usize::from(missing) {
            return Err(need);
        }
        let frame = edit.stash.take(Pool::Open).ok_or(need)?;
        let linked = frame.0.wrapping_add(1);
        match word.compare_exchange(0, linked, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(frame),
            Err(_) => {
                // Taken out of the stash just now, so there is room for it.
                let _ = edit.stash.put(frame, Pool::Open);
                pointer(word).ok_or(need)
            }
        }
    }

    /// Does a piece of a pass over the tables of handles, as [`prune`](Self::prune) does over those
    /// of the context. The caller has the table for itself.
    pub fn prune_handles(
        &self,
        what: Prune,
        from: Cursor,
        pending: &mut PendingFlush<'_>,
    ) -> Pruned {
        let root = &self.beside.handles.0;
        let Some(table) = pointer(root) else { return Pruned::Finished };
        let mut pass = Pass { what, from, looks: LOOKS, pending };
        match self.prune_handle_table(&mut pass, table, self.top_level(), 0) {
            Left::Stopped(at) => Pruned::More(at),
            Left::Done { empty: false } => Pruned::Finished,
            Left::Done { empty: true } if pass.pending.take_table(table).is_ok() => {
                root.store(0, Ordering::Release);
                Pruned::Finished
            }
            Left::Done { empty: true } => Pruned::More(from),
        }
    }

    fn prune_handle_table(
        &self,
        pass: &mut Pass<'_, '_>,
        table: Mfn,
        level: u8,
        base: u64,
    ) -> Left {
        let words = self.frames.table(table);
        if level == 0 {
            pass.looks = pass.looks.saturating_sub(u32::try_from(words.len()).unwrap_or(LOOKS));
            let free = |word: &AtomicU64| word.load(Ordering::Relaxed) == 0;
            return Left::Done { empty: pass.what == Prune::Everything || words.iter().all(free) };
        }
        let span = pages_at::<F>(level);
        let mut empty = true;
        for index in 0..words.len() {
            let Some(word) = words.get(index) else { break };
            let Some(child) = pointer(word) else { continue };
            let start = u64::try_from(index).unwrap_or(0).wrapping_mul(span).wrapping_add(base);
            if start.wrapping_add(span.wrapping_sub(1)) < pass.from.0 {
                empty = false;
                continue;
            }
            if pass.looks == 0 {
                return Left::Stopped(Cursor(start.max(pass.from.0)));
            }
            pass.looks = pass.looks.saturating_sub(1);
            match self.prune_handle_table(pass, child, level.saturating_sub(1), start) {
                Left::Stopped(at) => return Left::Stopped(at),
                Left::Done { empty: false } => empty = false,
                Left::Done { empty: true } => {
                    // Comes back here when there is room.
                    if pass.pending.take_table(child).is_err() {
                        return Left::Stopped(Cursor(start));
                    }
                    word.store(0, Ordering::Release);
                }
            }
        }
        Left::Done { empty }
    }
}
