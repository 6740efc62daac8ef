//! Passes over a whole table: taking everything out, or the tables that are empty.
//!
//! Both need the table for themselves: no other CPU is inside. Both do a bounded piece at a time
//! and go on from a [`Cursor`].

use pviommu_abi::Bfn;

use super::{Stop, Table, split_cost};
use crate::{
    addr::{BfnRange, Mfn},
    flush::PendingFlush,
    format::{Entry, Format, TableSoft, pages_at},
    platform::TableFrames,
    sync::Ordering,
};

/// What a pass takes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prune {
    /// All mappings and all tables but the root.
    Everything,
    /// Tables without mappings.
    EmptyTables,
}

/// How far a pass has come: the bus frame it goes on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(pub u64);

/// What a piece of a pass came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pruned {
    /// Everything has been looked at.
    Finished,
    /// There is more, from here on.
    More(Cursor),
}

/// What a piece may still do.
struct Budget {
    /// Entries to look at.
    looks: u32,
    /// Pages to take out.
    pages: u64,
}

/// Entries that a piece looks at.
pub(super) const LOOKS: u32 = 4096;

/// Why the pass came back from a table.
pub(super) enum Left {
    /// All of it was looked at, and it has entries left or not.
    Done { empty: bool },
    /// The budget or the room in the flush ran out at this frame.
    Stopped(Cursor),
}

/// One piece of a pass.
struct Pass<'p, 'r> {
    what: Prune,
    from: Cursor,
    budget: Budget,
    pending: &'p mut PendingFlush<'r>,
}

impl Pass<'_, '_> {
    /// A table with blocked entries stays, lest they become vacant; unless all goes.
    fn takes_blocked(&self) -> bool {
        self.what == Prune::Everything
    }
}

impl<F: Format, T: TableFrames> Table<'_, F, T> {
    /// Does a piece of a pass: at most `pages` pages or one large leaf are taken out, and some
    /// thousand entries looked at. Each piece gets further than the one before.
    pub fn prune(
        &self,
        what: Prune,
        from: Cursor,
        pages: u64,
        pending: &mut PendingFlush<'_>,
    ) -> Pruned {
        let budget = Budget { looks: LOOKS, pages: pages.max(1) };
        let mut pass = Pass { what, from, budget, pending };
        match self.prune_table(&mut pass, self.root.frame, self.top_level(), 0) {
            Left::Done { .. } => Pruned::Finished,
            Left::Stopped(at) => Pruned::More(at),
        }
    }

    /// Prunes `table`, which starts at bus frame `base`. Recursion is as deep as the table: five.
    fn prune_table(&self, pass: &mut Pass<'_, '_>, table: Mfn, level: u8, base: u64) -> Left {
        let span = pages_at::<F>(level);
        let mut empty = true;
        let entries = self.frames.table(table);
        for index in 0..entries.len() {
            let Some(entry) = entries.get(index) else { break };
            let start = u64::try_from(index).unwrap_or(0).wrapping_mul(span).wrapping_add(base);
            let raw = entry.load(Ordering::Acquire);
            let vacant = self.beside.vacancy.word(level);
            if start.wrapping_add(span.wrapping_sub(1)) < pass.from.0 {
                empty &= raw == vacant || pass.takes_blocked() && !F::is_present(raw);
                continue;
            }
            let here = Cursor(start.max(pass.from.0));
            if pass.budget.looks == 0 || pass.budget.pages == 0 {
                return Left::Stopped(here);
            }
            pass.budget.looks = pass.budget.looks.saturating_sub(1);
            match F::decode(raw, level) {
                _ if raw == vacant => {}
                Entry::Empty => empty &= pass.takes_blocked(),
                Entry::Leaf(_) if pass.what == Prune::EmptyTables => empty = false,
                Entry::Leaf(leaf) => {
                    if pass.pending.runs_full() {
                        return Left::Stopped(here);
                    }
                    entry.store(vacant, Ordering::Release);
                    self.publish(table, index, index);
                    pass.pending.changed_leaves(Self::span(Bfn(start), level));
                    self.note_vacancy_changed(Bfn(start), level, pass.pending);
                    self.gather(leaf, Bfn(start), span, pass.pending);
                    if leaf.soft.split_paid() {
                        pass.pending.unreserve(split_cost::<F>(level));
                    }
                    pass.budget.pages = pass.budget.pages.saturating_sub(span);
                }
                Entry::Table(child) => {
                    let soft = TableSoft::from_bits(F::soft(raw));
                    let below = level.saturating_sub(1);
                    let left = if below == 0 {
                        self.prune_leaf_table(pass, child, soft, start)
                    } else {
                        self.prune_table(pass, child, below, start)
                    };
                    match left {
                        Left::Stopped(at) => return Left::Stopped(at),
                        Left::Done { empty: false } => empty = false,
                        Left::Done { empty: true } => {
                            // Comes back here, to a child without entries, when there is room.
                            if pass.pending.take_table(child).is_err() {
                                return Left::Stopped(Cursor(start));
                            }
                            if below == 0 && soft.witness().is_none() {
                                self.beside.kept.drop_one();
                            }
                            entry.store(vacant, Ordering::Release);
                            self.publish(table, index, index);
                            pass.pending.changed_tables(Self::span(Bfn(start), level));
                        }
                    }
                }
            }
        }
        Left::Done { empty }
    }

    fn prune_leaf_table(
        &self,
        pass: &mut Pass<'_, '_>,
        table: Mfn,
        soft: TableSoft,
        base: u64,
    ) -> Left {
        let vacant = soft.witness().is_none();
        if vacant || pass.what == Prune::EmptyTables {
            return Left::Done { empty: vacant };
        }
        let entries = self.frames.table(table);
        let mut index = usize::try_from(pass.from.0.saturating_sub(base)).unwrap_or(0);
        while index < entries.len() {
            let at = base.wrapping_add(u64::try_from(index).unwrap_or(0));
            if pass.budget.pages == 0 {
                return Left::Stopped(Cursor(at));
            }
            let limit = usize::try_from(pass.budget.pages).unwrap_or(usize::MAX);
            let (cleared, stop) = self.clear_entries(entries, Bfn(at), limit, pass.pending);
            let pages = u64::try_from(cleared).unwrap_or(0);
            if let Some(range) = BfnRange::of_pages(Bfn(at), pages) {
                self.publish(table, index, index.saturating_add(cleared).saturating_sub(1));
                pass.pending.changed_leaves(range);
            }
            pass.budget.pages = pass.budget.pages.saturating_sub(pages);
            index = index.saturating_add(cleared);
            match stop {
                Some(Stop::PendingFull) => return Left::Stopped(Cursor(at.wrapping_add(pages))),
                // A hole: look at the next one.
                Some(_) => index = index.saturating_add(1),
                None => {}
            }
        }
        Left::Done { empty: true }
    }
}
