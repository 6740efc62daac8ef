//! Putting mappings in.

use pviommu_abi::Bfn;

use super::{
    Edit, Place, Stop, Table,
    leaf_lock::LeafLock,
    leaves,
    walk::{Step, Walk},
};
use crate::{
    addr::{BfnRange, Mfn},
    format::{Format, Leaf, LeafSoft, Origin, TableSoft, pages_at},
    platform::{PageKind, Pool, Run, TableFrames},
    sync::Ordering,
};

/// What a map did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Pages mapped, from the first on.
    pub pages: u64,
    /// Why not more, if more could have been in this leaf table.
    pub stop: Option<Stop>,
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Maps the frames of `runs`, at most `limit` of them, at `at` and after with 4 KiB leaves.
    ///
    /// One call does one leaf table: it ends where the next begins. A page that is mapped already
    /// stops it: only what is vacant is ever replaced here.
    pub fn map(
        &self,
        at: Bfn,
        runs: &[Run],
        limit: u64,
        origin: Origin,
        edit: &mut Edit<'_>,
    ) -> Mapped {
        let mut lock = match self.leaf_table_for(at, edit) {
            Ok(lock) => lock,
            Err(stop) => return Mapped { pages: 0, stop: Some(stop) },
        };
        let first = index_in_leaf_table::<F>(at);
        let room = lock.entries.len().saturating_sub(first);
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX).min(room);
        let mut index = first;
        let mut stop = None;
        for run in runs {
            let wanted = usize::try_from(run.frames.pages()).unwrap_or(usize::MAX).min(left);
            let stored = self.store_run(&lock, index, wanted, run, origin);
            index = index.saturating_add(stored);
            left = left.saturating_sub(stored);
            if stored < wanted {
                stop = Some(Stop::Occupied);
                break;
            }
        }
        let pages = index.saturating_sub(first);
        if pages > 0 {
            self.publish(lock.frame, first, index.saturating_sub(1));
            if lock.soft::<F>().witness().is_none() {
                lock.set_occupied::<F>(first);
            }
            if let Some(range) = BfnRange::of_pages(at, u64::try_from(pages).unwrap_or(1)) {
                Self::note_replaced(self.vacancy.word(0), range, 0, &mut edit.pending);
            }
        } else if lock.soft::<F>().witness().is_none() {
            self.kept.keep_anyway();
        }
        Mapped { pages: u64::try_from(pages).unwrap_or(0), stop }
    }

    /// Stores up to `count` leaves from `index` on; the number stored, fewer if one was present.
    fn store_run(
        &self,
        lock: &LeafLock<'_>,
        index: usize,
        count: usize,
        run: &Run,
        origin: Origin,
    ) -> usize {
        let leaf = leaf_of(run.frames.first(), run, origin);
        let raw = F::leaf(leaf, 0, self.style.attributes);
        let entries = lock.entries.get(index..).unwrap_or_default();
        leaves::store_run::<F>(entries.get(..count).unwrap_or(entries), raw, self.vacancy.word(0))
    }

    /// Maps the first frames of `run` at `at` by one leaf of `level` (1 or above).
    ///
    /// # Errors
    /// [`Stop::NotALeaf`] if tables are there, even empty ones; else as [`map`](Self::map).
    pub fn map_large(
        &self,
        at: Bfn,
        level: u8,
        run: &Run,
        origin: Origin,
        split: SplitPaid,
        edit: &mut Edit<'_>,
    ) -> Result<(), Stop> {
        let mut here = self.top_level();
        let mut table = self.root.frame;
        loop {
            match self.step(table, here, at) {
                Step::Vacant { place, vacant } if here == level => {
                    let mut leaf = leaf_of(run.frames.first(), run, origin);
                    leaf.soft = leaf.soft.with_split_paid(split == SplitPaid::Yes);
                    let raw = F::leaf(leaf, level, self.style.attributes);
                    let order = (Ordering::Release, Ordering::Relaxed);
                    let stored = place.entry.compare_exchange(vacant, raw, order.0, order.1);
                    if stored.is_err() {
                        // Somebody was quicker: look again at what is there now.
                        continue;
                    }
                    self.publish(place.table, place.index, place.index);
                    Self::note_replaced(vacant, Self::span(at, level), level, &mut edit.pending);
                    return Ok(());
                }
                Step::Vacant { place, vacant } => {
                    let missing = here.saturating_sub(level);
                    table = self.link_table(&place, vacant, at, here, missing, edit)?;
                }
                Step::Table(_) | Step::Locked if here == level => return Err(Stop::NotALeaf),
                Step::Table(next) => table = next,
                Step::Large { .. } | Step::Blocked => return Err(Stop::Occupied),
                Step::Locked | Step::Bad => return Err(Stop::BadTable),
            }
            here = here.saturating_sub(1);
        }
    }

    /// The leaf table of `at`, locked, made if it is not there.
    fn leaf_table_for(&self, at: Bfn, edit: &mut Edit<'_>) -> Result<LeafLock<'t>, Stop> {
        loop {
            match self.walk(at) {
                Walk::Locked(lock) => {
                    if lock.soft::<F>().witness().is_none() {
                        self.kept.drop_one();
                    }
                    return Ok(lock);
                }
                Walk::Large { .. } | Walk::Blocked => return Err(Stop::Occupied),
                Walk::Bad => return Err(Stop::BadTable),
                Walk::Vacant { place, level, vacant } if level > 1 => {
                    // The walk starts again at the root: once a table, not once a page.
                    self.link_table(&place, vacant, at, level, level, edit)?;
                }
                Walk::Vacant { place, level, vacant } => {
                    let frame =
                        edit.stash.take(Pool::Open).ok_or(Stop::NeedTables(1, Pool::Open))?;
                    self.prepare(frame, self.vacancy.word(0));
                    let entries = self.frames.table(frame);
                    if let Some(lock) = LeafLock::try_link::<F>(place, vacant, frame, entries) {
                        self.publish(place.table, place.index, place.index);
                        self.note_vacancy_changed(at, level, &mut edit.pending);
                        return Ok(lock);
                    }
                    self.wipe(frame);
                    // Taken out of the stash just now, so there is room for it.
                    let _ = edit.stash.put(frame, Pool::Open);
                }
            }
        }
    }

    /// Links a table from the stash at `place`, the entry of `level` for `at`, in place of `vacant`,
    /// and returns it. `missing` tables will be needed to reach the bottom.
    fn link_table(
        &self,
        place: &Place<'t>,
        vacant: u64,
        at: Bfn,
        level: u8,
        missing: u8,
        edit: &mut Edit<'_>,
    ) -> Result<Mfn, Stop> {
        if edit.stash.len(Pool::Open) < usize::from(missing) {
            return Err(Stop::NeedTables(missing, Pool::Open));
        }
        let frame = edit.stash.take(Pool::Open).ok_or(Stop::NeedTables(missing, Pool::Open))?;
        self.prepare(frame, self.vacancy.word(level.saturating_sub(1)));
        let raw = F::table(frame, TableSoft::EMPTY);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        match place.entry.compare_exchange(vacant, raw, order.0, order.1) {
            Ok(_) => {
                self.publish(place.table, place.index, place.index);
                self.note_vacancy_changed(at, level, &mut edit.pending);
                Ok(frame)
            }
            Err(_) => {
                self.wipe(frame);
                let _ = edit.stash.put(frame, Pool::Open);
                Err(Stop::NeedTables(missing, Pool::Open))
            }
        }
    }
}

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

fn leaf_of(frame: Mfn, run: &Run, origin: Origin) -> Leaf {
    let soft = LeafSoft::new(origin);
    let soft = match run.kind {
        PageKind::Ram => soft.with_reference(),
        PageKind::Mmio => soft.with_mmio(),
    };
    Leaf { frame, access: run.access, soft }
}

/// The index of `bfn` in its leaf table.
pub(crate) fn index_in_leaf_table<F: Format>(bfn: Bfn) -> usize {
    let mask = (1u64 << F::INDEX_BITS).wrapping_sub(1);
    usize::try_from(bfn.0 & mask).unwrap_or(0)
}
