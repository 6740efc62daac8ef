//! Taking mappings out.

use pviommu_abi::Bfn;

use super::{
    Edit, Stop, Table,
    leaf_lock::LeafLock,
    leaves,
    map::{index_in_leaf_table, split_cost},
    walk::Walk,
};
use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    flush::PendingFlush,
    format::{Entry, Format, Leaf},
    platform::{PageKind, Run, TableFrames},
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

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Unmaps at most `pages` pages from `at` on.
    ///
    /// One call does at most `small` small leaves of one leaf table, or one large leaf: whole if
    /// all of it is asked for, else split first. What held a reference goes into the edit's
    /// flush, with what must be invalidated.
    pub fn unmap(&self, at: Bfn, pages: u64, small: u64, edit: &mut Edit<'_>) -> Unmapped {
        if edit.pending.tables_full() {
            return Unmapped::stopped(Stop::PendingFull);
        }
        loop {
            match self.walk(at) {
                Walk::Locked(lock) => {
                    return self.clear_run(lock, at, pages.min(small), edit);
                }
                Walk::Large { place, level, raw, leaf } => {
                    let span = Self::span(at, level);
                    if span.first() != at || span.pages() > pages {
                        match self.split(at, &place, level, raw, leaf, edit) {
                            Ok(()) => continue,
                            Err(stop) => return Unmapped::stopped(stop),
                        }
                    }
                    if edit.pending.runs_full() {
                        return Unmapped::stopped(Stop::PendingFull);
                    }
                    let order = (Ordering::AcqRel, Ordering::Relaxed);
                    let vacant = self.vacancy.word(level);
                    let cleared =
                        place.entry.compare_exchange(raw, vacant, order.0, order.1).is_ok();
                    if cleared {
                        self.publish(place.table, place.index, place.index);
                        edit.pending.changed_leaves(span);
                        self.note_vacancy_changed(at, level, &mut edit.pending);
                        gather(leaf, span.pages(), &mut edit.pending);
                        if leaf.soft.split_paid() {
                            edit.pending.unreserve(split_cost::<F>(level));
                        }
                        return Unmapped { pages: span.pages(), stop: None };
                    }
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
        let Edit { pending, keep_tables, .. } = edit;
        let first = index_in_leaf_table::<F>(at);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let vacant = self.vacancy.word(0);
        let (cleared, stop) = clear_entries::<F>(lock.entries, first, limit, vacant, pending);
        let pages = u64::try_from(cleared).unwrap_or(0);
        if let Some(range) = BfnRange::of_pages(at, pages) {
            let last = first.saturating_add(cleared).saturating_sub(1);
            self.publish(lock.frame, first, last);
            pending.changed_leaves(range);
            if lock.emptied::<F>(first, last, vacant) && !self.kept.keep() {
                if *keep_tables {
                    self.kept.keep_anyway();
                } else {
                    self.unlink_empty(lock, at, pending);
                }
            }
        }
        Unmapped { pages, stop }
    }

    /// Unlinks an empty leaf table. `pending` has room for its frame.
    fn unlink_empty(&self, lock: LeafLock<'_>, at: Bfn, pending: &mut PendingFlush<'_>) {
        pending.changed_tables(Self::span(at, 1));
        let (frame, place) = lock.unlink(self.vacancy.word(1));
        self.publish(place.table, place.index, place.index);
        if let Err(frame) = pending.take_table(frame) {
            // Not reached: asked before anything was cleared. Held for ever, if it were.
            log::error!("pviommu: table frame {frame} is never given back");
        }
    }
}

/// Makes mappings from `first` on vacant, at most `limit`; how many, and why it stopped early.
pub(crate) fn clear_entries<F: Format>(
    entries: &[AtomicU64],
    first: usize,
    limit: usize,
    vacant: u64,
    pending: &mut PendingFlush<'_>,
) -> (usize, Option<Stop>) {
    let entries = entries.get(first..).unwrap_or_default();
    let entries = entries.get(..limit).unwrap_or(entries);
    let mut cleared = 0usize;
    while let Some((entry, rest)) = entries.get(cleared..).and_then(<[_]>::split_first) {
        let raw = entry.load(Ordering::Relaxed);
        let leaf = match F::decode(raw, 0) {
            Entry::Leaf(leaf) if raw != vacant => leaf,
            _ => return (cleared, Some(Stop::Hole)),
        };
        if pending.runs_full() {
            return (cleared, Some(Stop::PendingFull));
        }
        entry.store(vacant, Ordering::Release);
        let run = leaves::clear_rest::<F>(rest, raw, vacant).saturating_add(1);
        gather(leaf, u64::try_from(run).unwrap_or(0), pending);
        cleared = cleared.saturating_add(run);
    }
    (cleared, None)
}

/// Notes the references of a leaf that is not there any more. `pending` has room for a run.
pub(crate) fn gather(leaf: Leaf, pages: u64, pending: &mut PendingFlush<'_>) {
    if !leaf.soft.referenced() {
        return;
    }
    if let Some(frames) = MfnRange::of_pages(Mfn(leaf.frame.0), pages) {
        pending.take_run(Run { frames, kind: PageKind::Ram, access: leaf.access });
    }
}
