//! Mapping a guest's pages: acquire, then put in, a piece at a time.
//!
//! A piece stays within one leaf table, or is one large leaf. Pages are acquired before the table
//! is entered, because acquiring may take the embedder's locks; what then does not go in is
//! released at once, since no device ever saw it.

use pviommu_abi::{Bfn, DomId, Errno, Gfn};

use super::{End, Progress, acquire::From, editor::Editor};
use crate::{
    addr::{BfnRange, MfnRange},
    format::{Format, pages_at},
    platform::{Platform, Run},
    policy::{GrantPlan, ListPlan, MapHow, MapPlan},
    table::{Maker, Stop},
};

/// A piece that went in, and why no more of it did.
pub(super) struct Piece {
    pub(super) pages: u64,
    pub(super) stop: Option<End>,
}

impl Piece {
    pub(super) fn stopped(end: End) -> Self {
        Self { pages: 0, stop: Some(end) }
    }
}

/// Where a piece goes, and how.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) epoch: u64,
    pub(super) at: Bfn,
    pub(super) how: MapHow,
    pub(super) maker: Maker,
}

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Maps what `plan` says for `maker`, as far as it gets.
    pub(crate) fn map(&mut self, plan: &MapPlan, maker: Maker) -> Progress {
        self.in_pieces(plan.bfns, plan.how, |editor, at, done, asked| {
            let Some(gfn) = plan.gfns.first().checked_add(done) else {
                // The plan's ranges do not wrap, and `done` is inside.
                return Piece::stopped(End::Failed(Errno::EINVAL));
            };
            let rest = plan.bfns.pages().saturating_sub(done);
            let target = Target { epoch: plan.epoch, at, how: plan.how, maker };
            editor.piece(target, From::Guest(plan.owner, gfn), rest, asked)
        })
    }

    /// Maps frames that nothing has to hold at `bfns`, `run` being as many, as far as it gets.
    pub(crate) fn map_frames(
        &mut self,
        epoch: u64,
        bfns: BfnRange,
        run: Run,
        maker: Maker,
    ) -> Progress {
        let how = MapHow { access: run.access, mmio_only: false, sync_later: false };
        self.in_pieces(bfns, how, |editor, at, done, asked| {
            let first = run.frames.first().checked_add(done);
            let Some(frames) = first.and_then(|at| MfnRange::new(at, run.frames.last())) else {
                return Piece::stopped(End::Failed(Errno::EINVAL));
            };
            let (target, run) = (Target { epoch, at, how, maker }, Run { frames, ..run });
            let rest = bfns.pages().saturating_sub(done);
            editor.piece(target, From::Frames(run), rest, asked)
        })
    }

    /// Maps the page that was granted.
    pub(crate) fn map_grant(&mut self, plan: &GrantPlan) -> Progress {
        self.in_pieces(BfnRange::single(plan.bfn), plan.how, |editor, at, _, asked| {
            let target = Target { epoch: plan.epoch, at, how: plan.how, maker: Maker::Guest };
            editor.piece(target, From::Grant(plan.granter, plan.reference), 1, asked)
        })
    }

    /// Maps the guest frames of `list`, as far as it gets: at most as many as `plan` has bus frames.
    pub(crate) fn map_list(&mut self, plan: &ListPlan, list: &[Gfn]) -> Progress {
        self.in_pieces(plan.bfns, plan.how, |editor, at, done, asked| {
            let rest = usize::try_from(done).ok().and_then(|done| list.get(done..));
            let asked = usize::try_from(asked).unwrap_or(usize::MAX);
            let gfns = rest.map(|rest| rest.get(..asked).unwrap_or(rest)).unwrap_or_default();
            let target = Target { epoch: plan.epoch, at, how: plan.how, maker: Maker::Guest };
            editor.piece_of_list(target, plan.owner, gfns)
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

    /// Maps `from` on: at least one page, or it says why not. `rest` pages are wanted in all,
    /// `asked` of them by small leaves.
    #[inline(always)]
    fn piece(&mut self, target: Target, from: From, rest: u64, asked: u64) -> Piece {
        self.acquired.clear();
        let refused = self.acquire(from, asked, target.how).err();
        let mut piece = None;
        if refused.is_none() && rest >= pages_at::<F>(1) {
            piece = self.large_leaf(target, from, rest);
        }
        let piece = piece.unwrap_or_else(|| self.small_leaves(target, asked, refused));
        if !matches!(from, From::Frames(_)) {
            self.session.release_unmapped(self.acquired, piece.pages);
        }
        piece
    }

    /// Maps the guest frames of `gfns`, by small leaves.
    fn piece_of_list(&mut self, target: Target, owner: DomId, gfns: &[Gfn]) -> Piece {
        let refused = self.acquire_list(owner, gfns, target.how).err();
        let asked = u64::try_from(gfns.len()).unwrap_or(0);
        let piece = self.small_leaves(target, asked, refused);
        self.session.release_unmapped(self.acquired, piece.pages);
        piece
    }

    /// Puts the acquired pages in by 4 KiB leaves, at most `asked`.
    #[inline(never)]
    fn small_leaves(&mut self, target: Target, asked: u64, refused: Option<Errno>) -> Piece {
        let acquired = self.acquired.pages().min(asked);
        let usable = self.usable(target.how, asked);
        let charge = self.charge(target, usable);
        let wanted = charge.pages;
        let after = match () {
            () if wanted < usable => Some(Errno::ENOSPC),
            () if usable < acquired => Some(Errno::EPERM),
            () => refused,
        };
        if wanted == 0 {
            // An embedder that acquires nothing and gives no reason is asked again later.
            return Piece::stopped(End::Failed(after.unwrap_or(Errno::EAGAIN)));
        }
        let piece = self.store_small(target, wanted);
        self.settle(charge, piece.pages);
        let all = piece.pages == wanted && piece.stop.is_none();
        Piece { stop: if all { after.map(End::Failed) } else { piece.stop }, ..piece }
    }

    fn store_small(&mut self, target: Target, wanted: u64) -> Piece {
        let mut stored = Stored::default();
        loop {
            let Ok(inside) = self.context.enter(self.session.gate, target.epoch) else {
                return Piece { pages: stored.pages, stop: Some(End::Yield) };
            };
            let stopped = self.store_inside(target, wanted, &mut stored);
            drop(inside);
            let stop = match stopped {
                None => None,
                Some(Stop::NeedTables(frames, pool)) => match self.stock(frames, pool) {
                    Ok(()) => continue,
                    Err(end) => Some(end),
                },
                Some(Stop::PendingFull) => match self.flush() {
                    Ok(()) => continue,
                    Err(errno) => Some(End::Failed(errno)),
                },
                Some(Stop::Occupied) => Some(End::Failed(Errno::EADDRINUSE)),
                Some(_) => Some(End::Failed(Errno::EIO)),
            };
            return Piece { pages: stored.pages, stop };
        }
    }

    /// Stores what is left of the first `wanted` pages acquired, those that are alike at a time.
    fn store_inside(&mut self, target: Target, wanted: u64, stored: &mut Stored) -> Option<Stop> {
        let table = self.session.table::<F>(self.context);
        while let Some(alike) = self.acquired.alike_from(stored.runs) {
            let left = wanted.saturating_sub(stored.pages);
            let at = target.at.checked_add(stored.pages).filter(|_| left != 0)?;
            let mapped = table.map(at, alike, left, target.maker, &mut self.edit);
            stored.pages = stored.pages.saturating_add(mapped.pages);
            stored.runs = stored.runs.saturating_add(alike.frames.len());
            if mapped.stop.is_some() {
                // Before the first of these, or for good.
                stored.runs = stored.runs.saturating_sub(alike.frames.len());
                return mapped.stop;
            }
            if stored.runs >= self.acquired.len() || mapped.pages < alike.pages() {
                break;
            }
        }
        None
    }
}

/// What has been stored of the pages that were acquired.
#[derive(Default)]
struct Stored {
    pages: u64,
    /// The runs that they are.
    runs: usize,
}
