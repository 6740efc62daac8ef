//! Passes over a whole table: taking everything out, or the tables that are empty.
//!
//! Both need the table for themselves: no other CPU is inside. Both do a bounded piece at a time
//! and go on from a [`Cursor`].

use pviommu_abi::Bfn;

use super::{Stop, Table, split_cost};
use crate::{
    addr::{BfnRange, Mfn},
    flush::PendingFlush,
    format::{Entry, Format, MAX_LEVELS, TableSoft, pages_at},
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

/// A table that a pass is in.
struct Visit {
    table: Mfn,
    /// The bus frame at which it starts.
    base: u64,
    /// The entry at hand.
    index: usize,
    /// Nothing is left in those before it.
    empty: bool,
}

impl Visit {
    /// The bus frame of the entry at hand, which stands for `span` of them.
    fn start(&self, span: u64) -> u64 {
        u64::try_from(self.index).unwrap_or(0).wrapping_mul(span).wrapping_add(self.base)
    }
}

/// Where a pass goes from a table.
enum Next {
    /// Into the one below that starts at this bus frame.
    Down(Mfn, u64),
    /// Back to the one above.
    Up(Left),
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
        match self.prune_all(&mut pass) {
            Left::Done { .. } => Pruned::Finished,
            Left::Stopped(at) => Pruned::More(at),
        }
    }

    /// Prunes from the root on, table by table: those on the way are kept beside each other, because the
    /// stack of a hypervisor is small.
    fn prune_all(&self, pass: &mut Pass<'_, '_>) -> Left {
        let mut path = heapless::Vec::<Visit, MAX_LEVELS>::new();
        let mut down = Some((self.root.frame, 0));
        loop {
            let above = path.len().saturating_sub(usize::from(down.is_none()));
            let level = self.top_level().saturating_sub(u8::try_from(above).unwrap_or(u8::MAX));
            if let Some((table, base)) = down {
                // Not more than there are levels.
                let _ = path.push(self.enter(pass, table, level, base));
            }
            let Some(visit) = path.last_mut() else { return Left::Done { empty: true } };
            let empty = match self.prune_entries(pass, visit, level) {
                Next::Down(table, base) => {
                    down = Some((table, base));
                    continue;
                }
                Next::Up(Left::Done { empty }) => empty,
                Next::Up(stopped) => return stopped,
            };
            down = None;
            path.pop();
            let Some(parent) = path.last_mut() else { return Left::Done { empty } };
            if let Some(stopped) = self.prune_child(pass, parent, level.saturating_add(1), empty) {
                return stopped;
            }
        }
    }

    /// The visit of `table`, which starts at bus frame `base`, from where the pass goes on.
    fn enter(&self, pass: &Pass<'_, '_>, table: Mfn, level: u8, base: u64) -> Visit {
        let passed = pass.from.0.saturating_sub(base) / pages_at::<F>(level).max(1);
        let index = usize::try_from(passed).unwrap_or(usize::MAX);
        let empty = match pass.what {
            // What the pass has passed, it took out.
            Prune::Everything => true,
            Prune::EmptyTables => {
                let vacant = self.beside.vacancy.word(level);
                let passed = self.frames.table(table).iter().take(index);
                passed.map(|entry| entry.load(Ordering::Acquire)).all(|raw| raw == vacant)
            }
        };
        Visit { table, base, index, empty }
    }

    /// Prunes entries of the table that is visited, up to the first with a table below that is none of
    /// leaves.
    fn prune_entries(&self, pass: &mut Pass<'_, '_>, visit: &mut Visit, level: u8) -> Next {
        let span = pages_at::<F>(level);
        let entries = self.frames.table(visit.table);
        let vacant = self.beside.vacancy.word(level);
        while let Some(entry) = entries.get(visit.index) {
            let index = visit.index;
            let start = visit.start(span);
            let raw = entry.load(Ordering::Acquire);
            let here = Cursor(start.max(pass.from.0));
            if pass.budget.looks == 0 || pass.budget.pages == 0 {
                return Next::Up(Left::Stopped(here));
            }
            pass.budget.looks = pass.budget.looks.saturating_sub(1);
            match F::decode(raw, level) {
                _ if raw == vacant => {}
                Entry::Empty => visit.empty &= pass.takes_blocked(),
                Entry::Leaf(_) if pass.what == Prune::EmptyTables => visit.empty = false,
                Entry::Leaf(leaf) => {
                    if pass.pending.runs_full() {
                        return Next::Up(Left::Stopped(here));
                    }
                    entry.store(vacant, Ordering::Release);
                    self.publish(visit.table, index, index);
                    pass.pending.changed_leaves(Self::span(Bfn(start), level));
                    self.note_vacancy_changed(Bfn(start), level, pass.pending);
                    self.gather(leaf, Bfn(start), span, pass.pending);
                    if leaf.soft.split_paid() {
                        pass.pending.unreserve(split_cost::<F>(level));
                    }
                    pass.budget.pages = pass.budget.pages.saturating_sub(span);
                }
                Entry::Table(child) if level > 1 => return Next::Down(child, start),
                Entry::Table(child) => {
                    let soft = TableSoft::from_bits(F::soft(raw));
                    let stopped = match self.prune_leaf_table(pass, child, soft, start) {
                        Left::Done { empty } => self.prune_child(pass, visit, level, empty),
                        stopped => Some(stopped),
                    };
                    if let Some(stopped) = stopped {
                        return Next::Up(stopped);
                    }
                    continue;
                }
            }
            visit.index = index.saturating_add(1);
        }
        Next::Up(Left::Done { empty: visit.empty })
    }

    /// The table that the entry at hand points to was looked at, and has entries left or not: takes it out,
    /// or goes on to the next entry.
    fn prune_child(
        &self,
        pass: &mut Pass<'_, '_>,
        visit: &mut Visit,
        level: u8,
        empty: bool,
    ) -> Option<Left> {
        let start = visit.start(pages_at::<F>(level));
        let entry = self.frames.table(visit.table).get(visit.index);
        let raw = entry.map_or(0, |entry| entry.load(Ordering::Acquire));
        match (entry, F::decode(raw, level)) {
            (Some(entry), Entry::Table(child)) if empty => {
                // Comes back here, to a child without entries, when there is room.
                if pass.pending.take_table(child).is_err() {
                    return Some(Left::Stopped(Cursor(start)));
                }
                self.note_unlinked(raw, level);
                entry.store(self.beside.vacancy.word(level), Ordering::Release);
                self.publish(visit.table, visit.index, visit.index);
                pass.pending.changed_tables(Self::span(Bfn(start), level));
            }
            _ => visit.empty = false,
        }
        visit.index = visit.index.saturating_add(1);
        None
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
