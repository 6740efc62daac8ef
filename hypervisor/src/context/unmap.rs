//! Unmapping: take out a piece at a time, flush, and only then release.

use pviommu_abi::{Bfn, Errno};

use super::{Context, End, Progress, Session, editor::Editor, editor::WORK_UNIT};
use crate::{
    addr::BfnRange,
    format::Format,
    platform::Platform,
    policy::UnmapPlan,
    table::{Search, Sought, Stop, Unmapped},
};

/// A piece that was taken out, and why no more of it was.
struct Piece {
    pages: u64,
    stop: Option<End>,
}

impl Piece {
    fn of(pages: u64) -> Self {
        Self { pages, stop: None }
    }

    fn stopped(end: End) -> Self {
        Self { pages: 0, stop: Some(end) }
    }
}

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Unmaps what `plan` says, from the first page on, up to the first hole unless holes are passed
    /// over. What it took out is given back after the flush.
    pub(crate) fn unmap(&mut self, plan: &UnmapPlan) -> Progress {
        self.edit.whole_leaves = plan.how.whole_leaves;
        let mut done = 0u64;
        let end = loop {
            let rest = plan.bfns.pages().saturating_sub(done);
            let Some(at) = plan.bfns.first().checked_add(done) else { break End::Finished };
            let piece = self.unmap_piece(plan, at, rest);
            done = done.saturating_add(piece.pages);
            let yields = self.worked(piece.pages);
            match piece.stop {
                Some(end) => break end,
                None if done >= plan.bfns.pages() => break End::Finished,
                None if yields => break End::Yield,
                None => {}
            }
        };
        match self.flush_holes(plan, done) {
            Ok(()) => Progress { pages: done, end },
            Err(errno) => Progress { pages: done, end: End::Failed(errno) },
        }
    }

    /// Flushes what waits where the first `pages` were unmapped or passed over: a hole may be what another call took out,
    /// and left to be flushed later.
    fn flush_holes(&mut self, plan: &UnmapPlan, pages: u64) -> Result<(), Errno> {
        if plan.how.later || !plan.how.skip_holes {
            return Ok(());
        }
        match BfnRange::of_pages(plan.bfns.first(), pages) {
            None => Ok(()),
            // To look for many pages takes longer than a flush.
            Some(range) => self.flush_waiting(Some(range).filter(|it| it.pages() <= WORK_UNIT)),
        }
    }

    /// Unmaps from `at` on, at most `rest` pages. No page at all, and no reason why, asks for
    /// another try.
    fn unmap_piece(&mut self, plan: &UnmapPlan, at: Bfn, rest: u64) -> Piece {
        if plan.how.later {
            match self.unmap_later(plan, at, rest.min(self.before_look())) {
                Ok(Some(unmapped)) => return self.after(plan, at, rest, unmapped),
                Ok(None) => {}
                Err(end) => return Piece::stopped(end),
            }
        }
        let small = self.before_look();
        let Ok(inside) = self.context.enter(self.session.gate, plan.epoch) else {
            return Piece::stopped(End::Yield);
        };
        let table = self.session.table::<F>(self.context);
        let unmapped = table.unmap(at, rest, small, &mut self.edit);
        drop(inside);
        self.after(plan, at, rest, unmapped)
    }

    /// Makes of what the table said what the call goes on with.
    fn after(&mut self, plan: &UnmapPlan, at: Bfn, rest: u64, unmapped: Unmapped) -> Piece {
        let stop = match unmapped.stop {
            None => None,
            Some(Stop::PendingFull) => self.flush().err().map(End::Failed),
            Some(Stop::NeedTables(frames, pool)) => self.stock(frames, pool).err(),
            Some(Stop::Hole) if !plan.how.skip_holes => Some(End::Failed(Errno::ENOENT)),
            Some(Stop::Hole) => return self.pass_over(plan, at, rest, unmapped.pages),
            Some(_) => Some(End::Failed(Errno::EIO)),
        };
        Piece { pages: unmapped.pages, stop }
    }

    /// Passes over what is not mapped behind the first `done` of `rest` pages, by the tables and not page by page.
    fn pass_over(&self, plan: &UnmapPlan, at: Bfn, rest: u64, done: u64) -> Piece {
        let hole = at.checked_add(done).zip(rest.checked_sub(done));
        let hole = hole.and_then(|(first, pages)| BfnRange::of_pages(first, pages));
        let Some(range) = hole else { return Piece::of(rest) };
        let Ok(_inside) = self.context.enter(self.session.gate, plan.epoch) else {
            return Piece { pages: done, stop: Some(End::Yield) };
        };
        match self.session.table::<F>(self.context).first_mapped(range, Sought::Any, WORK_UNIT) {
            Search::Found(next) | Search::Unfinished(next) => {
                Piece::of(next.0.saturating_sub(at.0))
            }
            Search::Nothing => Piece::of(rest),
        }
    }
}

impl<P: Platform> Session<'_, P> {
    /// True if nothing of `range` is mapped that does not give way to what a device's firmware needs.
    /// The caller keeps everybody else out.
    pub(crate) fn is_clear<F: Format>(&self, context: &Context, range: BfnRange) -> bool {
        let table = self.table::<F>(context);
        table.first_mapped(range, Sought::InTheWay, u64::MAX) == Search::Nothing
    }
}
