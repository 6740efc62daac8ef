//! The lock of a leaf table: one bit in the entry that points to it.
//!
//! Taken by one compare-exchange, released by one plain store, for a whole run of entries. While
//! it is set nobody else writes the pointing entry, so its holder may also unlink the table or
//! note what it left in it. The bit is ignored by hardware: the table is walked all the time.

use super::{KeptTables, MAX_KEPT_TABLES, Place};
use crate::{
    addr::Mfn,
    format::{Format, TableSoft, WITNESS_ENTRIES},
    sync::{AtomicU64, Ordering},
};

/// A leaf table that this CPU may write, until it is dropped.
pub(crate) struct LeafLock<'t> {
    pointer: &'t AtomicU64,
    /// The pointing entry as it will be stored on release.
    release: u64,
    pub(crate) frame: Mfn,
    pub(crate) entries: &'t [AtomicU64],
}

impl<'t> LeafLock<'t> {
    /// Tries to lock the leaf table that `raw`, read from `pointer` without the lock bit, points
    /// to. `None` if the entry has changed meanwhile.
    pub(crate) fn try_take<F: Format>(
        pointer: &'t AtomicU64,
        raw: u64,
        frame: Mfn,
        entries: &'t [AtomicU64],
    ) -> Option<Self> {
        let locked = F::with_soft(raw, TableSoft::from_bits(F::soft(raw)).lock().bits());
        let order = (Ordering::Acquire, Ordering::Relaxed);
        // Lazily: dropping a lock that was not taken would release somebody else's.
        let taken = pointer.compare_exchange(raw, locked, order.0, order.1).is_ok();
        taken.then(|| Self { pointer, release: raw, frame, entries })
    }

    /// Links `frame`, a zeroed table, where nothing was, locked already. `None` if something is
    /// there now.
    pub(crate) fn try_link<F: Format>(
        place: &Place<'t>,
        frame: Mfn,
        entries: &'t [AtomicU64],
    ) -> Option<Self> {
        let release = F::table(frame, TableSoft::EMPTY);
        let locked = F::table(frame, TableSoft::EMPTY.lock());
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let linked = place.entry.compare_exchange(F::EMPTY, locked, order.0, order.1).is_ok();
        linked.then(|| Self { pointer: place.entry, release, frame, entries })
    }

    /// What is recorded about the table.
    pub(crate) fn soft<F: Format>(&self) -> TableSoft {
        TableSoft::from_bits(F::soft(self.release))
    }

    /// Records that the entry at `index` is present.
    pub(crate) fn set_occupied<F: Format>(&mut self, index: usize) {
        self.release = F::with_soft(self.release, TableSoft::occupied_at(index).bits());
    }

    /// After entries `first..=last` were cleared: true if the table is empty now. Else the record
    /// names an entry that is present.
    pub(crate) fn emptied<F: Format>(&mut self, first: usize, last: usize) -> bool {
        let Some(witness) = self.soft::<F>().witness() else { return true };
        let witness_last = witness.saturating_add(WITNESS_ENTRIES - 1);
        if witness > last || witness_last < first {
            return false;
        }
        // The page after the last one is there most often, and goes next.
        let next = last.saturating_add(1);
        if self.entries.get(next).is_some_and(|e| F::is_present(e.load(Ordering::Relaxed))) {
            self.set_occupied::<F>(next);
            return false;
        }
        let granules = self.entries.len().div_ceil(WITNESS_ENTRIES);
        let start = witness / WITNESS_ENTRIES;
        let present = (start..granules).chain(0..start).find(|granule| {
            let from = granule.saturating_mul(WITNESS_ENTRIES);
            let to = from.saturating_add(WITNESS_ENTRIES).min(self.entries.len());
            let entries = self.entries.get(from..to).unwrap_or_default();
            entries.iter().any(|entry| F::is_present(entry.load(Ordering::Relaxed)))
        });
        match present {
            Some(granule) => {
                self.set_occupied::<F>(granule.saturating_mul(WITNESS_ENTRIES));
                false
            }
            None => {
                self.release = F::with_soft(self.release, TableSoft::EMPTY.bits());
                true
            }
        }
    }

    /// Unlinks the table: from now on nothing points to it but caches of units.
    pub(crate) fn unlink<F: Format>(mut self) -> Mfn {
        self.release = F::EMPTY;
        self.frame
    }
}

impl Drop for LeafLock<'_> {
    fn drop(&mut self) {
        self.pointer.store(self.release, Ordering::Release);
    }
}

impl KeptTables {
    /// None kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number kept.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more, unless there are enough.
    pub(crate) fn keep(&self) -> bool {
        let more = |n: u32| (n < MAX_KEPT_TABLES).then_some(n.saturating_add(1));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Counts one more, even if there are enough.
    pub(crate) fn keep_anyway(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less: it has entries again, or is unlinked.
    pub(crate) fn drop_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
