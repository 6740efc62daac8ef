//! Putting mappings in.

use pviommu_abi::Bfn;

use super::{
    Edit, Stop, Table, handles,
    leaf_lock::LeafLock,
    leaves,
    maker::{LeafWords, Maker},
    walk::{Step, Walk},
};
use crate::{
    addr::BfnRange,
    format::{Entry, Format},
    platform::{Access, AlikeRuns, PageKind, Pool, TableFrames},
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

/// Where in a leaf table the next page goes.
struct Here<'h, 'r> {
    index: usize,
    at: Bfn,
    edit: &'h mut Edit<'r>,
}

impl Here<'_, '_> {
    fn step(&mut self, pages: usize) {
        self.index = self.index.saturating_add(pages);
        self.at.0 = self.at.0.wrapping_add(u64::try_from(pages).unwrap_or(0));
    }
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Maps the frames of `runs`, at most `limit` of them, at `at` and after with 4 KiB leaves.
    ///
    /// One call does one leaf table: it ends where the next begins. A page that is mapped already
    /// stops it, unless it gives way to `maker`; a want of tables or room stops it before the first
    /// page only.
    pub fn map(
        &self,
        at: Bfn,
        runs: AlikeRuns<'_>,
        limit: u64,
        maker: Maker,
        edit: &mut Edit<'_>,
    ) -> Mapped {
        let mut lock = match self.leaf_table(at, runs.kind, maker, edit) {
            Ok(lock) => lock,
            Err(stop) => return Mapped { pages: 0, stop: Some(stop) },
        };
        let first = index_in_leaf_table::<F>(at);
        let mut here = Here { index: first, at, edit };
        let vacant = self.beside.vacancy.word(0);
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
        left = left.min(lock.entries.len().saturating_sub(first));
        let words = self.leaf_words(runs.kind, runs.access, maker);
        let mut stop = None;
        let mut rest = runs.frames;
        while left > 0 && !rest.is_empty() {
            if words.own {
                // Memory of a guest is most often scattered: runs of one page.
                let entries = lock.entries.get(here.index..).unwrap_or_default();
                let entries = entries.get(..left).unwrap_or(entries);
                let stored = leaves::store_scattered(entries, rest, vacant, |at| words.of(at));
                rest = rest.get(stored..).unwrap_or_default();
                left = left.saturating_sub(stored);
                here.step(stored);
            }
            let Some((run, after)) = rest.split_first().filter(|_| left > 0) else { break };
            let wanted = usize::try_from(run.pages()).unwrap_or(usize::MAX).min(left);
            let raw = words.of(run.first());
            if let Err(stopped) =
                self.store_run(&lock, (wanted, raw), (runs.kind, maker), &mut here)
            {
                stop = Some(stopped);
                break;
            }
            rest = after;
            left = left.saturating_sub(wanted);
        }
        let index = here.index;
        let pages = index.saturating_sub(first);
        if pages > 0 {
            self.publish(lock.frame, first, index.saturating_sub(1));
            if lock.soft::<F>().witness().is_none() {
                lock.set_occupied::<F>(first);
            }
            if let Some(range) = BfnRange::of_pages(at, u64::try_from(pages).unwrap_or(1)) {
                Self::note_replaced(vacant, range, 0, &mut edit.pending);
            }
        } else if lock.soft::<F>().witness().is_none() {
            self.beside.kept.keep_anyway();
        }
        let stop = stop.filter(|stop| pages == 0 || *stop == Stop::Occupied);
        Mapped { pages: u64::try_from(pages).unwrap_or(0), stop }
    }

    /// Words of small leaves for pages of `kind` that devices may `access`.
    #[must_use]
    #[inline]
    pub fn leaf_words(&self, kind: PageKind, access: Access, maker: Maker) -> LeafWords<F> {
        LeafWords::new(kind, access, maker, self.style.attributes)
    }

    /// Stores the `count` leaves of a run that starts with `first` from `here` on, which moves along.
    fn store_run(
        &self,
        lock: &LeafLock<'_>,
        (count, first): (usize, u64),
        (kind, maker): (PageKind, Maker),
        here: &mut Here<'_, '_>,
    ) -> Result<(), Stop> {
        let vacant = self.beside.vacancy.word(0);
        let mut done = 0usize;
        while done < count {
            let nth = |done| leaves::nth_leaf::<F>(first, done);
            let entries = lock.entries.get(here.index..).unwrap_or_default();
            let left = entries.get(..count.saturating_sub(done)).unwrap_or(entries);
            if kind.is_own() {
                let stored = leaves::store_run::<F>(left, nth(done), 1, vacant);
                here.step(stored);
                done = done.saturating_add(stored);
            }
            if done < count {
                self.store_one(lock, nth(done), (kind, maker), here)?;
                here.step(1);
                done = done.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Stores one leaf, of another domain's page or in place of a mapping that gives way.
    #[cold]
    fn store_one(
        &self,
        lock: &LeafLock<'_>,
        raw: u64,
        (kind, maker): (PageKind, Maker),
        here: &mut Here<'_, '_>,
    ) -> Result<(), Stop> {
        let entry = lock.entries.get(here.index).ok_or(Stop::BadTable)?;
        let there = entry.load(Ordering::Relaxed);
        let replaced = match F::decode(there, 0) {
            _ if there == self.beside.vacancy.word(0) => None,
            Entry::Leaf(leaf) if maker.replaces(leaf.soft.origin()) => Some(leaf),
            _ => return Err(Stop::Occupied),
        };
        if replaced.is_some() && here.edit.pending.runs_full() {
            return Err(Stop::PendingFull);
        }
        let handle = match kind {
            PageKind::Foreign(handle) => {
                let word = self.handle_word(here.at, here.edit)?;
                Some((word, handles::encode(handle).ok_or(Stop::BadTable)?))
            }
            PageKind::Ram | PageKind::Mmio => None,
        };
        if let Some(leaf) = replaced {
            here.edit.pending.changed_leaves(BfnRange::single(here.at));
            self.gather(leaf, here.at, 1, &mut here.edit.pending);
        }
        if let Some((word, handle)) = handle {
            word.store(handle, Ordering::Relaxed);
        }
        entry.store(raw, Ordering::Release);
        Ok(())
    }

    /// Asks for all tables that a foreign page takes, before one of them is linked: an empty one would
    /// be found when frames are short, and go again.
    #[cold]
    fn ask_for_foreign(&self, at: Bfn, edit: &mut Edit<'_>) -> Result<(), Stop> {
        let missing = self.missing_tables(at).saturating_add(self.missing_handle_tables(at));
        if edit.stash.len(Pool::Open) < usize::from(missing) {
            return Err(Stop::NeedTables(missing, Pool::Open));
        }
        Ok(())
    }

    /// Tables that are not there on the way to the leaf of `at`.
    fn missing_tables(&self, at: Bfn) -> u8 {
        let mut node = self.top();
        for level in (1..=self.top_level()).rev() {
            match self.step(node, level, at) {
                Step::Table(next) => node = next,
                Step::Vacant { .. } => return level,
                _ => return 0,
            }
        }
        0
    }

    /// The leaf table of `at`, locked, made if it is not there, with all that pages of `kind` take.
    #[inline]
    fn leaf_table(
        &self,
        at: Bfn,
        kind: PageKind,
        maker: Maker,
        edit: &mut Edit<'_>,
    ) -> Result<LeafLock<'t>, Stop> {
        if !kind.is_own() {
            self.ask_for_foreign(at, edit)?;
        }
        match self.try_leaf_table(at) {
            Some(lock) => {
                if lock.soft::<F>().witness().is_none() {
                    self.beside.kept.drop_one();
                }
                Ok(lock)
            }
            None => self.leaf_table_for(at, maker, edit),
        }
    }

    /// The same where the way to it is not the usual one.
    #[cold]
    fn leaf_table_for(
        &self,
        at: Bfn,
        maker: Maker,
        edit: &mut Edit<'_>,
    ) -> Result<LeafLock<'t>, Stop> {
        loop {
            match self.walk(at) {
                Walk::Locked(lock) => {
                    if lock.soft::<F>().witness().is_none() {
                        self.beside.kept.drop_one();
                    }
                    return Ok(lock);
                }
                Walk::Large { spot, level, raw, leaf } if maker.replaces(leaf.soft.origin()) => {
                    if let Some(_lock) = self.claim(&spot, raw) {
                        self.split(at, &spot.place, level, raw, leaf, edit)?;
                    }
                }
                Walk::Large { .. } | Walk::Blocked => return Err(Stop::Occupied),
                Walk::Bad => return Err(Stop::BadTable),
                Walk::Vacant { spot, level, vacant } if level > 1 => {
                    // The walk starts again at the root: once a table, not once a page.
                    self.link_table(&spot, vacant, at, level, level, edit)?;
                }
                Walk::Vacant { spot, level, vacant } => {
                    let frame =
                        edit.stash.take(Pool::Open).ok_or(Stop::NeedTables(1, Pool::Open))?;
                    self.prepare(frame, self.beside.vacancy.word(0));
                    let entries = self.frames.table(frame);
                    if let Some(_upper) = self.claim(&spot, vacant) {
                        let place = spot.place;
                        let lock = LeafLock::link::<F>(place, frame, entries);
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
}

/// The index of `bfn` in its leaf table.
pub(crate) fn index_in_leaf_table<F: Format>(bfn: Bfn) -> usize {
    let mask = (1u64 << F::INDEX_BITS).wrapping_sub(1);
    usize::try_from(bfn.0 & mask).unwrap_or(0)
}
