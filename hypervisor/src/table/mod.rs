//! The BFN→MFN table of a context: a radix tree in the hardware's own format.
//!
//! ```text
//!  root ─► level 3 ─► level 2 ─► level 1 ─┬─► leaf table (level 0) ─► 512 pages of 4 KiB
//!                                         └─► leaf, 2 MiB
//! ```
//!
//! **Who may write what.** Several CPUs are inside at a time, and units walk at any instant:
//!
//! * Every change is one aligned 64-bit store or compare-exchange (INV-01).
//! * Every table has a lock bit, in the entry that points to it. What is in a table changes only under its lock
//!   (`leaf_lock`, `upper_lock`), but for entries that point to tables: such an entry belongs to the lock of the table
//!   that it points to. One lock serves a whole run of entries, and a leaf has one CPU that removes it, so that its
//!   references are given back once. Whoever waits for a lock holds none.
//! * A table is unlinked under its own lock, once nothing is in it (`kept`). So whoever gets the lock of a table that
//!   it walked to knows that it is still linked. Its frame is freed after a flush and after every CPU that was inside
//!   has left.
//!
//! What is done here is mechanism: ranges were checked by `policy`, references are taken and
//! given back by the caller, and what must be flushed goes into a [`PendingFlush`].

mod fill;
mod handles;
mod kept;
mod large;
mod leaf_lock;
mod leaves;
mod maker;
mod map;
mod paint;
mod prune;
mod singles;
mod split;
mod stash;
mod survey;
mod take_out;
mod unmap;
mod upper_lock;
mod vacancy;
mod walk;

pub use fill::Filled;
pub use handles::Handles;
pub use kept::{KeptTables, MAX_KEPT_TABLES};
pub use large::{SplitPaid, split_cost};
pub use maker::{LeafWords, Maker};
pub use map::Mapped;
pub use paint::Paint;
pub use prune::{Cursor, Prune, Pruned};
pub use singles::Singles;
pub use stash::{Edit, Stash};
pub use survey::{Decides, Stretch};
pub use take_out::{Selection, TakenOut};
pub use unmap::Unmapped;
pub use vacancy::Vacancy;
pub use walk::{Search, Sought};

use core::{fmt, marker::PhantomData};

use pviommu_abi::Bfn;

use upper_lock::Spot;

use crate::{
    addr::{BfnRange, Mfn},
    flush::PendingFlush,
    format::{Format, Leaf, LeafAttributes, pages_at},
    platform::{Pool, TableFrames, TableRoot},
    sync::{AtomicU64, Ordering},
};

/// What all entries of a table have in common, for the units it serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableStyle {
    /// Attributes of every leaf.
    pub attributes: LeafAttributes,
    /// Changes are published for walkers that do not snoop.
    pub publish: bool,
    /// Highest level of the leaves that all of the units know.
    pub largest_leaf_level: u8,
}

/// Why an operation stopped before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The page is mapped already.
    Occupied,
    /// The page is not mapped.
    Hole,
    /// This many table frames must be put into the [`Stash`] first.
    NeedTables(u8, Pool),
    /// The [`PendingFlush`] must be completed first.
    PendingFull,
    /// There are tables where a large leaf was to go.
    NotALeaf,
    /// The page is beyond the table, or a table frame is not one: nothing a guest can cause.
    BadTable,
}

/// What a bus frame leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The leaf that maps it; its frame is the leaf's first.
    pub leaf: Leaf,
    /// Number of pages the leaf maps.
    pub pages: u64,
}

/// One table, as seen by a CPU that is inside. Cheap to make; holds nothing.
pub struct Table<'t, F, T> {
    frames: &'t T,
    root: TableRoot,
    style: TableStyle,
    beside: &'t Beside,
    format: PhantomData<F>,
}

/// What is kept beside a table. Nothing of it is per page, but for pages of other domains.
#[derive(Debug, Default)]
pub struct Beside {
    /// Tables without mappings that stay.
    pub kept: KeptTables,
    /// What an entry without a mapping says.
    pub vacancy: Vacancy,
    /// Which handles foreign pages are given back with.
    pub handles: Handles,
    /// The lock bit of the root, which no entry points to.
    pub top: AtomicU64,
}

impl Beside {
    /// That of a table which is not set up yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A table, the entry that points to it, and what that said.
#[derive(Clone, Copy)]
pub(crate) struct Node<'t> {
    frame: Mfn,
    pointer: &'t AtomicU64,
    said: u64,
}

impl<'t> Node<'t> {
    /// An entry of the table.
    #[inline]
    fn spot(self, place: Place<'t>) -> Spot<'t> {
        Spot { place, pointer: self.pointer, said: self.said }
    }
}

/// An entry, and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'t> {
    table: Mfn,
    index: usize,
    entry: &'t AtomicU64,
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// The table at `root`.
    ///
    /// The caller keeps its frames allocated meanwhile: it is inside (see
    /// [`Cpu`](crate::machine::Cpu)), or the only one who knows the table.
    #[must_use]
    pub fn new(frames: &'t T, root: TableRoot, style: TableStyle, beside: &'t Beside) -> Self {
        Self { frames, root, style, beside, format: PhantomData }
    }

    fn top_level(&self) -> u8 {
        self.root.levels.saturating_sub(1)
    }

    /// The entry for `bfn` in `table`, which is of `level`. `None` beyond the top table's end.
    #[inline]
    fn place(&self, table: Mfn, level: u8, bfn: Bfn) -> Option<Place<'t>> {
        let shift = F::INDEX_BITS.saturating_mul(u32::from(level));
        let number = bfn.0.checked_shr(shift).unwrap_or(0);
        // The top index is not cut off, so that no page beyond the table aliases one inside.
        let index = if level == self.top_level() { number } else { number & Self::INDEX_MASK };
        let index = usize::try_from(index).ok()?;
        let entry = self.frames.table(table).get(index)?;
        Some(Place { table, index, entry })
    }

    const INDEX_MASK: u64 = (1 << F::INDEX_BITS) - 1;

    /// The bus frames under the entry for `bfn` in a table of `level`.
    fn span(bfn: Bfn, level: u8) -> BfnRange {
        let pages = pages_at::<F>(level);
        let first = Bfn(bfn.0 & !pages.wrapping_sub(1));
        // Spans are aligned, so only one of all 2^64 frames could fail, and none is that large.
        BfnRange::of_pages(first, pages).unwrap_or_else(|| BfnRange::single(bfn))
    }

    fn publish(&self, table: Mfn, first: usize, last: usize) {
        if self.style.publish {
            self.frames.publish(table, first, last);
        }
    }

    /// Fills a new table of `level` with `word` and publishes all of it, before anything points to
    /// it (INV-02). Frames come zeroed, so that most often there is nothing to fill.
    fn prepare(&self, table: Mfn, word: u64) {
        if word != 0 {
            for entry in self.frames.table(table) {
                entry.store(word, Ordering::Relaxed);
            }
        }
        self.publish_new(table);
    }

    /// Makes a frame that was prepared and not linked as it came.
    fn wipe(&self, table: Mfn) {
        for entry in self.frames.table(table) {
            entry.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that entries of `level` that stand for `span` and were `raw` are something else now: of
    /// what was present a unit may have a copy (INV-04).
    fn note_replaced(raw: u64, span: BfnRange, level: u8, pending: &mut PendingFlush<'_>) {
        match F::is_present(raw) {
            false => pending.added(span),
            true if level == 0 => pending.changed_leaves(span),
            true => pending.changed_tables(span),
        }
    }

    /// Notes that the entry for `bfn` at `level` is not the vacant one any more, or is it again.
    fn note_vacancy_changed(&self, bfn: Bfn, level: u8, pending: &mut PendingFlush<'_>) {
        if F::is_present(self.beside.vacancy.word(level)) {
            pending.changed_tables(Self::span(bfn, level));
        }
    }

    /// Publishes a new table, all of it, before anything points to it (INV-02).
    fn publish_new(&self, table: Mfn) {
        self.publish(table, 0, self.frames.table(table).len().saturating_sub(1));
    }
}

impl<F, T> fmt::Debug for Table<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("root", &self.root).field("style", &self.style).finish()
    }
}
