//! The host map: put into a context that nobody uses yet, by range.

use pviommu_abi::Errno;

use super::{End, Progress, editor::Editor};
use crate::{
    addr::{BfnRange, MfnRange},
    format::Format,
    platform::{Platform, Run},
    table::{Maker, Stop},
};

/// Table frames that one leaf takes at most, in most tables: there are as many before any is stored. Else they would be
/// allocated one by one, and whoever takes a lock waits for all that he has stored.
const AT_HAND: usize = 3;

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Maps the frames of `run`, which nothing has to hold, at `bfns`, as far as it gets. The caller has the context for
    /// itself.
    pub(super) fn fill(&mut self, bfns: BfnRange, run: Run) -> Progress {
        // Asked once for the whole run, not for each piece.
        let reachable = match self.session.iommu.first_unreachable(run.frames) {
            None => run.frames.pages(),
            Some(frame) => frame.0.saturating_sub(run.frames.first().0),
        };
        let reachable = if run.access.is_empty() { 0 } else { reachable };
        let table = self.session.table::<F>(self.context);
        let mut done = 0u64;
        let end = loop {
            let frames = MfnRange::of_pages(run.frames.first(), reachable);
            let first = run.frames.first().checked_add(done);
            let left = frames.zip(first).and_then(|(all, first)| MfnRange::new(first, all.last()));
            let (Some(frames), Some(at)) = (left, bfns.first().checked_add(done)) else {
                let all = done >= bfns.pages();
                break if all { End::Finished } else { End::Failed(Errno::EPERM) };
            };
            self.session.stock_some(self.edit.stash, AT_HAND);
            let left = Run { frames, ..run };
            match table.fill(at, &left, Maker::HostMap, self.before_look(), &mut self.edit) {
                Ok(filled) => {
                    done = done.saturating_add(filled.pages);
                    if self.worked(filled.leaves) && done < bfns.pages() {
                        break End::Yield;
                    }
                }
                Err(Stop::NeedTables(frames, pool)) => {
                    if let Err(end) = self.stock(frames, pool) {
                        break end;
                    }
                }
                Err(Stop::Occupied) => break End::Failed(Errno::EADDRINUSE),
                Err(_) => break End::Failed(Errno::EIO),
            }
        };
        Progress { pages: done, end }
    }
}
