//! Making ranges vacant, blocked, or direct: what is there without a guest having mapped it.

use pviommu_abi::Bfn;

use super::{Edit, Place, Stop, Table, leaf_lock::occupancy, stash::MAX_TABLES};
use crate::{
    addr::{BfnRange, Mfn},
    format::{Entry, Format, Leaf, LeafSoft, MAX_LEVELS, Origin, TableSoft, pages_at},
    platform::{Access, Pool, TableFrames},
    sync::{AtomicU64, Ordering},
};

/// What becomes of bus frames that no guest has mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paint {
    /// They hit the background, and may be mapped.
    Vacant,
    /// They are nobody's: not present, whatever the background, and not to be mapped.
    Blocked,
    /// They are mapped to the frames of the same number, for a device's firmware.
    Direct(Access),
}

/// What is painted, and where.
struct Brush {
    range: BfnRange,
    paint: Paint,
}

/// A table that is being painted.
struct Visit {
    table: Mfn,
    /// The bus frame at which it starts.
    base: u64,
    /// The entry at hand.
    index: usize,
}

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Paints `range`, in which no guest has mapped anything. The caller has the table for itself.
    ///
    /// What is left there of the map that the domain started with goes. A range that is not aligned
    /// takes tables of its own at both ends. When they are missing, or there is no room for what
    /// goes, what was painted stays so, and a second call goes on.
    ///
    /// # Errors
    /// [`Stop::NeedTables`]; [`Stop::PendingFull`]; [`Stop::Occupied`] if something is mapped there
    /// after all.
    pub fn paint(&self, range: BfnRange, paint: Paint, edit: &mut Edit<'_>) -> Result<(), Stop> {
        let brush = Brush { range, paint };
        // All at once, as far as there is room: an empty table would be found when frames are short,
        // and go again.
        let missing = self.missing_for(Some(self.root.frame), self.top_level(), 0, &brush);
        if edit.stash.len(Pool::Open) < usize::from(missing) {
            return Err(Stop::NeedTables(missing, Pool::Open));
        }
        self.paint_all(&brush, edit)
    }

    /// Tables that painting takes in `table`, or in one that is not there yet; no more than the stash
    /// holds. Recursion is as deep as the table: five.
    fn missing_for(&self, table: Option<Mfn>, level: u8, base: u64, brush: &Brush) -> u8 {
        let pages = pages_at::<F>(level);
        let most = u8::try_from(MAX_TABLES).unwrap_or(u8::MAX);
        let entries = table.map_or(&[][..], |table| self.frames.table(table));
        let length = 1u64.checked_shl(F::INDEX_BITS).unwrap_or(0);
        let first = brush.range.first().0.saturating_sub(base) / pages.max(1);
        let last = (brush.range.last().0.saturating_sub(base) / pages.max(1)).min(length);
        let mut missing = 0u8;
        for index in first..=last.min(length.saturating_sub(1)) {
            let start = index.wrapping_mul(pages).wrapping_add(base);
            let span = Self::span(Bfn(start), level);
            let entry = usize::try_from(index).ok().and_then(|index| entries.get(index));
            let raw = entry.map(|entry| entry.load(Ordering::Acquire));
            let painted = self.painted(brush.paint, level, start);
            let inside = brush.range.first() <= span.first() && span.last() <= brush.range.last();
            let below = level.saturating_sub(1);
            let vacant = self.beside.vacancy.word(level);
            let more = match raw.map(|raw| (raw, F::decode(raw, level))) {
                Some((raw, _)) if painted == Some(raw) => 0,
                Some((raw, Entry::Table(child))) if raw != vacant => {
                    self.missing_for(Some(child), below, start, brush)
                }
                // A split asks for its own.
                Some((_, Entry::Leaf(_))) => 0,
                _ if painted.is_some() && inside => 0,
                _ => self.missing_for(None, below, start, brush).saturating_add(1),
            };
            missing = missing.saturating_add(more);
            if missing >= most {
                return most;
            }
        }
        missing
    }

    /// What an entry of `level` that begins at `start` is to say; `None` if smaller ones have to.
    fn painted(&self, paint: Paint, level: u8, start: u64) -> Option<u64> {
        match paint {
            Paint::Vacant => Some(self.beside.vacancy.word(level)),
            Paint::Blocked => Some(F::EMPTY),
            Paint::Direct(_) if level > self.style.largest_leaf_level => None,
            Paint::Direct(access) => {
                let soft = LeafSoft::new(Origin::Reserved);
                let leaf = Leaf { frame: Mfn(start), access, soft };
                Some(F::leaf(leaf, level, self.style.attributes))
            }
        }
    }

    /// Paints from the root on, table by table: those on the way are kept beside each other, because the
    /// stack of a hypervisor is small.
    #[inline(never)]
    fn paint_all(&self, brush: &Brush, edit: &mut Edit<'_>) -> Result<(), Stop> {
        let mut path = heapless::Vec::<Visit, MAX_LEVELS>::new();
        let mut down = Some((self.root.frame, 0));
        loop {
            let above = path.len().saturating_sub(usize::from(down.is_none()));
            let level = self.top_level().saturating_sub(u8::try_from(above).unwrap_or(u8::MAX));
            if let Some((table, base)) = down {
                let skipped = brush.range.first().0.saturating_sub(base);
                let index = skipped / pages_at::<F>(level).max(1);
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                // Not more than there are levels.
                let _ = path.push(Visit { table, base, index });
            }
            let Some(visit) = path.last_mut() else { return Ok(()) };
            let painted = self.paint_entries(visit, level, brush, edit);
            if let Ok(Some(child)) = painted {
                down = Some(child);
                continue;
            }
            down = None;
            let child = path.pop();
            let parent = path.last_mut();
            if let (Some(parent), Some(child)) = (parent, child) {
                if level == 0
                    && let Some(pointer) = self.frames.table(parent.table).get(parent.index)
                {
                    self.record_occupancy(pointer, child.table);
                }
                parent.index = parent.index.saturating_add(1);
            }
            painted?;
        }
    }

    /// Paints what of the range is in the table that is visited, up to the first entry that a table below
    /// has to be painted for: that one, and the bus frame at which it starts.
    fn paint_entries(
        &self,
        visit: &mut Visit,
        level: u8,
        brush: &Brush,
        edit: &mut Edit<'_>,
    ) -> Result<Option<(Mfn, u64)>, Stop> {
        let Brush { range, paint } = *brush;
        let pages = pages_at::<F>(level);
        let vacant = self.beside.vacancy.word(level);
        let Visit { table, base, .. } = *visit;
        let entries = self.frames.table(table);
        while let Some(entry) = entries.get(visit.index) {
            let index = visit.index;
            let start = u64::try_from(index).unwrap_or(0).wrapping_mul(pages).wrapping_add(base);
            if start > range.last().0 {
                break;
            }
            let place = Place { table, index, entry };
            let span = Self::span(Bfn(start), level);
            let raw = entry.load(Ordering::Acquire);
            let inside = range.first() <= span.first() && span.last() <= range.last();
            let painted = self.painted(paint, level, start);
            let word = painted.filter(|_| inside);
            match (F::decode(raw, level), word) {
                _ if painted == Some(raw) => {}
                (Entry::Table(child), _) if raw != vacant => return Ok(Some((child, start))),
                // Also the scratch page, which holds nothing.
                (Entry::Leaf(leaf), _) => {
                    if !matches!(leaf.soft.origin(), Origin::Initial | Origin::Reserved) {
                        return Err(Stop::Occupied);
                    }
                    if edit.pending.runs_full() {
                        return Err(Stop::PendingFull);
                    }
                    let Some(word) = word else {
                        let child =
                            self.split_for(span.first(), &place, level, (raw, leaf), edit)?;
                        return Ok(Some((child, start)));
                    };
                    let at = span.first();
                    self.replace_large(at, &place, level, leaf, word, edit);
                    if word == vacant {
                        self.note_vacancy_changed(at, level, &mut edit.pending);
                    }
                }
                (_, Some(word)) => {
                    entry.store(word, Ordering::Release);
                    self.publish(table, index, index);
                    Self::note_replaced(raw, span, level, &mut edit.pending);
                }
                (_, None) => {
                    let child = self.own_table(&place, level, (raw, vacant), span, edit)?;
                    return Ok(Some((child, start)));
                }
            }
            visit.index = index.saturating_add(1);
        }
        Ok(None)
    }

    /// Splits a leaf, and returns the table that it became.
    fn split_for(
        &self,
        bfn: Bfn,
        place: &Place<'_>,
        level: u8,
        (raw, leaf): (u64, Leaf),
        edit: &mut Edit<'_>,
    ) -> Result<Mfn, Stop> {
        self.split(bfn, place, level, raw, leaf, edit)?;
        match F::decode(place.entry.load(Ordering::Acquire), level) {
            Entry::Table(child) => Ok(child),
            Entry::Empty | Entry::Leaf(_) => Err(Stop::BadTable),
        }
    }

    /// Puts a table of its own where `raw` is, vacant or blocked, and returns it.
    fn own_table(
        &self,
        place: &Place<'_>,
        level: u8,
        (raw, vacant): (u64, u64),
        span: BfnRange,
        edit: &mut Edit<'_>,
    ) -> Result<Mfn, Stop> {
        let child = edit.stash.take(Pool::Open).ok_or(Stop::NeedTables(1, Pool::Open))?;
        let below = self.beside.vacancy.word(level.saturating_sub(1));
        self.prepare(child, if raw == vacant { below } else { F::EMPTY });
        self.note_linked(level);
        place.entry.store(F::table(child, level, TableSoft::EMPTY), Ordering::Release);
        self.publish(place.table, place.index, place.index);
        Self::note_replaced(raw, span, level, &mut edit.pending);
        if level == 1 {
            // Until the record says otherwise.
            self.beside.kept.keep_anyway();
        }
        Ok(child)
    }

    /// Records what is left in the leaf table `child` in `pointer`, the entry that points to it.
    pub(super) fn record_occupancy(&self, pointer: &AtomicU64, child: Mfn) {
        let raw = pointer.load(Ordering::Relaxed);
        let was = TableSoft::from_bits(F::soft(raw));
        let is = occupancy(self.frames.table(child), 0, self.beside.vacancy.word(0));
        match (was.witness(), is.witness()) {
            (None, Some(_)) => self.beside.kept.drop_one(),
            (Some(_), None) => self.beside.kept.keep_anyway(),
            _ => {}
        }
        pointer.store(F::with_soft(raw, is.bits()), Ordering::Release);
    }
}
