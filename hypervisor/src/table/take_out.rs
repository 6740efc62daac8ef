//! Taking out every mapping of certain frames.

use pviommu_abi::Bfn;

use super::{Cursor, Edit, Place, Stop, Table, prune::LOOKS};
use crate::{
    addr::{Mfn, MfnRange},
    format::{Entry, Format, Leaf, Origin, pages_at},
    platform::{Pool, TableFrames},
    sync::Ordering,
};

/// Which mappings are to go.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'s> {
    /// Of these frames.
    pub frames: &'s [MfnRange],
    /// Of device registers; else of memory.
    pub mmio: bool,
}

/// What a piece of the search came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakenOut {
    /// Everything has been looked at.
    Finished,
    /// There is more, from here on; and what it takes to go on, if anything.
    More(Cursor, Option<Stop>),
}

/// How much of a leaf is to go.
enum Share {
    Nothing,
    Some,
    All,
}

impl Selection<'_> {
    fn share(&self, leaf: Leaf, pages: u64) -> Share {
        if leaf.soft.origin() == Origin::Reserved || leaf.soft.mmio() != self.mmio {
            return Share::Nothing;
        }
        let Some(frames) = MfnRange::of_pages(leaf.frame, pages) else { return Share::Nothing };
        let hits = || self.frames.iter().filter_map(|range| range.intersection(frames));
        match hits().next() {
            None => Share::Nothing,
            Some(_) if hits().any(|hit| hit == frames) => Share::All,
            Some(_) => Share::Some,
        }
    }
}

/// One piece of a search.
struct Pass<'p, 'e> {
    selection: Selection<'p>,
    from: Cursor,
    looks: u32,
    edit: &'p mut Edit<'e>,
}

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Does a piece of taking out every mapping that is selected: some thousand entries are looked at.
    /// The caller has the table for itself.
    pub fn take_out(
        &self,
        selection: Selection<'_>,
        from: Cursor,
        edit: &mut Edit<'_>,
    ) -> TakenOut {
        let mut pass = Pass { selection, from, looks: LOOKS, edit };
        match self.take_out_of(&mut pass, self.root.frame, self.top_level(), 0) {
            Ok(()) => TakenOut::Finished,
            Err((at, stop)) => TakenOut::More(at, stop),
        }
    }

    /// Searches `table`, which starts at bus frame `base`. Recursion is as deep as the table: five.
    fn take_out_of(
        &self,
        pass: &mut Pass<'_, '_>,
        table: Mfn,
        level: u8,
        base: u64,
    ) -> Result<(), (Cursor, Option<Stop>)> {
        let pages = pages_at::<F>(level);
        let vacant = self.beside.vacancy.word(level);
        let entries = self.frames.table(table);
        for index in 0..entries.len() {
            let Some(entry) = entries.get(index) else { break };
            let start = u64::try_from(index).unwrap_or(0).wrapping_mul(pages).wrapping_add(base);
            if start.wrapping_add(pages.wrapping_sub(1)) < pass.from.0 {
                continue;
            }
            let here = Cursor(start.max(pass.from.0));
            if pass.looks == 0 {
                return Err((here, None));
            }
            pass.looks = pass.looks.saturating_sub(1);
            let place = Place { table, index, entry };
            let at = Bfn(start);
            if level > 0 {
                self.split_share(pass, &place, level, at).map_err(|stop| (here, Some(stop)))?;
            }
            let raw = entry.load(Ordering::Acquire);
            match F::decode(raw, level) {
                _ if raw == vacant => {}
                Entry::Empty => {}
                Entry::Leaf(leaf) => {
                    if matches!(pass.selection.share(leaf, pages), Share::Nothing) {
                        continue;
                    }
                    if pass.edit.pending.runs_full() {
                        return Err((here, Some(Stop::PendingFull)));
                    }
                    self.replace_large(at, &place, level, leaf, vacant, pass.edit);
                    self.note_vacancy_changed(at, level, &mut pass.edit.pending);
                }
                Entry::Table(child) => {
                    let below = level.saturating_sub(1);
                    let left = self.take_out_of(pass, child, below, start);
                    if below == 0 {
                        self.record_occupancy(entry, child);
                    }
                    left?;
                }
            }
        }
        Ok(())
    }

    /// Splits the leaf at `place` if a part of it is to go; if that takes a table that is not to be
    /// had, all of it goes.
    fn split_share(
        &self,
        pass: &mut Pass<'_, '_>,
        place: &Place<'_>,
        level: u8,
        at: Bfn,
    ) -> Result<(), Stop> {
        let raw = place.entry.load(Ordering::Acquire);
        let Entry::Leaf(leaf) = F::decode(raw, level) else { return Ok(()) };
        if !matches!(pass.selection.share(leaf, pages_at::<F>(level)), Share::Some) {
            return Ok(());
        }
        match self.split(at, place, level, raw, leaf, pass.edit) {
            Err(Stop::NeedTables(_, Pool::Open)) if pass.edit.whole_leaves => Ok(()),
            split => split,
        }
    }
}
