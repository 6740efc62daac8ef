//! Unmapping: take out a piece at a time, flush, and only then release.

use pviommu_abi::Errno;

use super::{Context, End, Progress, Session, map::WORK_UNIT};
use crate::{
    addr::BfnRange,
    flush::PendingFlush,
    format::Format,
    machine::Scratch,
    platform::Platform,
    policy::UnmapPlan,
    table::{Edit, Stash, Stop},
};

impl<P: Platform> Session<'_, P> {
    /// Unmaps what `plan` says, from the first page on, up to the first hole.
    pub(crate) fn unmap<F: Format>(
        &self,
        context: &Context,
        plan: &UnmapPlan,
        scratch: &mut Scratch,
    ) -> Progress {
        let mut stash = Stash::new();
        let mut done = 0u64;
        let end = loop {
            let piece = self.unmap_piece::<F>(context, plan, done, &mut stash, scratch);
            done = done.saturating_add(piece.pages);
            match piece.end {
                // The flush had no room for more; it has been completed.
                End::Finished if done < plan.bfns.pages() => {}
                end => break end,
            }
        };
        self.empty(&mut stash);
        Progress { pages: done, end }
    }

    /// Unmaps from page `done` on until one flush is full, or the call ends.
    fn unmap_piece<F: Format>(
        &self,
        context: &Context,
        plan: &UnmapPlan,
        done: u64,
        stash: &mut Stash,
        scratch: &mut Scratch,
    ) -> Progress {
        let Scratch { flush, trims, .. } = scratch;
        let mut edit = Edit::new(stash, PendingFlush::new(flush));
        let mut pages = 0u64;
        let mut since_look = 0u64;
        let mut end = loop {
            let rest = plan.bfns.pages().saturating_sub(done).saturating_sub(pages);
            let at = plan.bfns.first().checked_add(done.saturating_add(pages));
            let Some(at) = at.filter(|_| rest > 0) else { break End::Finished };
            if since_look >= WORK_UNIT {
                since_look = 0;
                if self.platform().should_yield() {
                    break End::Yield;
                }
            }
            let before_look = WORK_UNIT.saturating_sub(since_look);
            let Ok(inside) = context.enter(self.gate, plan.epoch) else { break End::Yield };
            let unmapped = self.table::<F>(context).unmap(at, rest, before_look, &mut edit);
            drop(inside);
            pages = pages.saturating_add(unmapped.pages);
            since_look = since_look.saturating_add(unmapped.pages);
            match unmapped.stop {
                None => {}
                Some(Stop::PendingFull) => break End::Finished,
                Some(Stop::NeedTables(frames, pool)) => {
                    if let Err(end) = self.stock(context, edit.stash, frames, pool, trims) {
                        break end;
                    }
                }
                Some(Stop::Hole) => break End::Failed(Errno::ENOENT),
                Some(_) => break End::Failed(Errno::EIO),
            }
        };
        if let Err(errno) = self.complete(context, edit.pending) {
            end = End::Failed(errno);
        }
        Progress { pages, end }
    }

    /// True if nothing of `range` is mapped. The caller keeps everybody else out.
    pub(crate) fn is_unmapped<F: Format>(&self, context: &Context, range: BfnRange) -> bool {
        self.table::<F>(context).first_mapped(range).is_none()
    }
}
