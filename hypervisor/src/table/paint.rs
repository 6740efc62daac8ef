//! Making ranges without mappings vacant, or blocked.

use pviommu_abi::Bfn;

use super::{Edit, Stop, Table, leaf_lock::occupancy};
use crate::{
    addr::{BfnRange, Mfn},
    format::{Entry, Format, TableSoft, pages_at},
    platform::{Pool, TableFrames},
    sync::{AtomicU64, Ordering},
};

/// What becomes of bus frames without a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paint {
    /// They hit the background, and may be mapped.
    Vacant,
    /// They are nobody's: not present, whatever the background, and not to be mapped.
    Blocked,
}

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Paints `range`, in which nothing is mapped. The caller has the table for itself.
    ///
    /// A range that is not aligned takes tables of its own at both ends. When they are missing, what
    /// was painted stays so, and a second call goes on.
    ///
    /// # Errors
    /// [`Stop::NeedTables`]; [`Stop::Occupied`] if something is mapped there after all.
    pub fn paint(&self, range: BfnRange, paint: Paint, edit: &mut Edit<'_>) -> Result<(), Stop> {
        self.paint_table(self.root.frame, self.top_level(), 0, range, paint, edit)
    }

    /// Paints what of `range` is in `table`, which starts at bus frame `base`. Recursion is as deep
    /// as the table: five.
    fn paint_table(
        &self,
        table: Mfn,
        level: u8,
        base: u64,
        range: BfnRange,
        paint: Paint,
        edit: &mut Edit<'_>,
    ) -> Result<(), Stop> {
        let pages = pages_at::<F>(level);
        let vacant = self.vacancy.word(level);
        let wanted = match paint {
            Paint::Vacant => vacant,
            Paint::Blocked => F::EMPTY,
        };
        let before = range.first().0.saturating_sub(base) / pages.max(1);
        let skip = usize::try_from(before).unwrap_or(usize::MAX);
        let entries = self.frames.table(table);
        for index in skip..entries.len() {
            let Some(entry) = entries.get(index) else { break };
            let start = u64::try_from(index).unwrap_or(0).wrapping_mul(pages).wrapping_add(base);
            if start > range.last().0 {
                break;
            }
            let span = Self::span(Bfn(start), level);
            let raw = entry.load(Ordering::Acquire);
            let inside = range.first() <= span.first() && span.last() <= range.last();
            let child = match F::decode(raw, level) {
                _ if raw == wanted => continue,
                Entry::Table(child) if raw != vacant => child,
                Entry::Leaf(_) if raw != vacant => return Err(Stop::Occupied),
                _ if inside => {
                    entry.store(wanted, Ordering::Release);
                    self.publish(table, index, index);
                    Self::note_replaced(raw, span, level, &mut edit.pending);
                    continue;
                }
                _ => {
                    let child =
                        edit.stash.take(Pool::Open).ok_or(Stop::NeedTables(1, Pool::Open))?;
                    let below = self.vacancy.word(level.saturating_sub(1));
                    self.prepare(child, if raw == vacant { below } else { F::EMPTY });
                    entry.store(F::table(child, TableSoft::EMPTY), Ordering::Release);
                    self.publish(table, index, index);
                    Self::note_replaced(raw, span, level, &mut edit.pending);
                    if level == 1 {
                        // Until the record says otherwise.
                        self.kept.keep_anyway();
                    }
                    child
                }
            };
            let below = level.saturating_sub(1);
            let painted = self.paint_table(child, below, start, range, paint, edit);
            if below == 0 {
                self.record_occupancy(entry, child);
            }
            painted?;
        }
        Ok(())
    }

    /// Records what is left in the leaf table `child` in `pointer`, the entry that points to it.
    fn record_occupancy(&self, pointer: &AtomicU64, child: Mfn) {
        let raw = pointer.load(Ordering::Relaxed);
        let was = TableSoft::from_bits(F::soft(raw));
        let is = occupancy(self.frames.table(child), 0, self.vacancy.word(0));
        match (was.witness(), is.witness()) {
            (None, Some(_)) => self.kept.drop_one(),
            (Some(_), None) => self.kept.keep_anyway(),
            _ => {}
        }
        pointer.store(F::with_soft(raw, is.bits()), Ordering::Release);
    }
}
