//! Leaves above level 0.

use pviommu_abi::Bfn;

use super::{
    Edit, Place, Stop, Table,
    maker::{Maker, leaf_of},
    walk::Step,
};
use crate::{
    format::{Format, Leaf, pages_at},
    platform::{Run, TableFrames},
    sync::Ordering,
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

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Maps the first frames of `run` at `at` by one leaf of `level` (1 or above). A large leaf that
    /// is there gives way or not, as a page does in [`map`](Self::map).
    ///
    /// # Errors
    /// [`Stop::NotALeaf`] if tables are there, even empty ones; else as [`map`](Self::map).
    pub fn map_large(
        &self,
        at: Bfn,
        level: u8,
        run: &Run,
        maker: Maker,
        split: SplitPaid,
        edit: &mut Edit<'_>,
    ) -> Result<(), Stop> {
        let mut new = leaf_of(run.frames.first(), run, maker);
        new.soft = new.soft.with_split_paid(split == SplitPaid::Yes);
        let new = F::leaf(new, level, self.style.attributes);
        let mut here = self.top_level();
        let mut table = self.root.frame;
        loop {
            match self.step(table, here, at) {
                Step::Vacant { place, vacant } if here == level => {
                    let order = (Ordering::Release, Ordering::Relaxed);
                    if place.entry.compare_exchange(vacant, new, order.0, order.1).is_ok() {
                        self.publish(place.table, place.index, place.index);
                        let span = Self::span(at, level);
                        Self::note_replaced(vacant, span, level, &mut edit.pending);
                        return Ok(());
                    }
                    // Somebody was quicker: look again at what is there now.
                    continue;
                }
                Step::Vacant { place, vacant } => {
                    let missing = here.saturating_sub(level);
                    table = self.link_table(&place, vacant, at, here, missing, edit)?;
                }
                Step::Table(_) | Step::Locked if here == level => return Err(Stop::NotALeaf),
                Step::Table(next) => table = next,
                Step::Large { place, raw, leaf } if maker.replaces(leaf.soft.origin()) => {
                    if here > level {
                        self.split(at, &place, here, raw, leaf, edit)?;
                    } else if edit.pending.runs_full() {
                        return Err(Stop::PendingFull);
                    } else if self.replace_large(at, &place, level, (raw, leaf), new, edit) {
                        return Ok(());
                    }
                    continue;
                }
                Step::Large { .. } | Step::Blocked => return Err(Stop::Occupied),
                Step::Locked | Step::Bad => return Err(Stop::BadTable),
            }
            here = here.saturating_sub(1);
        }
    }

    /// Puts `new` in place of the leaf `old` of `level`, and notes what that leaves to be done; false
    /// if something else is there now. There is room for a run.
    #[inline]
    pub(super) fn replace_large(
        &self,
        at: Bfn,
        place: &Place<'_>,
        level: u8,
        old: (u64, Leaf),
        new: u64,
        edit: &mut Edit<'_>,
    ) -> bool {
        let (raw, leaf) = old;
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let replaced = place.entry.compare_exchange(raw, new, order.0, order.1).is_ok();
        if replaced {
            let span = Self::span(at, level);
            self.publish(place.table, place.index, place.index);
            edit.pending.changed_leaves(span);
            self.gather(leaf, span.first(), span.pages(), &mut edit.pending);
            if leaf.soft.split_paid() {
                edit.pending.unreserve(split_cost::<F>(level));
            }
        }
        replaced
    }
}
