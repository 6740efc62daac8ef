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

/// An entry above the leaf tables, and what its table is locked by, as it was found.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'t> {
    pub(crate) place: Place<'t>,
    pub(crate) pointer: &'t AtomicU64,
    pub(crate) said: u64,
}

impl<'t> UpperLock<'t> {
    /// Waits for the lock of the table that `pointer` pointed to when it `said` that. `None`: it does not any more. That a
    /// table is still where it was found is known by its frame, which is no other's while anybody is inside who found it.
    /// Must not be called with another lock held.
    pub(super) fn take<F: Format>(pointer: &'t AtomicU64, said: u64) -> Option<Self> {
        let mut raw = said;
        loop {
            let soft = TableSoft::from_bits(F::soft(raw));
            let locked = F::with_soft(raw, soft.lock().bits());
            let order = (Ordering::Acquire, Ordering::Relaxed);
            if soft.locked() {
                // The holder stores a bounded run and calls nobody: it will be gone soon.
                relax();
            } else if pointer.compare_exchange(raw, locked, order.0, order.1).is_ok() {
                return Some(Self { pointer, release: raw });
            }
            raw = pointer.load(Ordering::Relaxed);
            if F::with_soft(raw, 0) != F::with_soft(said, 0) {
                return None;
            }
        }
    }

    /// What is recorded about the table.
    #[inline]
    pub(super) fn soft<F: Format>(&self) -> TableSoft {
        TableSoft::from_bits(F::soft(self.release))
    }

    pub(super) fn record<F: Format>(&mut self, soft: TableSoft) {
        self.release = F::with_soft(self.release, soft.bits());
    }

    /// Puts `vacant` back where the table, in which nothing is, was linked.
    pub(super) fn unlink(mut self, vacant: u64) {
        self.release = vacant;
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
        let pointer = &self.beside.top;
        Node { frame: self.root.frame, pointer, said: pointer.load(Ordering::Relaxed) }
    }

    /// The entry of `above` (1 or more) for `bfn`, if there are tables all the way to it.
    #[inline]
    pub(crate) fn spot_at(&self, bfn: Bfn, above: u8) -> Option<Spot<'t>> {
        match (self.root.levels, above) {
            (4, 1) => self.spot_below(4, bfn, 1),
            (levels, above) => self.spot_of(levels, bfn, above),
        }
    }

    #[cold]
    fn spot_of(&self, levels: u8, bfn: Bfn, above: u8) -> Option<Spot<'t>> {
        self.spot_below(levels, bfn, above)
    }

    #[inline(always)]
    fn spot_below(&self, levels: u8, bfn: Bfn, above: u8) -> Option<Spot<'t>> {
        let mut node = self.top();
        let mut level = levels.checked_sub(1)?;
        while level > above {
            let place = self.place(node.frame, level, bfn)?;
            let raw = place.entry.load(Ordering::Acquire);
            // A table that vacant entries share is nobody's to lock.
            let frame =
                F::table_below(raw, level).filter(|_| raw != self.beside.vacancy.word(level))?;
            node = Node { frame, pointer: place.entry, said: raw };
            level = level.saturating_sub(1);
        }
        let place = self.place(node.frame, above, bfn)?;
        Some(node.spot(place))
    }

    /// Locks the table that `spot` is in. `None` if it was unlinked.
    #[inline]
    pub(crate) fn lock_upper(&self, spot: &Spot<'t>) -> Option<UpperLock<'t>> {
        UpperLock::take::<F>(spot.pointer, spot.said)
    }

    /// The same, for putting something in place of `raw`, vacant or a leaf. `None` also if that is not there any more.
    #[inline]
    pub(crate) fn claim(&self, spot: &Spot<'t>, raw: u64) -> Option<UpperLock<'t>> {
        let mut lock = self.lock_upper(spot)?;
        if spot.place.entry.load(Ordering::Relaxed) != raw {
            return None;
        }
        self.note_used(&mut lock);
        Some(lock)
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
        let said = F::table(frame, level, TableSoft::EMPTY);
        self.note_linked(level);
        place.entry.store(said, Ordering::Release);
        self.publish(place.table, place.index, place.index);
        self.note_vacancy_changed(at, level, &mut edit.pending);
        Ok(Node { frame, pointer: place.entry, said })
    }
}

#[cfg(all(test, feature = "vtd"))]
mod tests {
    use super::*;
    use crate::{addr::Mfn, format::VtdSecondStage as Vtd};

    #[test]
    fn a_table_is_locked_whatever_is_recorded_of_it_meanwhile() {
        let pointer = |soft| Vtd::table(Mfn(7), 2, soft);
        let kept = pointer(TableSoft::KEPT);
        let entry = AtomicU64::new(kept);
        let lock = UpperLock::take::<Vtd>(&entry, pointer(TableSoft::EMPTY)).unwrap();
        assert_eq!(lock.soft::<Vtd>(), TableSoft::KEPT);
        assert_eq!(entry.load(Ordering::Relaxed), pointer(TableSoft::KEPT.lock()));
        drop(lock);
        assert_eq!(entry.load(Ordering::Relaxed), kept);
    }

    #[test]
    fn what_took_the_place_of_a_table_is_not_locked() {
        let said = Vtd::table(Mfn(7), 2, TableSoft::EMPTY);
        let other = |soft| Vtd::table(Mfn(8), 2, soft);
        for there in [Vtd::EMPTY, other(TableSoft::EMPTY), other(TableSoft::EMPTY.lock())] {
            let entry = AtomicU64::new(there);
            assert!(UpperLock::take::<Vtd>(&entry, said).is_none());
            assert_eq!(entry.load(Ordering::Relaxed), there);
        }
    }
}
