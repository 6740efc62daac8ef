//! Tables without mappings: some stay linked, so that the next map at the same place is spared a table and a flush, and
//! the others go as they become empty.
//!
//! When nothing is mapped any more, a context has at most [`MAX_KEPT_TABLES`] tables beside its root, those that lead to
//! kept ones counted. Two counts say whether one more may stay: tables that are kept, and those above the leaf tables
//! that are not, whatever is in them. While both together are no more than that, nothing has to go. Where there are more,
//! [`FEW`] may stay, and all others that are left then lead to these.
//!
//! ```text
//!             is counted as      recorded in the entry that points to it
//!  leaf       kept, or not       no witness: kept
//!  above      kept, or upper     TableSoft::KEPT
//! ```

use pviommu_abi::Bfn;

use super::{Edit, Table, leaf_lock::occupancy, upper_lock::UpperLock};
use crate::{
    format::{Format, MAX_LEVELS, TableSoft, WITNESS_ENTRIES},
    platform::TableFrames,
    sync::{AtomicU64, Ordering},
};

/// Most tables that a context has beside its root when nothing is mapped.
pub const MAX_KEPT_TABLES: u32 = 8;

/// So many may be kept wherever they are: each has a table a level at most.
const FEW: u64 = MAX_KEPT_TABLES as u64 / (MAX_LEVELS as u64 - 1);

const ALL: u64 = MAX_KEPT_TABLES as u64;

/// How many tables are kept, in the low half, and how many more there are above the leaf tables, in the high half: in one
/// word, so that who keeps one sees both as they were at one instant.
///
/// In cache lines of its own, a pair of which some CPUs fetch together: it is written as tables become empty, and what is
/// beside it is read by every CPU at every step.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct KeptTables(AtomicU64);

const UPPER: u64 = 1 << 32;

/// The tables that are kept, and all that are counted.
fn counts(word: u64) -> (u64, u64) {
    let kept = word % UPPER;
    (kept, kept.saturating_add(word / UPPER))
}

impl KeptTables {
    /// Number kept.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(counts(self.0.load(Ordering::Relaxed)).0).unwrap_or(u32::MAX)
    }

    fn change(&self, by: u64, may: impl Fn(u64, u64) -> bool) -> bool {
        let change = |word| {
            let (kept, all) = counts(word);
            may(kept, all).then_some(word.wrapping_add(by))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }

    /// Counts a leaf table that has become empty as kept, unless there are enough.
    pub(crate) fn keep(&self) -> bool {
        self.change(1, |kept, all| kept < FEW || all < ALL)
    }

    /// Counts one more, even if there are enough.
    pub(crate) fn keep_anyway(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a leaf table less: it has entries again, or is unlinked.
    pub(crate) fn drop_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a table above as kept, which may be without entries, if none has to go anyway.
    pub(super) fn keep_upper_unseen(&self) -> bool {
        self.change(1u64.wrapping_sub(UPPER), |_, all| all <= ALL)
    }

    /// Counts a table above, which has become empty, as kept, unless there are enough.
    fn keep_upper(&self) -> bool {
        self.change(1u64.wrapping_sub(UPPER), |kept, all| kept < FEW || all <= ALL)
    }

    /// The same, even if there are enough.
    fn keep_upper_anyway(&self) {
        self.change(1u64.wrapping_sub(UPPER), |_, _| true);
    }

    /// A kept table above gets an entry.
    fn use_upper(&self) {
        self.0.fetch_add(UPPER.wrapping_sub(1), Ordering::Relaxed);
    }

    fn add_upper(&self) {
        self.0.fetch_add(UPPER, Ordering::Relaxed);
    }

    fn drop_upper(&self) {
        self.0.fetch_sub(UPPER, Ordering::Relaxed);
    }
}

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Counts the table that an entry of `level` is about to point to. A leaf table is not: it is to have entries.
    pub(super) fn note_linked(&self, level: u8) {
        if level > 1 {
            self.beside.kept.add_upper();
        }
    }

    /// The same of one that the entry does not point to any more, which was `raw`.
    pub(super) fn note_unlinked(&self, raw: u64, level: u8) {
        let soft = TableSoft::from_bits(F::soft(raw));
        let kept = if level == 1 { soft.witness().is_none() } else { soft.kept() };
        match level {
            _ if kept => self.beside.kept.drop_one(),
            0 | 1 => {}
            _ => self.beside.kept.drop_upper(),
        }
    }

    /// The locked table gets an entry.
    #[inline]
    pub(super) fn note_used(&self, lock: &mut UpperLock<'_>) {
        if lock.soft::<F>().kept() {
            self.beside.kept.use_upper();
            lock.record::<F>(TableSoft::EMPTY);
        }
    }

    /// The table of `level` on the way to `at` may be without entries now: it is kept or goes, and then those above it
    /// likewise. The root stays. No lock is held, and `edit` has room for a table a level.
    #[cold]
    pub(super) fn give_up_upper(&self, at: Bfn, level: u8, edit: &mut Edit<'_>) {
        for level in level..self.top_level() {
            if self.unlink_upper(at, level, edit).is_none() {
                break;
            }
        }
    }

    /// Unlinks the table of `level` on the way to `at`. `None`: it is not there, has entries, or is kept.
    ///
    /// Whoever takes an entry out looks at the table afterwards, under its lock: so of two, the second sees that both
    /// have gone. Whoever puts one in has the lock, and then the table is linked, or he does not get it.
    fn unlink_upper(&self, at: Bfn, level: u8, edit: &mut Edit<'_>) -> Option<()> {
        let above = level.saturating_add(1);
        let place = self.spot_at(at, above)?.place;
        let vacant = self.beside.vacancy.word(above);
        let said = place.entry.load(Ordering::Acquire);
        let frame = F::table_below(said, above).filter(|_| said != vacant)?;
        let mut lock = UpperLock::take::<F>(place.entry, said)?;
        // What was next to the one that has gone is most often there.
        let granule = self.place(frame, level, at)?.index / WITNESS_ENTRIES;
        let found = occupancy(self.frames.table(frame), granule, self.beside.vacancy.word(level));
        if found != TableSoft::EMPTY || lock.soft::<F>().kept() {
            return None;
        }
        if edit.keep_tables {
            self.beside.kept.keep_upper_anyway();
        } else if !self.beside.kept.keep_upper() {
            edit.pending.changed_tables(Self::span(at, above));
            lock.unlink(vacant);
            self.publish(place.table, place.index, place.index);
            self.beside.kept.drop_upper();
            if edit.pending.take_table(frame).is_err() {
                // Not reached: asked before anything was taken out.
                edit.pending.lose_table();
            }
            return Some(());
        }
        lock.record::<F>(TableSoft::KEPT);
        None
    }
}
