//! The way down: from the root to the entry that decides about a bus frame.

use pviommu_abi::Bfn;

use super::{Beside, Node, Table, TableStyle, Translation, leaf_lock::LeafLock, upper_lock::Spot};
use crate::{
    addr::BfnRange,
    format::{Entry, Format, Leaf, Origin, pages_at},
    platform::{TableFrames, TableRoot},
    sync::{Ordering, relax},
};

/// Where a walk ended.
pub(crate) enum Walk<'t> {
    /// At the leaf table, which is locked now.
    Locked(LeafLock<'t>),
    /// At a leaf above level 0.
    Large { spot: Spot<'t>, level: u8, raw: u64, leaf: Leaf },
    /// At a vacant entry of `level`: where the background begins.
    Vacant { spot: Spot<'t>, level: u8, vacant: u64 },
    /// At an entry that nobody may map.
    Blocked,
    /// Beyond the table, or in one that is not there.
    Bad,
}

/// What an entry above the leaves turned out to be.
pub(crate) enum Step<'t> {
    Table(Node<'t>),
    Large { spot: Spot<'t>, raw: u64, leaf: Leaf },
    Vacant { spot: Spot<'t>, vacant: u64 },
    Blocked,
    Bad,
}

impl<'t, F: Format, T: TableFrames> Table<'t, F, T> {
    /// Looks at the entry for `bfn` in the table `node`, of `level` (1 or above).
    #[inline]
    pub(crate) fn step(&self, node: Node<'t>, level: u8, bfn: Bfn) -> Step<'t> {
        let Some(place) = self.place(node.frame, level, bfn) else { return Step::Bad };
        let raw = place.entry.load(Ordering::Acquire);
        let spot = node.spot(place);
        if raw == self.beside.vacancy.word(level) {
            return Step::Vacant { spot, vacant: raw };
        }
        match F::decode(raw, level) {
            Entry::Empty => Step::Blocked,
            Entry::Leaf(leaf) => Step::Large { spot, raw, leaf },
            // Also one that is being changed, which is in nobody's way.
            Entry::Table(frame) => Step::Table(Node { frame, pointer: place.entry, said: raw }),
        }
    }

    /// The leaf table of `bfn`, locked, if the way to it is the usual one: through tables, to one that nobody has
    /// locked. `None` says nothing: [`walk`](Self::walk) does.
    #[inline]
    pub(crate) fn try_leaf_table(&self, bfn: Bfn) -> Option<LeafLock<'t>> {
        // The depth of nearly all tables, known to the compiler.
        match self.root.levels {
            4 => self.try_leaf_table_below(4, bfn),
            levels => self.try_leaf_table_of(levels, bfn),
        }
    }

    #[cold]
    fn try_leaf_table_of(&self, levels: u8, bfn: Bfn) -> Option<LeafLock<'t>> {
        self.try_leaf_table_below(levels, bfn)
    }

    #[inline(always)]
    fn try_leaf_table_below(&self, levels: u8, bfn: Bfn) -> Option<LeafLock<'t>> {
        let mut level = levels.checked_sub(1)?;
        let mut table = self.root.frame;
        loop {
            let place = self.place(table, level, bfn)?;
            let raw = place.entry.load(Ordering::Acquire);
            let next = F::table_below(raw, level)?;
            // A table that vacant entries share is nobody's to lock.
            if raw == self.beside.vacancy.word(level) {
                return None;
            }
            if level == 1 {
                return LeafLock::try_take::<F>(place, raw, next, self.frames.table(next));
            }
            table = next;
            level = level.checked_sub(1)?;
        }
    }

    /// Walks to the leaf table of `bfn` and locks it, or to what is there instead.
    pub(crate) fn walk(&self, bfn: Bfn) -> Walk<'t> {
        let mut level = self.top_level();
        let mut node = self.top();
        while level > 1 {
            match self.step(node, level, bfn) {
                Step::Table(next) => node = next,
                Step::Large { spot, raw, leaf } => return Walk::Large { spot, level, raw, leaf },
                Step::Vacant { spot, vacant } => return Walk::Vacant { spot, level, vacant },
                Step::Blocked => return Walk::Blocked,
                Step::Bad => return Walk::Bad,
            }
            level = level.saturating_sub(1);
        }
        self.lock_leaf_table(node, bfn)
    }

    /// Locks the leaf table that the level 1 table `node` has for `bfn`.
    #[inline]
    fn lock_leaf_table(&self, node: Node<'t>, bfn: Bfn) -> Walk<'t> {
        loop {
            let Some(place) = self.place(node.frame, 1, bfn) else { return Walk::Bad };
            let raw = place.entry.load(Ordering::Acquire);
            let spot = node.spot(place);
            if raw == self.beside.vacancy.word(1) {
                return Walk::Vacant { spot, level: 1, vacant: raw };
            }
            match F::decode(raw, 1) {
                Entry::Empty => return Walk::Blocked,
                Entry::Leaf(leaf) => return Walk::Large { spot, level: 1, raw, leaf },
                Entry::Table(leaf) => {
                    let entries = self.frames.table(leaf);
                    if let Some(lock) = LeafLock::try_take::<F>(place, raw, leaf, entries) {
                        return Walk::Locked(lock);
                    }
                    // The holder stores a bounded run and calls nobody: it will be gone soon.
                    relax();
                }
            }
        }
    }

    /// What `bfn` is mapped to; nothing if it hits the background. Takes no lock: the answer was true at some instant of the call.
    #[must_use]
    #[inline]
    pub fn lookup(&self, bfn: Bfn) -> Option<Translation> {
        // The depth of nearly all tables, and a small leaf: a few loads, and no loop.
        if self.root.levels == 4
            && let Some(leaf) = self.small_leaf(bfn)
        {
            return Some(Translation { leaf, pages: 1 });
        }
        // By its parts: a table that something points to has to be put together first.
        Self::look_everywhere(self.frames, self.root, self.style, self.beside, bfn)
    }

    /// The small leaf of `bfn` in a table of four levels, if there are tables all the way to one.
    #[inline(always)]
    fn small_leaf(&self, bfn: Bfn) -> Option<Leaf> {
        // Not cut off at the top: beyond the table there is no entry.
        let number = |level: u8| bfn.0.checked_shr(F::INDEX_BITS.saturating_mul(level.into()));
        let entry = |table, number| {
            let index = usize::try_from(number).ok()?;
            Some(self.frames.table(table).get(index)?.load(Ordering::Acquire))
        };
        let mut raw = entry(self.root.frame, number(3)?)?;
        for level in [2_u8, 1, 0] {
            let table = F::table_below(raw, level.saturating_add(1))?;
            raw = entry(table, number(level)? & Self::INDEX_MASK)?;
        }
        match F::decode(raw, 0) {
            Entry::Leaf(leaf) if raw != self.beside.vacancy.leaf_word() => Some(leaf),
            _ => None,
        }
    }

    #[cold]
    fn look_everywhere(
        frames: &'t T,
        root: TableRoot,
        style: TableStyle,
        beside: &'t Beside,
        bfn: Bfn,
    ) -> Option<Translation> {
        let this = Self::new(frames, root, style, beside);
        let mut level = this.top_level();
        let mut table = root.frame;
        loop {
            let raw = this.place(table, level, bfn)?.entry.load(Ordering::Acquire);
            match F::decode(raw, level) {
                Entry::Empty => return None,
                Entry::Leaf(_) if raw == beside.vacancy.word(level) => return None,
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
