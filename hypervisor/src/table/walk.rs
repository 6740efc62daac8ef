//! The way down: from the root to the entry that decides about a bus frame.

use pviommu_abi::Bfn;

use super::{Place, Table, Translation, leaf_lock::LeafLock};
use crate::{
    addr::{BfnRange, Mfn},
    format::{Entry, Format, Leaf, Origin, TableSoft, pages_at},
    platform::TableFrames,
    sync::{Ordering, relax},
};

/// Where a walk ended.
pub(crate) enum Walk<'t> {
    /// At the leaf table, which is locked now.
    Locked(LeafLock<'t>),
    /// At a leaf above level 0.
    Large { place: Place<'t>, level: u8, raw: u64, leaf: Leaf },
    /// At a vacant entry of `level`: where the background begins.
    Vacant { place: Place<'t>, level: u8, vacant: u64 },
    /// At an entry that nobody may map.
    Blocked,
    /// Beyond the table, or in one that is not there.
    Bad,
}

/// What an entry above the leaves turned out to be.
pub(crate) enum Step<'t> {
    Table(Mfn),
    Locked,
    Large { place: Place<'t>, raw: u64, leaf: Leaf },
    Vacant { place: Place<'t>, vacant: u64 },
    Blocked,
    Bad,
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Looks at the entry for `bfn` in `table`, of `level` (1 or above).
    #[inline]
    pub(crate) fn step(&self, table: Mfn, level: u8, bfn: Bfn) -> Step<'t> {
        let Some(place) = self.place(table, level, bfn) else { return Step::Bad };
        let raw = place.entry.load(Ordering::Acquire);
        if raw == self.beside.vacancy.word(level) {
            return Step::Vacant { place, vacant: raw };
        }
        match F::decode(raw, level) {
            Entry::Empty => Step::Blocked,
            Entry::Leaf(leaf) => Step::Large { place, raw, leaf },
            Entry::Table(_) if TableSoft::from_bits(F::soft(raw)).locked() => Step::Locked,
            Entry::Table(next) => Step::Table(next),
        }
    }

    /// Walks to the leaf table of `bfn` and locks it, or to what is there instead.
    #[inline(always)]
    pub(crate) fn walk(&self, bfn: Bfn) -> Walk<'t> {
        let mut level = self.top_level();
        let mut table = self.root.frame;
        while level > 1 {
            match self.step(table, level, bfn) {
                Step::Table(next) => table = next,
                Step::Large { place, raw, leaf } => return Walk::Large { place, level, raw, leaf },
                Step::Vacant { place, vacant } => return Walk::Vacant { place, level, vacant },
                Step::Blocked => return Walk::Blocked,
                Step::Locked | Step::Bad => return Walk::Bad,
            }
            level = level.saturating_sub(1);
        }
        self.lock_leaf_table(table, bfn)
    }

    /// Locks the leaf table that the level 1 `table` has for `bfn`.
    #[inline]
    fn lock_leaf_table(&self, table: Mfn, bfn: Bfn) -> Walk<'t> {
        loop {
            let Some(place) = self.place(table, 1, bfn) else { return Walk::Bad };
            let raw = place.entry.load(Ordering::Acquire);
            if raw == self.beside.vacancy.word(1) {
                return Walk::Vacant { place, level: 1, vacant: raw };
            }
            match F::decode(raw, 1) {
                Entry::Empty => return Walk::Blocked,
                Entry::Leaf(leaf) => return Walk::Large { place, level: 1, raw, leaf },
                // The holder stores a bounded run and calls nobody: it will be gone soon.
                Entry::Table(_) if TableSoft::from_bits(F::soft(raw)).locked() => relax(),
                Entry::Table(leaf) => {
                    let entries = self.frames.table(leaf);
                    if let Some(lock) = LeafLock::try_take::<F>(place, raw, leaf, entries) {
                        return Walk::Locked(lock);
                    }
                }
            }
        }
    }

    /// What `bfn` is mapped to; nothing if it hits the background. Takes no lock: the answer was true at some instant of the call.
    #[must_use]
    pub fn lookup(&self, bfn: Bfn) -> Option<Translation> {
        // The depth of nearly all tables, known to the compiler: a few loads, and no loop.
        match self.root.levels {
            4 => self.lookup_below(4, bfn),
            levels => self.lookup_below(levels, bfn),
        }
    }

    #[inline]
    fn lookup_below(&self, levels: u8, bfn: Bfn) -> Option<Translation> {
        let mut level = levels.checked_sub(1)?;
        let mut table = self.root.frame;
        loop {
            let raw = self.place(table, level, bfn)?.entry.load(Ordering::Acquire);
            match F::decode(raw, level) {
                Entry::Empty => return None,
                Entry::Leaf(_) if raw == self.beside.vacancy.word(level) => return None,
                Entry::Leaf(leaf) => {
                    return Some(Translation { leaf, pages: pages_at::<F>(level) });
                }
                Entry::Table(next) => table = next,
            }
            level = level.checked_sub(1)?;
        }
    }

    /// Looks for the first bus frame of `range` with a mapping that is `sought`, at most at `looks`
    /// entries.
    ///
    /// Skips what is vacant by the table, so that a large range costs no more than its tables.
    #[must_use]
    pub fn first_mapped(&self, range: BfnRange, sought: Sought, looks: u64) -> Search {
        let mut at = range.first();
        for _ in 0..looks {
            let Some((level, mapped)) = self.end_of_walk(at, sought) else {
                return Search::Nothing;
            };
            if mapped {
                return Search::Found(at);
            }
            match Self::span(at, level).last().checked_add(1) {
                Some(next) if next <= range.last() => at = next,
                _ => return Search::Nothing,
            }
        }
        Search::Unfinished(at)
    }

    /// The level at which the walk for `bfn` ends, and whether at a mapping that is `sought`.
    fn end_of_walk(&self, bfn: Bfn, sought: Sought) -> Option<(u8, bool)> {
        let mut level = self.top_level();
        let mut table = self.root.frame;
        loop {
            let raw = self.place(table, level, bfn)?.entry.load(Ordering::Acquire);
            match F::decode(raw, level) {
                _ if raw == self.beside.vacancy.word(level) => return Some((level, false)),
                Entry::Empty => return Some((level, false)),
                Entry::Leaf(leaf) => {
                    return Some((level, sought.includes(leaf.soft.origin())));
                }
                Entry::Table(next) => table = next,
            }
            level = level.checked_sub(1)?;
        }
    }
}

/// Which mappings are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sought {
    /// All that may be unmapped.
    Any,
    /// Those that do not give way to what a device's firmware needs.
    InTheWay,
}

impl Sought {
    fn includes(self, origin: Origin) -> bool {
        match origin {
            Origin::Reserved => false,
            Origin::Initial => self == Self::Any,
            Origin::Guest | Origin::Maintained => true,
        }
    }
}

/// What a search for a mapping came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Search {
    /// This bus frame is mapped, and none before it.
    Found(Bfn),
    /// None is mapped.
    Nothing,
    /// None before this one is mapped.
    Unfinished(Bfn),
}
