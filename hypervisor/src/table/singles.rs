//! Single pages, one after the other: what a batch of them does to a table.
//!
//! The leaf table of the last one stays locked for the next, which is most often near: then neither the walk nor
//! the lock is paid again. Whoever has one of these is inside, calls no platform method but entry access while it
//! lives, and does a bounded number of pages, so that a lock bit is waited for no longer than while one run is stored.
//!
//! Only what is usual is done here: all else is for [`Table::map`] and [`Table::unmap`], which say what is in the way.

use pviommu_abi::Bfn;

use super::{
    Edit, Table,
    leaf_lock::LeafLock,
    maker::{LeafWords, Maker},
    map::index_in_leaf_table,
};
use crate::{
    addr::BfnRange,
    flush::PendingFlush,
    format::{Entry, Format, Origin},
    platform::{Run, TableFrames},
    sync::Ordering,
};

#[expect(missing_debug_implementations, reason = "it lives for the length of a loop")]
/// Pages put in and taken out one by one, with the leaf table of the last one locked until this is dropped.
pub struct Singles<'s, 't, F: Format, T: TableFrames> {
    table: &'s Table<'t, F, T>,
    words: LeafWords<F>,
    held: Option<Held<'t>>,
}

struct Held<'t> {
    /// Of the leaf tables of all bus frames, which.
    number: u64,
    lock: LeafLock<'t>,
}

impl<'s, 't, F: Format, T: TableFrames> Singles<'s, 't, F, T> {
    /// None done yet, for `maker`.
    #[must_use]
    #[inline]
    pub fn new(table: &'s Table<'t, F, T>, maker: Maker) -> Self {
        Self { table, words: LeafWords::new(maker, table.style.attributes), held: None }
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

    /// Maps the first page of `run`, of the domain's own, at `at`. False if that is not as usual; nothing was done.
    #[inline]
    pub fn map(&mut self, at: Bfn, run: &Run, pending: &mut PendingFlush<'_>) -> bool {
        let table = self.table;
        let vacant = table.beside.vacancy.word(0);
        let raw = self.words.of(run);
        let index = index_in_leaf_table::<F>(at);
        let Some(lock) = self.hold(at).filter(|_| run.kind.is_own()) else { return false };
        let Some(entry) = lock.entries.get(index) else { return false };
        if entry.load(Ordering::Relaxed) != vacant {
            return false;
        }
        entry.store(raw, Ordering::Release);
        table.publish(lock.frame, index, index);
        if lock.soft::<F>().witness().is_none() {
            table.beside.kept.drop_one();
            lock.set_occupied::<F>(index);
        }
        Table::<F, T>::note_replaced(vacant, BfnRange::single(at), 0, pending);
        true
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
