//! Mapping a guest's pages: acquire, then put in, a piece at a time.
//!
//! A piece stays within one leaf table, or is one large leaf. Pages are acquired before the table
//! is entered, because acquiring may take the embedder's locks; what then does not go in is
//! released at once, since no device ever saw it.

use pviommu_abi::{Bfn, Errno, Gfn};

use super::{
    End, Progress,
    editor::{Editor, WORK_UNIT},
};
use crate::{
    addr::{BfnRange, GfnRange, MfnRange},
    format::{Format, Origin, pages_at},
    platform::{AcquireError, PageKind, Platform, Run},
    policy::{ListPlan, MapHow, MapPlan},
    table::{SplitPaid, Stop, split_cost},
};

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

/// Where a piece goes, and how.
#[derive(Clone, Copy)]
struct Target {
    epoch: u64,
    at: Bfn,
    how: MapHow,
}

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Maps what `plan` says, as far as it gets.
    pub(crate) fn map(&mut self, plan: &MapPlan) -> Progress {
        self.in_pieces(plan.bfns, plan.how, |editor, at, done, asked| {
            let Some(gfn) = plan.gfns.first().checked_add(done) else {
                // The plan's ranges do not wrap, and `done` is inside.
                return Piece::stopped(End::Failed(Errno::EINVAL));
            };
            let rest = plan.bfns.pages().saturating_sub(done);
            editor.piece(Target { epoch: plan.epoch, at, how: plan.how }, gfn, rest, asked)
        })
    }

    /// Maps the guest frames of `list`, as far as it gets: at most as many as `plan` has bus frames.
    pub(crate) fn map_list(&mut self, plan: &ListPlan, list: &[Gfn]) -> Progress {
        self.in_pieces(plan.bfns, plan.how, |editor, at, done, asked| {
            let rest = usize::try_from(done).ok().and_then(|done| list.get(done..));
            let asked = usize::try_from(asked).unwrap_or(usize::MAX);
            let gfns = rest.map(|rest| rest.get(..asked).unwrap_or(rest)).unwrap_or_default();
            editor.piece_of_list(Target { epoch: plan.epoch, at, how: plan.how }, gfns)
        })
    }

    /// Has `piece` map from page `done` on, at most `asked` pages, until all of `bfns` is mapped.
    fn in_pieces(
        &mut self,
        bfns: BfnRange,
        how: MapHow,
        mut piece: impl FnMut(&mut Self, Bfn, u64, u64) -> Piece,
    ) -> Progress {
        self.edit.pending.sync_later(how.sync_later);
        let mut done = 0u64;
        let end = loop {
            let Some(at) = bfns.first().checked_add(done) else {
                break End::Failed(Errno::EINVAL);
            };
            let table = pages_at::<F>(1).max(1);
            let to_next_table = table.saturating_sub(at.0 % table);
            let rest = bfns.pages().saturating_sub(done);
            let asked = rest.min(self.before_look()).min(to_next_table);
            let piece = piece(self, at, done, asked);
            done = done.saturating_add(piece.pages);
            let yields = self.worked(piece.pages);
            match piece.stop {
                Some(end) => break end,
                None if done >= bfns.pages() => break End::Finished,
                None if yields => break End::Yield,
                None => {}
            }
        };
        self.edit.pending.sync_later(false);
        let mapped = BfnRange::of_pages(bfns.first(), done);
        match mapped.map(|mapped| self.flush_waiting(Some(mapped))) {
            Some(Err(errno)) => Progress { pages: done, end: End::Failed(errno) },
            _ => Progress { pages: done, end },
        }
    }

    /// Maps from `gfn` on: at least one page, or it says why not. `rest` pages are wanted in all,
    /// `asked` of them by small leaves.
    fn piece(&mut self, target: Target, gfn: Gfn, rest: u64, asked: u64) -> Piece {
        self.acquired.clear();
        let refused = self.acquire(gfn, asked, target.how).err();
        let mut piece = None;
        if refused.is_none() {
            piece = self.large_leaf(target, gfn, rest);
        }
        let piece = piece.unwrap_or_else(|| self.small_leaves(target, asked, refused));
        self.session.release_unmapped(self.acquired, piece.pages);
        piece
    }

    /// Maps the guest frames of `gfns`, by small leaves.
    fn piece_of_list(&mut self, target: Target, gfns: &[Gfn]) -> Piece {
        self.acquired.clear();
        let mut refused = None;
        let mut rest = gfns;
        while let Some(first) = rest.first() {
            let run = run_length(rest);
            rest = rest.get(run..).unwrap_or_default();
            let before = self.acquired.pages();
            let pages = u64::try_from(run).unwrap_or(0);
            refused = self.acquire(*first, pages, target.how).err();
            if refused.is_some() || self.acquired.pages() < before.saturating_add(pages) {
                break;
            }
        }
        let asked = u64::try_from(gfns.len()).unwrap_or(0);
        let piece = self.small_leaves(target, asked, refused);
        self.session.release_unmapped(self.acquired, piece.pages);
        piece
    }

    /// Acquires `pages` pages from `gfn` on, after those acquired already.
    fn acquire(&mut self, gfn: Gfn, pages: u64, how: MapHow) -> Result<(), Errno> {
        let gfns = GfnRange::of_pages(gfn, pages).ok_or(Errno::EINVAL)?;
        let domain = self.session.domain.id();
        let acquired = self.session.platform().acquire(domain, gfns, how.access, self.acquired);
        acquired.map_err(|error| match error {
            AcquireError::NotBacked => Errno::ENOENT,
            AcquireError::NotPermitted => Errno::EPERM,
            AcquireError::Retry => Errno::EAGAIN,
            AcquireError::Saturated => Errno::EBUSY,
        })
    }

    /// The pages acquired that a device may reach at all and that are what was asked for, from the
    /// first on.
    fn usable(&self, how: MapHow) -> u64 {
        let mut pages = 0u64;
        for run in self.acquired.as_slice() {
            if how.mmio_only && run.kind != PageKind::Mmio {
                return pages;
            }
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
    fn small_leaves(&mut self, target: Target, asked: u64, refused: Option<Errno>) -> Piece {
        let acquired = self.acquired.pages();
        let usable = self.usable(target.how);
        let wanted = usable.min(asked);
        let after = if usable < acquired { Some(Errno::EPERM) } else { refused };
        if wanted == 0 {
            // An embedder that acquires nothing and gives no reason is asked again later.
            return Piece::stopped(End::Failed(after.unwrap_or(Errno::EAGAIN)));
        }
        loop {
            let Ok(inside) = self.context.enter(self.session.gate, target.epoch) else {
                return Piece::stopped(End::Yield);
            };
            let mapped = self.session.table::<F>(self.context).map(
                target.at,
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
                None => after.filter(|_| wanted == usable).map(End::Failed),
            };
            return Piece { pages: mapped.pages, stop };
        }
    }

    /// Tries to put the pages of `target` in by one large leaf; `None` if small ones must do.
    fn large_leaf(&mut self, target: Target, gfn: Gfn, rest: u64) -> Option<Piece> {
        let mut found = None;
        for level in 1..=self.session.iommu.largest_leaf_level() {
            let size = pages_at::<F>(level);
            let fits = rest >= size && target.at.0.is_multiple_of(size);
            if !fits || !self.extend(gfn, size, target.how) {
                break;
            }
            found = Some((level, size));
        }
        let (level, size) = found?;
        let first = self.acquired.as_slice().first()?;
        let frames = MfnRange::of_pages(first.frames.first(), size)?;
        let run = Run { frames, ..*first };
        let right_kind = !target.how.mmio_only || run.kind == PageKind::Mmio;
        if !right_kind || self.session.iommu.first_unreachable(frames).is_some() {
            return None;
        }
        let cost = split_cost::<F>(level);
        if !self.session.reserve(cost) {
            return None;
        }
        let stored = self.store_large(target, level, &run);
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
    fn extend(&mut self, gfn: Gfn, size: u64, how: MapHow) -> bool {
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
            if self.acquire(next, more, how).is_err() {
                return false;
            }
            let grown = self.acquired.as_slice().first().map_or(0, |run| run.frames.pages());
            if grown <= have {
                return false;
            }
        }
    }

    /// `Err(None)`: small leaves must do.
    fn store_large(&mut self, target: Target, level: u8, run: &Run) -> Result<(), Option<End>> {
        loop {
            let entered = self.context.enter(self.session.gate, target.epoch);
            let inside = entered.map_err(|_| Some(End::Yield))?;
            let stored = self.session.table::<F>(self.context).map_large(
                target.at,
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

/// How many of `gfns`, from the first on, follow each other. At least one of those there are.
fn run_length(gfns: &[Gfn]) -> usize {
    let mut end = gfns.len().min(1);
    while let (Some(last), Some(next)) = (gfns.get(end.saturating_sub(1)), gfns.get(end))
        && last.0.checked_add(1) == Some(next.0)
    {
        end = end.saturating_add(1);
    }
    end
}
