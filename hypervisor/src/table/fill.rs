//! Many large leaves at once, in a table that nobody else is in: the map that a domain starts with.

use pviommu_abi::Bfn;

use super::{
    Edit, Place, Stop, Table,
    maker::{Maker, leaf_of},
    walk::Step,
};
use crate::{
    addr::{BfnRange, Mfn},
    format::{Format, pages_at},
    platform::{Run, TableFrames},
    sync::Ordering,
};

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Maps the first frames of `run` at `at` and after by at most `most` leaves of `level` (1 or above), whose splits
    /// are not paid for; how many. It ends where the next table begins, and before an entry that is not vacant.
    ///
    /// The caller has the table for itself, so that a plain store is enough for each.
    ///
    /// # Errors
    /// [`Stop::NotALeaf`] if it was none; else as [`map_large`](Self::map_large).
    pub fn fill_large(
        &self,
        at: Bfn,
        level: u8,
        run: &Run,
        maker: Maker,
        most: u64,
        edit: &mut Edit<'_>,
    ) -> Result<u64, Stop> {
        let place = self.entry_at(at, level, edit)?;
        let size = pages_at::<F>(level);
        let vacant = self.beside.vacancy.word(level);
        let entries = self.frames.table(place.table).get(place.index..).unwrap_or_default();
        let most = usize::try_from(most.min(run.frames.pages() / size.max(1))).unwrap_or(0);
        let mut frame = run.frames.first();
        let mut done = 0u64;
        for entry in entries.iter().take(most) {
            if entry.load(Ordering::Relaxed) != vacant {
                break;
            }
            let raw = F::leaf(leaf_of(frame, run, maker), level, self.style.attributes);
            entry.store(raw, Ordering::Release);
            frame = Mfn(frame.0.wrapping_add(size));
            done = done.saturating_add(1);
        }
        let Some(span) = BfnRange::of_pages(at, done.saturating_mul(size)) else {
            return Err(Stop::NotALeaf);
        };
        let last = usize::try_from(done).unwrap_or(1).saturating_sub(1);
        self.publish(place.table, place.index, place.index.saturating_add(last));
        Self::note_replaced(vacant, span, level, &mut edit.pending);
        Ok(done)
    }

    /// The entry of `level` for `at`, with all tables on the way to it.
    fn entry_at(&self, at: Bfn, level: u8, edit: &mut Edit<'_>) -> Result<Place<'t>, Stop> {
        let mut here = self.top_level();
        let mut table = self.root.frame;
        while here > level {
            table = match self.step(table, here, at) {
                Step::Table(next) => next,
                Step::Vacant { place, vacant } => {
                    let missing = here.saturating_sub(level);
                    self.link_table(&place, vacant, at, here, missing, edit)?
                }
                _ => return Err(Stop::NotALeaf),
            };
            here = here.saturating_sub(1);
        }
        self.place(table, level, at).ok_or(Stop::BadTable)
    }
}
