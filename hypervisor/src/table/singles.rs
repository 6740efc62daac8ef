//! Single pages, one after the other: what a batch of them does to a table.
//!
//! The leaf table of the last one stays locked for the next, which is most often near: then neither the walk nor
//! the lock is paid again. Whoever has one of these is inside, calls no platform method but entry access while it
//! lives, and does a bounded number of pages, so that a lock bit is waited for no longer than while one run is stored.
//!
//! Only what is usual is done here: all else is for [`Table::map`] and [`Table::unmap`], which say what is in the way.

use core::iter::Peekable;

use pviommu_abi::Bfn;

use super::{Edit, Table, leaf_lock::LeafLock, maker::LeafWords, map::index_in_leaf_table};
use crate::{
    addr::{BfnRange, Mfn},
    flush::{PendingFlush, Span},
    format::{Entry, Format, Origin},
    platform::TableFrames,
    sync::Ordering,
};

#[expect(missing_debug_implementations, reason = "it lives for the length of a loop")]
/// Pages put in and taken out one by one, with the leaf table of the last one locked until this is dropped.
pub struct Singles<'s, 't, F: Format, T: TableFrames> {
    table: &'s Table<'t, F, T>,
    held: Option<Held<'t>>,
}

struct Held<'t> {
    /// Of the leaf tables of all bus frames, which.
    number: u64,
    lock: LeafLock<'t>,
}

impl<'s, 't, F: Format, T: TableFrames> Singles<'s, 't, F, T> {
    /// None done yet.
    #[must_use]
    #[inline]
    pub fn new(table: &'s Table<'t, F, T>) -> Self {
        Self { table, held: None }
    }

    /// Has the leaf table of `at` locked, and no other; `None` if that is not as usual.
    #[inline]
    fn hold(&mut self, at: Bfn) -> Option<&mut LeafLock<'t>> {
        let number = at.0 >> F::INDEX_BITS;
        if self.held.as_ref().is_none_or(|held| held.number != number) {
            // Released first: who holds one lock waits for no other.
            self.held = None;
            self.held = Some(Held { number, lock: self.table.try_leaf_table(at)? });
        }
        self.held.as_mut().map(|held| &mut held.lock)
    }

    /// Maps pages, each a frame that units put out, by leaves as `words` says, up to the first where that is not as
    /// usual, which is left in `pages`; how many. Nothing was done of the others.
    #[inline]
    pub fn map_each(
        &mut self,
        pages: &mut Peekable<impl Iterator<Item = (Bfn, Mfn)>>,
        words: &LeafWords<F>,
        pending: &mut PendingFlush<'_>,
    ) -> usize {
        let vacant = self.table.beside.vacancy.word(0);
        let (mut changed, mut done) = (Span::EMPTY, 0usize);
        while let Some(&(at, _)) = pages.peek() {
            let stored = self.map_in_table(at, pages, words, &mut changed);
            done = done.saturating_add(stored);
            if stored == 0 {
                break;
            }
        }
        if let Some(range) = changed.range() {
            Table::<F, T>::note_replaced(vacant, range, 0, pending);
        }
        done
    }

    /// The same for pages that lie in the leaf table of `first`.
    #[inline]
    fn map_in_table(
        &mut self,
        first: Bfn,
        pages: &mut Peekable<impl Iterator<Item = (Bfn, Mfn)>>,
        words: &LeafWords<F>,
        changed: &mut Span,
    ) -> usize {
        let table = self.table;
        let vacant = table.beside.vacancy.word(0);
        let number = first.0 >> F::INDEX_BITS;
        let Some(lock) = self.hold(first).filter(|_| words.own) else { return 0 };
        let (entries, mut done) = (lock.entries, 0usize);
        while let Some(&(at, frame)) = pages.peek()
            && at.0 >> F::INDEX_BITS == number
            && let index = index_in_leaf_table::<F>(at)
            && let Some(entry) = entries.get(index)
            && entry.load(Ordering::Relaxed) == vacant
        {
            entry.store(words.of(frame), Ordering::Release);
            table.publish(lock.frame, index, index);
            changed.widen(BfnRange::single(at));
            done = done.saturating_add(1);
            pages.next();
        }
        if done > 0 && lock.soft::<F>().witness().is_none() {
            table.beside.kept.drop_one();
            lock.set_occupied::<F>(index_in_leaf_table::<F>(first));
        }
        done
    }

    /// Unmaps the page at `at`. False if that is not as usual; nothing was done.
    #[inline]
    pub fn unmap(&mut self, at: Bfn, edit: &mut Edit<'_>) -> bool {
        let table = self.table;
        let vacant = table.beside.vacancy.word(0);
        if edit.pending.tables_full() || edit.pending.runs_full() {
            return false;
        }
        let index = index_in_leaf_table::<F>(at);
        let Some(lock) = self.hold(at) else { return false };
        let Some(entry) = lock.entries.get(index) else { return false };
        let raw = entry.load(Ordering::Relaxed);
        let leaf = match F::decode(raw, 0) {
            Entry::Leaf(leaf) if raw != vacant => leaf,
            _ => return false,
        };
        if leaf.soft.origin() == Origin::Reserved || leaf.soft.foreign() {
            return false;
        }
        entry.store(vacant, Ordering::Release);
        table.publish(lock.frame, index, index);
        let emptied = lock.emptied::<F>(index, index, vacant);
        table.gather(leaf, at, 1, &mut edit.pending);
        edit.pending.changed_leaves(BfnRange::single(at));
        if emptied && let Some(held) = self.held.take_if(|_| !table.beside.kept.keep()) {
            table.give_up_empty(held.lock, at, edit);
        }
        true
    }
}
