//! The map that a domain starts with, put into a table that nobody else is in: no lock is taken, and all stores are plain.

use pviommu_abi::Bfn;

use super::{
    Edit, Node, Place, SplitPaid, Stop, Table, leaves,
    maker::{LeafWords, Maker},
    map::index_in_leaf_table,
    upper_lock::Spot,
    walk::Step,
};
use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    format::{Format, TableSoft, pages_at},
    platform::{Pool, Run, TableFrames},
    sync::Ordering,
};

/// What a piece of filling did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Filled {
    /// Pages mapped, from the first on.
    pub pages: u64,
    /// Leaves that took.
    pub leaves: u64,
}

/// Leaves of one table that are to be stored.
struct Row {
    at: Bfn,
    level: u8,
    run: Run,
    /// How many, if the table has as many.
    leaves: u64,
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Maps the frames of `run`, which nothing has to hold, at `at` and after by the largest leaves that fit, at most
    /// `most` of them. The caller has the table for itself, and frames that a device may reach.
    ///
    /// # Errors
    /// If it was none: [`Stop::NeedTables`]; [`Stop::Occupied`] if something is in the way.
    pub fn fill(
        &self,
        at: Bfn,
        run: &Run,
        maker: Maker,
        most: u64,
        edit: &mut Edit<'_>,
    ) -> Result<Filled, Stop> {
        let mut filled = Filled::default();
        while filled.leaves < most {
            let Some(row) = self.next_row(at, run, filled, most) else { break };
            let size = pages_at::<F>(row.level);
            let stored = match self.fill_row(&row, maker, edit) {
                Ok(stored) => stored,
                Err(stop) if filled.leaves == 0 => return Err(stop),
                Err(_) => break,
            };
            filled.pages = filled.pages.saturating_add(stored.saturating_mul(size));
            filled.leaves = filled.leaves.saturating_add(stored);
        }
        Ok(filled)
    }

    /// What comes after what is `filled`.
    fn next_row(&self, at: Bfn, run: &Run, filled: Filled, most: u64) -> Option<Row> {
        let at = at.checked_add(filled.pages)?;
        let first = run.frames.first().checked_add(filled.pages)?;
        let frames = MfnRange::new(first, run.frames.last())?;
        let fits = |level: &u8| {
            let size = pages_at::<F>(*level);
            (at.0 | first.0).is_multiple_of(size) && frames.pages() >= size
        };
        let highest = self.style.largest_leaf_level.min(self.top_level());
        let level = (0..=highest).rfind(fits)?;
        let shift = F::INDEX_BITS.saturating_mul(u32::from(level));
        let leaves = frames.pages().checked_shr(shift).unwrap_or(0);
        let leaves = leaves.min(most.saturating_sub(filled.leaves));
        Some(Row { at, level, run: Run { frames, ..*run }, leaves })
    }

    /// Stores the leaves of `row`, at least one; how many.
    fn fill_row(&self, row: &Row, maker: Maker, edit: &mut Edit<'_>) -> Result<u64, Stop> {
        let Row { at, level, run, leaves } = row;
        let (Spot { place, pointer, .. }, is_new) = self.spot_to_fill(*at, *level, edit)?;
        let vacant = self.beside.vacancy.word(*level);
        let attributes = self.style.attributes;
        let (what, how) = ((run.kind, run.access), (maker, SplitPaid::No));
        let raw = LeafWords::<F>::large(what, how, attributes, *level).of(run.frames.first());
        let entries = self.frames.table(place.table).get(place.index..).unwrap_or_default();
        let most = usize::try_from(*leaves).unwrap_or(usize::MAX);
        let entries = entries.get(..most).unwrap_or(entries);
        let size = pages_at::<F>(*level);
        let stored = match is_new {
            true => leaves::store_all::<F>(entries, raw, size),
            false => leaves::store_run::<F>(entries, raw, size, vacant),
        };
        let pages = u64::try_from(stored).unwrap_or(0).saturating_mul(size);
        let Some(span) = BfnRange::of_pages(*at, pages) else { return Err(Stop::Occupied) };
        let last = place.index.saturating_add(stored).saturating_sub(1);
        self.publish(place.table, place.index, last);
        Self::note_replaced(vacant, span, *level, &mut edit.pending);
        if *level == 0 {
            let raw = pointer.load(Ordering::Relaxed);
            if TableSoft::from_bits(F::soft(raw)).witness().is_none() {
                self.beside.kept.drop_one();
                let record = TableSoft::occupied_at(place.index);
                pointer.store(F::with_soft(raw, record.bits()), Ordering::Release);
            }
        }
        Ok(u64::try_from(stored).unwrap_or(0))
    }

    /// The entry of `level` for `at`, with all tables on the way to it; and whether the table that it is in is new, so that
    /// nothing is in it.
    fn spot_to_fill(
        &self,
        at: Bfn,
        level: u8,
        edit: &mut Edit<'_>,
    ) -> Result<(Spot<'t>, bool), Stop> {
        let mut here = self.top_level();
        let mut node = self.top();
        let mut is_new = false;
        while here > level {
            node = match self.step(node, here, at) {
                Step::Table(next) => next,
                Step::Vacant { spot, .. } => {
                    let missing = here.saturating_sub(level);
                    is_new = true;
                    self.put_table(&spot.place, at, here, missing, edit)?
                }
                Step::Large { .. } | Step::Blocked => return Err(Stop::Occupied),
                Step::Bad => return Err(Stop::BadTable),
            };
            here = here.saturating_sub(1);
        }
        let place = self.place(node.frame, level, at).ok_or(Stop::BadTable)?;
        Ok((node.spot(place), is_new))
    }

    /// Puts a table from the stash where nothing is, at `place`, the entry of `level` for `at`. `missing` will be needed
    /// to reach the bottom.
    fn put_table(
        &self,
        place: &Place<'t>,
        at: Bfn,
        level: u8,
        missing: u8,
        edit: &mut Edit<'_>,
    ) -> Result<Node<'t>, Stop> {
        let need = Stop::NeedTables(missing, Pool::Open);
        if edit.stash.len(Pool::Open) < usize::from(missing) {
            return Err(need);
        }
        let frame: Mfn = edit.stash.take(Pool::Open).ok_or(need)?;
        self.prepare(frame, self.beside.vacancy.word(level.saturating_sub(1)));
        // A leaf table gets the leaf for `at` next, and nothing can be in its way.
        let occupied = || TableSoft::occupied_at(index_in_leaf_table::<F>(at));
        let record = if level == 1 { occupied() } else { TableSoft::EMPTY };
        let said = F::table(frame, level, record);
        self.note_linked(level);
        place.entry.store(said, Ordering::Release);
        self.publish(place.table, place.index, place.index);
        self.note_vacancy_changed(at, level, &mut edit.pending);
        Ok(Node { frame, pointer: place.entry, said })
    }
}
