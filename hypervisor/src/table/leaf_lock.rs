//! The lock of a leaf table: one bit in the entry that points to it.
//!
//! Taken by one compare-exchange, released by one plain store, for a whole run of entries. While
//! it is set nobody else writes the pointing entry, so its holder may also unlink the table or
//! note what it left in it. The bit is ignored by hardware: the table is walked all the time.

use core::ops::RangeInclusive;

use super::Place;
use crate::{
    addr::Mfn,
    format::{Format, TableSoft, WITNESS_ENTRIES},
    sync::{AtomicU64, Ordering},
};

/// A leaf table that this CPU may write, until it is dropped.
pub(crate) struct LeafLock<'t> {
    place: Place<'t>,
    /// The pointing entry as it will be stored on release.
    release: u64,
    pub(crate) frame: Mfn,
    pub(crate) entries: &'t [AtomicU64],
}

impl<'t> LeafLock<'t> {
    /// Tries to lock the leaf table that `raw`, read at `place`, points to. `None` if it is locked, or the entry has
    /// changed meanwhile.
    pub(crate) fn try_take<F: Format>(
        place: Place<'t>,
        raw: u64,
        frame: Mfn,
        entries: &'t [AtomicU64],
    ) -> Option<Self> {
        let soft = TableSoft::from_bits(F::soft(raw));
        if soft.locked() {
            return None;
        }
        let locked = F::with_soft(raw, soft.lock().bits());
        let order = (Ordering::Acquire, Ordering::Relaxed);
        // Lazily: dropping a lock that was not taken would release somebody else's.
        let taken = place.entry.compare_exchange(raw, locked, order.0, order.1).is_ok();
        taken.then(|| Self { place, release: raw, frame, entries })
    }

    /// Links `frame`, a table without mappings, at `place`, which is vacant; locked already. The caller holds the lock of
    /// the table that `place` is in.
    pub(crate) fn link<F: Format>(place: Place<'t>, frame: Mfn, entries: &'t [AtomicU64]) -> Self {
        let release = F::table(frame, 1, TableSoft::EMPTY);
        let locked = F::table(frame, 1, TableSoft::EMPTY.lock());
        place.entry.store(locked, Ordering::Release);
        Self { place, release, frame, entries }
    }

    /// What is recorded about the table.
    pub(crate) fn soft<F: Format>(&self) -> TableSoft {
        TableSoft::from_bits(F::soft(self.release))
    }

    /// Records that the entry at `index` is not vacant.
    pub(crate) fn set_occupied<F: Format>(&mut self, index: usize) {
        self.release = F::with_soft(self.release, TableSoft::occupied_at(index).bits());
    }

    /// After entries `first..=last` became `vacant`: true if all are now. Else the record names one
    /// that is not.
    pub(crate) fn emptied<F: Format>(&mut self, first: usize, last: usize, vacant: u64) -> bool {
        let Some(witness) = self.soft::<F>().witness() else { return true };
        let witness_last = witness.saturating_add(WITNESS_ENTRIES - 1);
        if witness > last || witness_last < first {
            return false;
        }
        // The page after the last one is there most often, and goes next.
        let next = last.saturating_add(1);
        if self.entries.get(next).is_some_and(|e| e.load(Ordering::Relaxed) != vacant) {
            self.set_occupied::<F>(next);
            return false;
        }
        let record =
            occupancy_beside(self.entries, witness / WITNESS_ENTRIES, vacant, Some(first..=last));
        self.release = F::with_soft(self.release, record.bits());
        record == TableSoft::EMPTY
    }

    /// Puts `vacant` back where the table was linked, and says where that is: once it is published,
    /// nothing points to the table any more but caches of units.
    pub(crate) fn unlink(mut self, vacant: u64) -> (Mfn, Place<'t>) {
        self.release = vacant;
        (self.frame, self.place)
    }
}

/// What to record about a leaf table with these entries; looked for from granule `start` on.
pub(crate) fn occupancy(entries: &[AtomicU64], start: usize, vacant: u64) -> TableSoft {
    occupancy_beside(entries, start, vacant, None)
}

/// The same, where all entries of `vacated` are known to be vacant.
fn occupancy_beside(
    entries: &[AtomicU64],
    start: usize,
    vacant: u64,
    vacated: Option<RangeInclusive<usize>>,
) -> TableSoft {
    let granules = entries.len().div_ceil(WITNESS_ENTRIES);
    let occupied = (start..granules).chain(0..start).find(|granule| {
        let from = granule.saturating_mul(WITNESS_ENTRIES);
        let to = from.saturating_add(WITNESS_ENTRIES).min(entries.len());
        let known = |index| vacated.as_ref().is_some_and(|range| range.contains(&index));
        if known(from) && known(to.saturating_sub(1)) {
            return false;
        }
        let granule = entries.get(from..to).unwrap_or_default();
        granule.iter().any(|entry| entry.load(Ordering::Relaxed) != vacant)
    });
    occupied.map_or(TableSoft::EMPTY, |granule| {
        TableSoft::occupied_at(granule.saturating_mul(WITNESS_ENTRIES))
    })
}

impl Drop for LeafLock<'_> {
    fn drop(&mut self) {
        self.place.entry.store(self.release, Ordering::Release);
    }
}

#[cfg(all(test, feature = "vtd"))]
mod tests {
    use super::*;
    use crate::format::VtdSecondStage as Vtd;

    #[test]
    fn a_leaf_table_has_one_who_locks_it() {
        let free = Vtd::table(Mfn(7), 1, TableSoft::occupied_at(3));
        let entry = AtomicU64::new(free);
        let load = || entry.load(Ordering::Relaxed);
        let place = Place { table: Mfn(6), index: 0, entry: &entry };
        let lock = LeafLock::try_take::<Vtd>(place, free, Mfn(7), &[]).unwrap();
        let locked = load();
        assert_ne!(locked, free);
        assert!(LeafLock::try_take::<Vtd>(place, locked, Mfn(7), &[]).is_none());
        assert!(LeafLock::try_take::<Vtd>(place, free, Mfn(7), &[]).is_none());
        assert_eq!(load(), locked, "who did not get it leaves it alone");
        drop(lock);
        assert_eq!(load(), free);
    }
}
