//! Replacing a large leaf by a table of smaller ones that say the same.

use pviommu_abi::Bfn;

use super::{Edit, Place, Stop, Table};
use crate::{
    addr::Mfn,
    format::{Format, Leaf, TableSoft, pages_at},
    platform::{Pool, TableFrames},
    sync::Ordering,
};

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Splits the leaf `raw` at `place`, of `level`, into leaves one level down, in one store.
    ///
    /// Each page keeps frame, access and record at every instant (INV-06). The frame comes from
    /// the reservation if the split was paid for. The caller holds the lock of the table that `place` is in, or has
    /// it for itself.
    pub(crate) fn split(
        &self,
        bfn: Bfn,
        place: &Place<'_>,
        level: u8,
        raw: u64,
        leaf: Leaf,
        edit: &mut Edit<'_>,
    ) -> Result<(), Stop> {
        let pool = if leaf.soft.split_paid() { Pool::Reserved } else { Pool::Open };
        let child = edit.stash.take(pool).ok_or(Stop::NeedTables(1, pool))?;
        let below = level.saturating_sub(1);
        self.fill_parts(child, below, raw, leaf);
        self.publish_new(child);
        let record = if below == 0 { TableSoft::occupied_at(0) } else { TableSoft::EMPTY };
        let table = F::table(child, level, record);
        self.note_linked(level);
        place.entry.store(table, Ordering::Release);
        self.publish(place.table, place.index, place.index);
        edit.pending.changed_tables(Self::span(bfn, level));
        Ok(())
    }

    fn fill_parts(&self, child: Mfn, level: u8, raw: u64, leaf: Leaf) {
        let step = pages_at::<F>(level);
        let soft = leaf.soft.with_split_paid(leaf.soft.split_paid() && level > 0);
        let mut part = Leaf { soft, ..leaf };
        for entry in self.frames.table(child) {
            entry.store(F::leaf(part, level, F::attributes(raw)), Ordering::Relaxed);
            part.frame = Mfn(part.frame.0.wrapping_add(step));
        }
    }
}
