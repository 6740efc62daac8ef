//! Single pages that are mapped or unmapped one after the other, alike: a part of a batch.
//!
//! Pages are acquired one by one, as ever, and then go inside together. What is not usual ends it before that
//! page, which is then mapped or unmapped by itself and told why if it cannot be.

use pviommu_abi::{Bfn, DomId, Errno, Gfn};

use super::{End, acquire::From, editor::Editor, map::Target};
use crate::{
    addr::{BfnRange, MfnRange},
    format::Format,
    platform::{Platform, Run, Runs},
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

    /// Maps the pages that `pages` tells, as far as that is usual. Nothing was done of the others.
    pub(crate) fn map_singles(
        &mut self,
        alike: Alike,
        pages: impl Iterator<Item = (Bfn, Gfn)> + Clone,
    ) -> Singly {
        self.acquired.clear();
        let mut acquired = 0u64;
        for (_, gfn) in pages.clone() {
            let from = From::Guest(alike.owner, gfn);
            let refused = self.acquire(from, 1, alike.how).is_err();
            // Whoever is refused asks again by itself, and is told.
            if refused || self.acquired.pages() != acquired.saturating_add(1) {
                break;
            }
            acquired = acquired.saturating_add(1);
        }
        let own = self.acquired.all_like().is_some_and(|run| run.kind.is_own());
        let usable = if own { self.usable(alike.how, acquired) } else { 0 };
        let target = Target { epoch: alike.epoch, at: Bfn(0), how: alike.how, maker: Maker::Guest };
        let charge = self.charge(target, usable);
        let wanted = usize::try_from(charge.pages).unwrap_or(0);
        self.edit.pending.sync_later(alike.how.sync_later);
        let bfns = pages.map(|(bfn, _)| bfn);
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
        let mut left = bfns.zip(pages_of(self.acquired)).peekable();
        let mut done = 0usize;
        while left.peek().is_some() {
            let Ok(inside) = self.context.enter(self.session.gate, epoch) else { break };
            let table = self.session.table::<F>(self.context);
            let mut singles = Singles::new(&table, Maker::Guest);
            let pending = &mut self.edit.pending;
            while left.next_if(|(bfn, run)| singles.map(*bfn, run, pending)).is_some() {
                done = done.saturating_add(1);
            }
            // Whoever holds a lock takes no other.
            drop(singles);
            let Some((bfn, run)) = left.peek() else { break };
            // Most often the first page of a table that is not there yet.
            let mapped =
                table.map(*bfn, core::slice::from_ref(run), 1, Maker::Guest, &mut self.edit);
            drop(inside);
            match mapped.stop {
                None if mapped.pages == 1 => {
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
        let mut singles = Singles::new(&table, Maker::Guest);
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

/// Each page of `runs` as a run of its own.
fn pages_of(runs: &Runs) -> impl Iterator<Item = Run> {
    runs.as_slice().iter().flat_map(|run| {
        (0..run.frames.pages()).map_while(|page| {
            let frame = run.frames.first().checked_add(page)?;
            Some(Run { frames: MfnRange::single(frame), ..*run })
        })
    })
}
