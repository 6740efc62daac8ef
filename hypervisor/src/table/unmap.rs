//! Taking mappings out.

use pviommu_abi::Bfn;

use super::{Edit, Stop, Table, leaf_lock::LeafLock, leaves, map::index_in_leaf_table, walk::Walk};
use crate::{
    addr::{BfnRange, MfnRange},
    flush::PendingFlush,
    format::{Entry, Format, Leaf, Origin, pages_at},
    platform::{PageKind, Pool, Run, TableFrames},
    sync::{AtomicU64, Ordering},
};

/// What an unmap did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unmapped {
    /// Pages that were mapped and are not any more, from the first on.
    pub pages: u64,
    /// Why not more, if more could have been in this leaf table.
    pub stop: Option<Stop>,
}

impl Unmapped {
    fn stopped(stop: Stop) -> Self {
        Self { pages: 0, stop: Some(stop) }
    }
}

/// True if the leaf is not what a device's firmware needs, which is no mapping here.
#[inline]
pub(super) fn is_mapping(leaf: &Leaf) -> bool {
    leaf.soft.origin() != Origin::Reserved
}

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Unmaps at most `pages` pages from `at` on.
    ///
    /// One call does at most `small` small leaves of one leaf table, or large ones of one table, as many as may wait for
    /// one flush: whole if all of it is asked for, else split first. What held a reference goes into the edit's
    /// flush, with what must be invalidated.
    pub fn unmap(&self, at: Bfn, pages: u64, small: u64, edit: &mut Edit<'_>) -> Unmapped {
        if edit.pending.tables_full() {
            return Unmapped::stopped(Stop::PendingFull);
        }
        let large = pages_at::<F>(1);
        if pages >= large && at.0.is_multiple_of(large) {
            let cleared = self.clear_large(at, pages.checked_div(large).unwrap_or(0), edit);
            if cleared > 0 {
                return Unmapped { pages: cleared.saturating_mul(large), stop: None };
            }
        }
        match self.try_leaf_table(at) {
            Some(lock) => self.clear_run(lock, at, pages.min(small), edit),
            None => self.unmap_slowly(at, pages, small, edit),
        }
    }

    /// The same where the way to the leaf table is not the usual one.
    #[cold]
    fn unmap_slowly(&self, at: Bfn, pages: u64, small: u64, edit: &mut Edit<'_>) -> Unmapped {
        loop {
            match self.walk(at) {
                Walk::Locked(lock) => {
                    return self.clear_run(lock, at, pages.min(small), edit);
                }
                Walk::Large { leaf, .. } if !is_mapping(&leaf) => {
                    return Unmapped::stopped(Stop::Hole);
                }
                Walk::Large { spot, level, raw, leaf } => {
                    let Some(lock) = self.claim(&spot, raw) else { continue };
                    let span = Self::span(at, level);
                    if span.first() != at || span.pages() > pages {
                        match self.split(at, &spot.place, level, raw, leaf, edit) {
                            Ok(()) => continue,
                            Err(Stop::NeedTables(_, Pool::Open)) if edit.whole_leaves => {}
                            Err(stop) => return Unmapped::stopped(stop),
                        }
                    }
                    if edit.pending.runs_full() {
                        return Unmapped::stopped(Stop::PendingFull);
                    }
                    let vacant = self.beside.vacancy.word(level);
                    self.replace_large(at, &spot.place, level, leaf, vacant, edit);
                    self.note_vacancy_changed(at, level, &mut edit.pending);
                    drop(lock);
                    self.give_up_upper(at, level, edit);
                    let here = span.last().0.saturating_sub(at.0).saturating_add(1);
                    return Unmapped { pages: here.min(pages), stop: None };
                }
                Walk::Vacant { .. } | Walk::Blocked => return Unmapped::stopped(Stop::Hole),
                Walk::Bad => return Unmapped::stopped(Stop::BadTable),
            }
        }
    }

    /// Clears up to `limit` leaves of a locked table, from that of `at` on.
    fn clear_run(
        &self,
        mut lock: LeafLock<'_>,
        at: Bfn,
        limit: u64,
        edit: &mut Edit<'_>,
    ) -> Unmapped {
        let first = index_in_leaf_table::<F>(at);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let vacant = self.beside.vacancy.word(0);
        let (cleared, stop) = self.clear_entries(lock.entries, at, limit, &mut edit.pending);
        let pages = u64::try_from(cleared).unwrap_or(0);
        if let Some(range) = BfnRange::of_pages(at, pages) {
            let last = first.saturating_add(cleared).saturating_sub(1);
            self.publish(lock.frame, first, last);
            edit.pending.changed_leaves(range);
            if lock.emptied::<F>(first, last, vacant) && !self.beside.kept.keep() {
                self.give_up_empty(lock, at, edit);
            }
        }
        Unmapped { pages, stop }
    }

    /// An empty leaf table is one more than are kept: unlinks it, or has it kept all the same.
    #[cold]
    pub(super) fn give_up_empty(&self, lock: LeafLock<'_>, at: Bfn, edit: &mut Edit<'_>) {
        if edit.keep_tables {
            self.beside.kept.keep_anyway();
        } else {
            self.unlink_empty(lock, at, &mut edit.pending);
            self.give_up_upper(at, 1, edit);
        }
    }

    /// Unlinks an empty leaf table. `pending` has room for its frame.
    fn unlink_empty(&self, lock: LeafLock<'_>, at: Bfn, pending: &mut PendingFlush<'_>) {
        pending.changed_tables(Self::span(at, 1));
        let (frame, place) = lock.unlink(self.beside.vacancy.word(1));
        self.publish(place.table, place.index, place.index);
        if pending.take_table(frame).is_err() {
            // Not reached: asked before anything was cleared.
            pending.lose_table();
        }
    }

    /// Makes mappings of the leaf table `entries` vacant from that of `at` on, at most `limit`; how
    /// many, and why it stopped early. What is mapped for a device's firmware is no mapping here.
    pub(crate) fn clear_entries(
        &self,
        entries: &[AtomicU64],
        at: Bfn,
        limit: usize,
        pending: &mut PendingFlush<'_>,
    ) -> (usize, Option<Stop>) {
        let vacant = self.beside.vacancy.word(0);
        let entries = entries.get(index_in_leaf_table::<F>(at)..).unwrap_or_default();
        let entries = entries.get(..limit).unwrap_or(entries);
        let mut cleared = 0usize;
        while let Some((entry, rest)) = entries.get(cleared..).and_then(<[_]>::split_first) {
            let raw = entry.load(Ordering::Relaxed);
            let leaf = match F::decode(raw, 0) {
                Entry::Leaf(leaf) if raw != vacant => leaf,
                _ => return (cleared, Some(Stop::Hole)),
            };
            if leaf.soft.origin() == Origin::Reserved {
                return (cleared, Some(Stop::Hole));
            }
            if pending.runs_full() {
                return (cleared, Some(Stop::PendingFull));
            }
            entry.store(vacant, Ordering::Release);
            let more = match leaf.soft.foreign() {
                // Each page has a handle of its own.
                true => 0,
                false => leaves::clear_rest::<F>(rest, raw, vacant),
            };
            let run = more.saturating_add(1);
            let first = Bfn(at.0.wrapping_add(u64::try_from(cleared).unwrap_or(0)));
            self.gather(leaf, first, u64::try_from(run).unwrap_or(0), pending);
            cleared = cleared.saturating_add(run);
        }
        (cleared, None)
    }

    /// Notes the references of a leaf at `at` that is not there any more. `pending` has room for a
    /// run.
    pub(crate) fn gather(&self, leaf: Leaf, at: Bfn, pages: u64, pending: &mut PendingFlush<'_>) {
        if !leaf.soft.referenced() {
            return;
        }
        let kind = match leaf.soft.foreign() {
            true => self.take_handle(at).map(PageKind::Foreign),
            false => Some(PageKind::Ram),
        };
        match (kind, MfnRange::of_pages(leaf.frame, pages)) {
            (Some(kind), Some(frames)) => {
                pending.take_run(Run { frames, kind, access: leaf.access });
            }
            // Not reached: a handle is stored before its page. Held for ever, if it were.
            _ => pending.lose_pages(pages),
        }
    }
}
