//! The lock of a table above the leaf tables: the same bit, in the entry that points to it.
//!
//! While it is held, nobody else changes what is vacant or a leaf in the table, so that its holder does so by plain
//! stores, however many. Entries that point to tables are not the holder's: each belongs to the lock of the table that
//! it points to. Nothing points to the root; its bit stands in a word beside the table.

use pviommu_abi::Bfn;

use super::{Edit, Node, Place, Stop, Table};
use crate::{
    format::{Format, TableSoft},
    platform::{Pool, TableFrames},
    sync::{AtomicU64, Ordering, relax},
};

/// A table above the leaf tables whose vacant entries and leaves this CPU may change, until it is dropped.
pub(crate) struct UpperLock<'t> {
    pointer: &'t AtomicU64,
    /// The pointing entry as it is stored on release.
    release: u64,
}

/// An entry above the leaf tables, and what its table is locked by.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'t> {
    pub(crate) place: Place<'t>,
    pub(crate) pointer: &'t AtomicU64,
}

impl<'t> UpperLock<'t> {
    /// Waits for the lock that stands in `pointer`. Such a table is unlinked by who has all tables for itself only, so
    /// that it is still the one that was found here. Must not be called with another lock held.
    fn take<F: Format>(pointer: &'t AtomicU64) -> Self {
        loop {
            let raw = pointer.load(Ordering::Relaxed);
            let soft = TableSoft::from_bits(F::soft(raw));
            // The holder stores a bounded run and calls nobody: it will be gone soon.
            if soft.locked() {
                relax();
                continue;
            }
            let locked = F::with_soft(raw, soft.lock().bits());
            let order = (Ordering::Acquire, Ordering::Relaxed);
            if pointer.compare_exchange(raw, locked, order.0, order.1).is_ok() {
                return Self { pointer, release: raw };
            }
        }
    }
}

impl Drop for UpperLock<'_> {
    fn drop(&mut self) {
        self.pointer.store(self.release, Ordering::Release);
    }
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// The root.
    #[inline]
    pub(crate) fn top(&self) -> Node<'t> {
        Node { frame: self.root.frame, pointer: &self.beside.top }
    }

    /// Locks the table that `spot` is in.
    #[inline]
    pub(crate) fn lock_upper(&self, spot: &Spot<'t>) -> UpperLock<'t> {
        UpperLock::take::<F>(spot.pointer)
    }

    /// The same. `None` if its entry, vacant or a leaf, is not `raw` any more.
    #[inline]
    pub(crate) fn claim(&self, spot: &Spot<'t>, raw: u64) -> Option<UpperLock<'t>> {
        let lock = self.lock_upper(spot);
        (spot.place.entry.load(Ordering::Relaxed) == raw).then_some(lock)
    }

    /// Links a table from the stash at `spot`, the entry of `level` for `at`, in place of `vacant`,
    /// and returns it. `missing` tables will be needed to reach the bottom.
    pub(super) fn link_table(
        &self,
        spot: &Spot<'t>,
        vacant: u64,
        at: Bfn,
        level: u8,
        missing: u8,
        edit: &mut Edit<'_>,
    ) -> Result<Node<'t>, Stop> {
        if edit.stash.len(Pool::Open) < usize::from(missing) {
            return Err(Stop::NeedTables(missing, Pool::Open));
        }
        let frame = edit.stash.take(Pool::Open).ok_or(Stop::NeedTables(missing, Pool::Open))?;
        self.prepare(frame, self.beside.vacancy.word(level.saturating_sub(1)));
        let Some(_lock) = self.claim(spot, vacant) else {
            self.wipe(frame);
            let _ = edit.stash.put(frame, Pool::Open);
            return Err(Stop::NeedTables(missing, Pool::Open));
        };
        let place = spot.place;
        place.entry.store(F::table(frame, level, TableSoft::EMPTY), Ordering::Release);
        self.publish(place.table, place.index, place.index);
        self.note_vacancy_changed(at, level, &mut edit.pending);
        Ok(Node { frame, pointer: place.entry })
    }
}
