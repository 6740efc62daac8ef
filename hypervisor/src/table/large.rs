//! Leaves above level 0.

use pviommu_abi::Bfn;

use super::{
    Edit, Place, Stop, Table, leaves,
    maker::{LeafWords, Maker},
    unmap::is_mapping,
    upper_lock::{Spot, UpperLock},
    walk::Step,
};
use crate::{
    addr::{BfnRange, MfnRange},
    format::{Entry, Format, Leaf, TableSoft, pages_at},
    platform::{AlikeRuns, PageKind, Run, TableFrames},
    sync::{AtomicU64, Ordering},
};

/// Whether the tables that splitting a large leaf takes are reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SplitPaid {
    /// They are: removing a part of it cannot fail.
    Yes,
    /// They are not.
    No,
}

/// Table frames that splitting a leaf of `level` down to 4 KiB takes.
#[must_use]
pub fn split_cost<F: Format>(level: u8) -> u32 {
    // One for the leaf itself, and one for each that it becomes, down to level 1.
    (1..=level).fold(0u32, |sum, below| {
        let tables = pages_at::<F>(level.saturating_sub(below));
        sum.saturating_add(u32::try_from(tables).unwrap_or(u32::MAX))
    })
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Maps the frames of `runs` at `at` and after by leaves of `level` (1 or above), at most `most`; how many. Of each
    /// run the first frames, as far as they fill leaves.
    ///
    /// They are put in under one lock of the table that they are in, and end where the next table begins or something is
    /// in the way. A leaf that is there gives way or not, as a page does in [`map`](Self::map).
    ///
    /// # Errors
    /// If it was none: [`Stop::NotALeaf`] if tables are there, even empty ones; else as [`map`](Self::map).
    pub fn map_large(
        &self,
        at: Bfn,
        level: u8,
        runs: AlikeRuns<'_>,
        most: u64,
        (maker, split): (Maker, SplitPaid),
        edit: &mut Edit<'_>,
    ) -> Result<u64, Stop> {
        let (place, mut lock) = self.lock_spot_of(at, level, maker, edit)?;
        let Place { table, index: first, .. } = place;
        let entries = self.frames.table(table).get(first..).unwrap_or_default();
        let shift = F::INDEX_BITS.saturating_mul(u32::from(level));
        let size = pages_at::<F>(level);
        let vacant = self.beside.vacancy.word(level);
        let (how, attributes) = ((maker, split), self.style.attributes);
        let words = LeafWords::<F>::large((runs.kind, runs.access), how, attributes, level);
        let mut left = usize::try_from(most).unwrap_or(usize::MAX);
        let mut done = 0usize;
        let mut stop = None;
        'runs: for run in runs.frames {
            let leaves = run.pages().checked_shr(shift).unwrap_or(0);
            let leaves = usize::try_from(leaves).unwrap_or(usize::MAX).min(left);
            left = left.saturating_sub(leaves);
            let mut raw = words.of(run.first());
            for _ in 0..leaves {
                let Some(entry) = entries.get(done) else { break 'runs };
                if entry.load(Ordering::Relaxed) == vacant {
                    entry.store(raw, Ordering::Release);
                } else {
                    let place = Place { table, index: first.saturating_add(done), entry };
                    let before = u64::try_from(done).unwrap_or(0).saturating_mul(size);
                    let here = Bfn(at.0.wrapping_add(before));
                    if let Err(stopped) = self.give_way(here, &place, level, (raw, maker), edit) {
                        stop = Some(stopped);
                        break 'runs;
                    }
                }
                raw = leaves::leaf_after::<F>(raw, size);
                done = done.saturating_add(1);
            }
        }
        let leaves = u64::try_from(done).unwrap_or(0);
        let Some(span) = BfnRange::of_pages(at, leaves.saturating_mul(size)) else {
            return Err(stop.unwrap_or(Stop::NotALeaf));
        };
        self.note_used(&mut lock);
        self.publish(table, first, first.saturating_add(done).saturating_sub(1));
        Self::note_replaced(vacant, span, level, &mut edit.pending);
        Ok(leaves)
    }

    /// The entry of `level` for `at`, with all tables on the way to it, and its table locked.
    #[inline(never)]
    fn lock_spot_of(
        &self,
        at: Bfn,
        level: u8,
        maker: Maker,
        edit: &mut Edit<'_>,
    ) -> Result<(Place<'t>, UpperLock<'t>), Stop> {
        loop {
            let spot = match self.spot_at(at, level) {
                Some(spot) => spot,
                None => self.make_spot(at, level, maker, edit)?,
            };
            if let Some(lock) = self.lock_upper(&spot) {
                return Ok((spot.place, lock));
            }
        }
    }

    /// The same entry, with tables made on the way to it. It is not locked.
    #[cold]
    fn make_spot(
        &self,
        at: Bfn,
        level: u8,
        maker: Maker,
        edit: &mut Edit<'_>,
    ) -> Result<Spot<'t>, Stop> {
        let mut here = self.top_level();
        let mut node = self.top();
        while here > level {
            match self.step(node, here, at) {
                Step::Table(next) => {
                    node = next;
                    here = here.saturating_sub(1);
                }
                Step::Vacant { spot, vacant } => {
                    let missing = here.saturating_sub(level);
                    node = self.link_table(&spot, vacant, at, here, missing, edit)?;
                    here = here.saturating_sub(1);
                }
                Step::Large { spot, raw, leaf } if maker.replaces(leaf.soft.origin()) => {
                    if let Some(_lock) = self.claim(&spot, raw) {
                        self.split(at, &spot.place, here, raw, leaf, edit)?;
                    }
                }
                Step::Large { .. } | Step::Blocked => return Err(Stop::Occupied),
                Step::Bad => return Err(Stop::BadTable),
            }
        }
        let place = self.place(node.frame, level, at).ok_or(Stop::BadTable)?;
        Ok(node.spot(place))
    }

    /// Puts `new` in place of what is at `place`, if that is a leaf that gives way. The table is locked.
    #[cold]
    fn give_way(
        &self,
        at: Bfn,
        place: &Place<'_>,
        level: u8,
        (new, maker): (u64, Maker),
        edit: &mut Edit<'_>,
    ) -> Result<(), Stop> {
        let raw = place.entry.load(Ordering::Relaxed);
        match F::decode(raw, level) {
            Entry::Table(_) => Err(Stop::NotALeaf),
            Entry::Leaf(leaf) if maker.replaces(leaf.soft.origin()) => {
                if edit.pending.runs_full() {
                    return Err(Stop::PendingFull);
                }
                self.replace_large(at, place, level, leaf, new, edit);
                Ok(())
            }
            Entry::Empty | Entry::Leaf(_) => Err(Stop::Occupied),
        }
    }

    /// Puts `new` in place of `leaf` of `level`, and notes what that leaves to be done. There is room for a run, and the
    /// caller holds the lock of the table that `place` is in, or has it for itself.
    #[inline]
    pub(super) fn replace_large(
        &self,
        at: Bfn,
        place: &Place<'_>,
        level: u8,
        leaf: Leaf,
        new: u64,
        edit: &mut Edit<'_>,
    ) {
        let span = Self::span(at, level);
        place.entry.store(new, Ordering::Release);
        self.publish(place.table, place.index, place.index);
        edit.pending.changed_leaves(span);
        self.gather(leaf, span.first(), span.pages(), &mut edit.pending);
        if leaf.soft.split_paid() {
            edit.pending.unreserve(split_cost::<F>(level));
        }
    }

    /// Makes leaves of level 1 vacant from that of `at` on, at most `most` of one table, under one lock; how many. It
    /// ends at the first entry that is no mapping, and where there is no room for more.
    pub(super) fn clear_large(&self, at: Bfn, most: u64, edit: &mut Edit<'_>) -> u64 {
        let vacant = self.beside.vacancy.word(1);
        // Looked at before it is locked: most often there is a leaf table.
        let spot = self.spot_at(at, 1);
        let Some(spot) = spot.filter(|it| Self::mapping_of(it.place.entry).is_some()) else {
            return 0;
        };
        let Some(mut lock) = self.lock_upper(&spot) else { return 0 };
        let Place { table, index: first, .. } = spot.place;
        let entries = self.frames.table(table).get(first..).unwrap_or_default();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let cleared = self.clear_leaves(entries.get(..most).unwrap_or(entries), at, edit);
        let mut emptied = false;
        if let Some(span) = BfnRange::of_pages(at, cleared.saturating_mul(pages_at::<F>(1))) {
            let last = usize::try_from(cleared).unwrap_or(1).saturating_sub(1);
            self.publish(table, first, first.saturating_add(last));
            edit.pending.changed_leaves(span);
            if F::is_present(vacant) {
                edit.pending.changed_tables(span);
            }
            // What follows is there most often, and goes next.
            let follows = entries.get(last.saturating_add(1));
            emptied = follows.is_none_or(|entry| entry.load(Ordering::Relaxed) == vacant)
                && !self.keep_unseen(&mut lock);
        }
        drop(lock);
        if emptied {
            self.give_up_upper(at, 1, edit);
        }
        cleared
    }

    /// Makes the leaves of level 1 at the beginning of `entries` vacant, of which the first is that of `at`, up to one that
    /// is no mapping or for which there is no room; how many.
    #[inline(never)]
    fn clear_leaves(&self, entries: &[AtomicU64], at: Bfn, edit: &mut Edit<'_>) -> u64 {
        let vacant = self.beside.vacancy.word(1);
        let size = pages_at::<F>(1);
        let (mut cleared, mut paid) = (0u64, 0u32);
        let mut next = at;
        for entry in entries {
            let leaf = Self::mapping_of(entry).filter(|_| !edit.pending.runs_full());
            let Some(leaf) = leaf else { break };
            entry.store(vacant, Ordering::Release);
            // Large leaves are the domain's own.
            match MfnRange::of_pages(leaf.frame, size) {
                Some(frames) if leaf.soft.referenced() => {
                    let Leaf { access, .. } = leaf;
                    edit.pending.take_run(Run { frames, kind: PageKind::Ram, access });
                }
                _ => self.gather(leaf, next, size, &mut edit.pending),
            }
            paid = paid.saturating_add(u32::from(leaf.soft.split_paid()));
            next.0 = next.0.wrapping_add(size);
            cleared = cleared.saturating_add(1);
        }
        edit.pending.unreserve(paid.saturating_mul(split_cost::<F>(1)));
        cleared
    }

    /// True if the locked table, of level 1, may stay although no leaf may be left in it, without a look at all of it.
    #[cold]
    fn keep_unseen(&self, lock: &mut UpperLock<'_>) -> bool {
        let stays = lock.soft::<F>().kept() || self.top_level() == 1;
        if !stays && self.beside.kept.keep_upper_unseen() {
            lock.record::<F>(TableSoft::KEPT);
            return true;
        }
        stays
    }

    /// The leaf of level 1 that `entry` is, if it may be unmapped.
    #[inline]
    fn mapping_of(entry: &AtomicU64) -> Option<Leaf> {
        // No vacant entry of this level is a leaf.
        match F::decode(entry.load(Ordering::Relaxed), 1) {
            Entry::Leaf(leaf) => Some(leaf).filter(is_mapping),
            Entry::Empty | Entry::Table(_) => None,
        }
    }
}
