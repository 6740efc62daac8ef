//! Mapping a guest's pages: acquire, then put in, a piece at a time.
//!
//! A piece stays within one leaf table, or is one large leaf. Pages are acquired before the table
//! is entered, because acquiring may take the embedder's locks; what then does not go in is
//! released at once, since no device ever saw it.

use pviommu_abi::{Bfn, Errno, Gfn};

use super::{Context, End, Progress, Session};
use crate::{
    addr::{GfnRange, MfnRange},
    flush::{FlushRoom, PendingFlush},
    format::{Format, Origin, pages_at},
    machine::Scratch,
    platform::{AcquireError, Platform, Pool, Run, Runs},
    policy::MapPlan,
    table::{Edit, SplitPaid, Stash, Stop, split_cost},
};

/// Pages of work between two looks at whether to give way.
pub(crate) const WORK_UNIT: u64 = 256;

/// A map in progress.
struct Mapping<'m, 'r, P> {
    session: &'m Session<'m, P>,
    context: &'m Context,
    plan: &'m MapPlan,
    acquired: &'m mut Runs,
    edit: Edit<'r>,
    trims: &'m mut FlushRoom,
}

/// A piece that went in, and why no more of it did.
struct Piece {
    pages: u64,
    stop: Option<End>,
}

impl Piece {
    fn stopped(end: End) -> Self {
        Self { pages: 0, stop: Some(end) }
    }
}

impl<P: Platform> Session<'_, P> {
    /// Maps what `plan` says, as far as it gets.
    pub(crate) fn map<F: Format>(
        &self,
        context: &Context,
        plan: &MapPlan,
        scratch: &mut Scratch,
    ) -> Progress {
        let Scratch { acquired, flush, trims } = scratch;
        let mut stash = Stash::new();
        let edit = Edit::new(&mut stash, PendingFlush::new(flush));
        let mut mapping = Mapping { session: self, context, plan, acquired, edit, trims };
        let mut done = 0u64;
        let mut end = loop {
            let piece = mapping.piece::<F>(done);
            done = done.saturating_add(piece.pages);
            match piece.stop {
                Some(end) => break end,
                None if done >= plan.bfns.pages() => break End::Finished,
                None if self.platform().should_yield() => break End::Yield,
                None => {}
            }
        };
        let Edit { stash, pending } = mapping.edit;
        self.empty(stash);
        if let Err(errno) = self.complete(context, pending) {
            end = End::Failed(errno);
        }
        Progress { pages: done, end }
    }
}

impl<P: Platform> Mapping<'_, '_, P> {
    /// Maps a piece from page `done` of the plan on: at least one page, or it says why not.
    fn piece<F: Format>(&mut self, done: u64) -> Piece {
        let (at, gfn) = match (self.plan.bfn(done), self.plan.gfn(done)) {
            (Some(at), Some(gfn)) => (at, gfn),
            // The plan's ranges do not wrap, and `done` is inside.
            _ => return Piece::stopped(End::Failed(Errno::EINVAL)),
        };
        let rest = self.plan.bfns.pages().saturating_sub(done);
        let table = pages_at::<F>(1);
        let to_next_table = table.saturating_sub(at.0 % table.max(1));
        let asked = rest.min(WORK_UNIT).min(to_next_table);
        self.acquired.clear();
        let refused = self.acquire(gfn, asked).err();
        let mut piece = None;
        if refused.is_none() {
            piece = self.large_leaf::<F>(at, gfn, rest);
        }
        let piece = piece.unwrap_or_else(|| self.small_leaves::<F>(at, asked, refused));
        self.session.release_unmapped(self.acquired, piece.pages);
        piece
    }

    /// Acquires `pages` pages from `gfn` on, after those acquired already.
    fn acquire(&mut self, gfn: Gfn, pages: u64) -> Result<(), Errno> {
        let gfns = GfnRange::of_pages(gfn, pages).ok_or(Errno::EINVAL)?;
        let domain = self.session.domain.id();
        let acquired =
            self.session.platform().acquire(domain, gfns, self.plan.access, self.acquired);
        acquired.map_err(|error| match error {
            AcquireError::NotBacked => Errno::ENOENT,
            AcquireError::NotPermitted => Errno::EPERM,
            AcquireError::Retry => Errno::EAGAIN,
            AcquireError::Saturated => Errno::EBUSY,
        })
    }

    /// Puts what the edit asked for into its stash. The CPU is outside.
    fn stock(&mut self, frames: u8, pool: Pool) -> Result<(), End> {
        self.session.stock(self.context, self.edit.stash, frames, pool, self.trims)
    }

    /// The pages acquired that a device may reach at all, from the first on.
    fn reachable(&self) -> u64 {
        let mut pages = 0u64;
        for run in self.acquired.as_slice() {
            match self.session.iommu.first_unreachable(run.frames) {
                None => pages = pages.saturating_add(run.frames.pages()),
                Some(frame) => {
                    let before = frame.0.saturating_sub(run.frames.first().0);
                    return pages.saturating_add(before);
                }
            }
        }
        pages
    }

    /// Puts the acquired pages in by 4 KiB leaves, at most `asked`.
    fn small_leaves<F: Format>(&mut self, at: Bfn, asked: u64, refused: Option<Errno>) -> Piece {
        let acquired = self.acquired.pages();
        let reachable = self.reachable();
        let wanted = reachable.min(asked);
        let after = if reachable < acquired { Some(Errno::EPERM) } else { refused };
        if wanted == 0 {
            // An embedder that acquires nothing and gives no reason is asked again later.
            return Piece::stopped(End::Failed(after.unwrap_or(Errno::EAGAIN)));
        }
        loop {
            let Ok(inside) = self.context.enter(self.session.gate, self.plan.epoch) else {
                return Piece::stopped(End::Yield);
            };
            let mapped = self.session.table::<F>(self.context).map(
                at,
                self.acquired.as_slice(),
                wanted,
                Origin::Guest,
                &mut self.edit,
            );
            drop(inside);
            let stop = match mapped.stop {
                Some(Stop::NeedTables(frames, pool)) => match self.stock(frames, pool) {
                    Ok(()) => continue,
                    Err(end) => Some(end),
                },
                Some(Stop::Occupied) => Some(End::Failed(Errno::EADDRINUSE)),
                Some(_) => Some(End::Failed(Errno::EIO)),
                None if mapped.pages < wanted => None,
                None => after.filter(|_| wanted == reachable).map(End::Failed),
            };
            return Piece { pages: mapped.pages, stop };
        }
    }

    /// Tries to put the pages at `at` in by one large leaf; `None` if small ones must do.
    fn large_leaf<F: Format>(&mut self, at: Bfn, gfn: Gfn, rest: u64) -> Option<Piece> {
        let mut found = None;
        for level in 1..=self.session.iommu.largest_leaf_level() {
            let size = pages_at::<F>(level);
            if rest < size || !at.0.is_multiple_of(size) || !self.extend(gfn, size) {
                break;
            }
            found = Some((level, size));
        }
        let (level, size) = found?;
        let first = self.acquired.as_slice().first()?;
        let frames = MfnRange::of_pages(first.frames.first(), size)?;
        let run = Run { frames, ..*first };
        if self.session.iommu.first_unreachable(frames).is_some() {
            return None;
        }
        let cost = split_cost::<F>(level);
        if !self.session.reserve(cost) {
            return None;
        }
        let stored = self.store_large::<F>(at, level, &run);
        if stored.is_err() {
            self.session.unreserve(cost);
        }
        match stored {
            Ok(()) => Some(Piece { pages: size, stop: None }),
            Err(None) => None,
            Err(Some(end)) => Some(Piece::stopped(end)),
        }
    }

    /// Acquires more until the first run holds `size` pages that a leaf of that size can map.
    fn extend(&mut self, gfn: Gfn, size: u64) -> bool {
        loop {
            let [run] = self.acquired.as_slice() else { return false };
            let have = run.frames.pages();
            if !run.frames.first().0.is_multiple_of(size) {
                return false;
            }
            if have >= size {
                return true;
            }
            // What has been acquired is mapped by smaller leaves then.
            if self.session.platform().should_yield() {
                return false;
            }
            let more = size.saturating_sub(have).min(WORK_UNIT);
            let Some(next) = gfn.checked_add(have) else { return false };
            if self.acquire(next, more).is_err() {
                return false;
            }
            let grown = self.acquired.as_slice().first().map_or(0, |run| run.frames.pages());
            if grown <= have {
                return false;
            }
        }
    }

    /// `Err(None)`: small leaves must do.
    fn store_large<F: Format>(&mut self, at: Bfn, level: u8, run: &Run) -> Result<(), Option<End>> {
        loop {
            let entered = self.context.enter(self.session.gate, self.plan.epoch);
            let inside = entered.map_err(|_| Some(End::Yield))?;
            let stored = self.session.table::<F>(self.context).map_large(
                at,
                level,
                run,
                Origin::Guest,
                SplitPaid::Yes,
                &mut self.edit,
            );
            drop(inside);
            match stored {
                Ok(()) => return Ok(()),
                Err(Stop::NeedTables(frames, pool)) => {
                    self.stock(frames, pool).map_err(Some)?;
                }
                Err(Stop::NotALeaf) => return Err(None),
                Err(Stop::Occupied) => return Err(Some(End::Failed(Errno::EADDRINUSE))),
                Err(_) => return Err(Some(End::Failed(Errno::EIO))),
            }
        }
    }
}
