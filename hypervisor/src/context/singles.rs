//! Single pages that are mapped or unmapped one after the other, alike: a part of a batch.
//!
//! Pages are acquired as one list, and then go inside together. What is not usual ends it before that
//! page, which is then mapped or unmapped by itself and told why if it cannot be.

use pviommu_abi::{Bfn, DomId, Errno, Gfn};

use super::{End, editor::Editor, map::Target};
use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    format::Format,
    platform::{AlikeRuns, Platform, Run},
    policy::MapHow,
    table::{Maker, Singles, Stop},
};

/// How all pages are mapped.
#[derive(Clone, Copy)]
pub(crate) struct Alike {
    pub(crate) epoch: u64,
    pub(crate) owner: DomId,
    pub(crate) how: MapHow,
}

/// What became of pages that were to be mapped one after the other.
pub(crate) struct Singly {
    /// How many were, from the first on.
    pub(crate) done: usize,
    /// What became of the next, if it is not to be tried by itself.
    pub(crate) next: Option<End>,
    /// Why those that were mapped are not to be relied on: a removal that waited there could not be flushed.
    pub(crate) failed: Option<Errno>,
}

impl Singly {
    /// None was.
    pub(crate) const NONE: Self = Self { done: 0, next: None, failed: None };
}

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Elements of a batch, of one page each, that may be done before the next look.
    pub(crate) fn singles_before_look(&self) -> usize {
        // An element is counted, and so is its page.
        usize::try_from(self.before_look() / 2).unwrap_or(0)
    }

    /// Maps the guest frames `gfns` at as many of `bfns`, as far as that is usual. Nothing was done of the others.
    pub(crate) fn map_singles(
        &mut self,
        alike: Alike,
        bfns: impl Iterator<Item = Bfn> + Clone,
        gfns: &[Gfn],
    ) -> Singly {
        // Whoever is refused asks again by itself, and is told.
        let _ = self.acquire_list(alike.owner, gfns, alike.how);
        let acquired = u64::try_from(gfns.len()).unwrap_or(0);
        let all_alike = self.acquired.all_alike().is_some();
        let usable = if all_alike { self.usable(alike.how, acquired) } else { 0 };
        let target = Target { epoch: alike.epoch, at: Bfn(0), how: alike.how, maker: Maker::Guest };
        let charge = self.charge(target, usable);
        let wanted = usize::try_from(charge.pages).unwrap_or(0);
        self.edit.pending.sync_later(alike.how.sync_later);
        let (done, next) = self.store_singles(alike.epoch, bfns.clone().take(wanted));
        self.edit.pending.sync_later(false);
        let mapped = u64::try_from(done).unwrap_or(0);
        self.settle(charge, mapped);
        self.session.release_unmapped(self.acquired, mapped);
        // Most often nothing waited at the beginning. After the stores, so that what began to wait before one of them
        // is seen.
        if self.context.deferred.is_active() {
            for bfn in bfns.take(done) {
                if let Err(errno) = self.flush_waiting(Some(BfnRange::single(bfn))) {
                    return Singly { done, next, failed: Some(errno) };
                }
            }
        }
        Singly { done, next, failed: None }
    }

    /// Stores a leaf at each of `bfns`, of the pages acquired; how many, and why not the next, if it was tried for good.
    fn store_singles(
        &mut self,
        epoch: u64,
        bfns: impl Iterator<Item = Bfn>,
    ) -> (usize, Option<End>) {
        let Some(AlikeRuns { frames, kind, access }) = self.acquired.all_alike() else {
            return (0, None);
        };
        let mut left = bfns.zip(EachFrame::of(frames)).peekable();
        let mut done = 0usize;
        while left.peek().is_some() {
            let Ok(inside) = self.context.enter(self.session.gate, epoch) else { break };
            let table = self.session.table::<F>(self.context);
            let words = table.leaf_words(kind, access, Maker::Guest);
            let mut singles = Singles::new(&table);
            let stored = singles.map_each(&mut left, &words, &mut self.edit.pending);
            done = done.saturating_add(stored);
            // Whoever holds a lock takes no other.
            drop(singles);
            let Some((bfn, mfn)) = left.peek() else { break };
            // Most often the first page of a table that is not there yet.
            let run = Run { frames: MfnRange::single(*mfn), kind, access };
            let mapped = table.map(*bfn, (&run).into(), 1, Maker::Guest, &mut self.edit);
            drop(inside);
            match mapped.stop {
                None => {
                    done = done.saturating_add(1);
                    left.next();
                }
                Some(Stop::NeedTables(frames, pool)) => {
                    let session = self.session;
                    let stock =
                        session.stock(self.context, self.edit.stash, frames, pool, self.aside);
                    // It gave empty tables back in vain: what was validated before is stale, so the page is not
                    // tried again.
                    if let Err(end) = stock {
                        return (done, Some(end));
                    }
                }
                _ => break,
            }
        }
        (done, None)
    }

    /// Unmaps the pages at `bfns`, as far as that is usual; how many. Nothing was done of the others.
    pub(crate) fn unmap_singles(&mut self, epoch: u64, bfns: impl Iterator<Item = Bfn>) -> usize {
        let Ok(_inside) = self.context.enter(self.session.gate, epoch) else { return 0 };
        let table = self.session.table::<F>(self.context);
        let mut singles = Singles::new(&table);
        let mut done = 0usize;
        for bfn in bfns {
            if !singles.unmap(bfn, &mut self.edit) {
                break;
            }
            done = done.saturating_add(1);
        }
        done
    }
}

/// The frames of runs, one by one.
struct EachFrame<'r> {
    runs: core::slice::Iter<'r, MfnRange>,
    next: Mfn,
    /// Of the run that it is in.
    left: u64,
}

impl<'r> EachFrame<'r> {
    fn of(runs: &'r [MfnRange]) -> Self {
        Self { runs: runs.iter(), next: Mfn(0), left: 0 }
    }
}

impl Iterator for EachFrame<'_> {
    type Item = Mfn;

    #[inline]
    fn next(&mut self) -> Option<Mfn> {
        if self.left == 0 {
            let run = self.runs.next()?;
            (self.next, self.left) = (run.first(), run.pages());
        }
        let frame = self.next;
        self.next = Mfn(frame.0.wrapping_add(1));
        self.left = self.left.saturating_sub(1);
        Some(frame)
    }
}
