//! Mapping by large leaves, where a part of them can be taken out again.

use pviommu_abi::Errno;

use super::{
    End,
    acquire::{From, is_usable},
    editor::Editor,
    map::{Piece, Target},
};
use crate::{
    addr::MfnRange,
    format::{Format, pages_at},
    platform::{PageKind, Platform, Run},
    table::{Maker, SplitPaid, Stop, split_cost},
};

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Tries to put the pages of `target` in by one large leaf; `None` if small ones must do.
    pub(super) fn large_leaf(&mut self, target: Target, from: From, rest: u64) -> Option<Piece> {
        let mut found = None;
        for level in 1..=self.session.iommu.largest_leaf_level() {
            let size = pages_at::<F>(level);
            let fits = rest >= size && target.at.0.is_multiple_of(size);
            if !fits || !self.extend(from, size, target.how) {
                break;
            }
            found = Some((level, size));
        }
        let (level, size) = found?;
        let first = self.acquired.first()?;
        let frames = MfnRange::of_pages(first.frames.first(), size)?;
        let run = Run { frames, ..first };
        let foreign = matches!(run.kind, PageKind::Foreign(_));
        let usable = is_usable((run.kind, run.access), target.how) && !foreign;
        if !usable || self.session.iommu.first_unreachable(frames).is_some() {
            return None;
        }
        let cost = split_cost::<F>(level);
        let split = self.pay_for_split(target.maker, cost)?;
        let charged = self.charge_leaf(target, &run);
        let stored = match charged {
            Some(_) => self.store_large(target, level, &run, split),
            None => Err(None),
        };
        if stored.is_err() {
            if split == SplitPaid::Yes {
                self.session.unreserve(cost);
            }
            self.session.uncharge(charged.unwrap_or(0), 0);
        }
        match stored {
            Ok(()) => Some(Piece { pages: size, stop: None }),
            Err(None) => None,
            Err(Some(end)) => Some(Piece::stopped(end)),
        }
    }

    /// Puts `run`, which nothing has to hold, in by as many large leaves of one size as fit, in one table; `None` if
    /// small ones must do, or one at a time. The caller has the context for itself.
    pub(super) fn large_leaves(&mut self, target: Target, run: &Run) -> Option<Piece> {
        let fits = |level: &u8| {
            let size = pages_at::<F>(*level);
            let aligned = (target.at.0 | run.frames.first().0).is_multiple_of(size);
            aligned && run.frames.pages() >= size
        };
        let level = (1..=self.session.iommu.largest_leaf_level()).rfind(fits)?;
        let size = pages_at::<F>(level);
        let most = (run.frames.pages() / size.max(1)).min(self.before_look());
        let frames = MfnRange::of_pages(run.frames.first(), most.saturating_mul(size))?;
        if !is_usable((run.kind, run.access), target.how)
            || self.session.iommu.first_unreachable(frames).is_some()
        {
            return None;
        }
        loop {
            let inside = self.context.enter(self.session.gate, target.epoch).ok()?;
            let table = self.session.table::<F>(self.context);
            let done = table.fill_large(target.at, level, run, target.maker, most, &mut self.edit);
            drop(inside);
            match done {
                Ok(leaves) => {
                    return Some(Piece { pages: leaves.saturating_mul(size), stop: None });
                }
                Err(Stop::NeedTables(frames, pool)) => self.stock(frames, pool).ok()?,
                Err(_) => return None,
            }
        }
    }

    /// Puts aside what splitting a leaf takes. A guest's leaf needs it, so that a part can always be
    /// removed; for the map that a domain starts with, or that is maintained, it may be missing, and a
    /// part of the domain's share is left for tables.
    fn pay_for_split(&self, maker: Maker, cost: u32) -> Option<SplitPaid> {
        let tables = self.session.domain.tables();
        let paid = match maker {
            Maker::Guest => self.session.reserve(cost),
            Maker::HostMap => false,
            Maker::GuestMap | Maker::P2m => {
                tables.left().saturating_sub(cost) > tables.allowed() / 4
                    && self.session.reserve(cost)
            }
        };
        match (paid, maker) {
            (true, _) => Some(SplitPaid::Yes),
            (false, Maker::Guest) => None,
            (false, _) => Some(SplitPaid::No),
        }
    }

    /// `Err(None)`: small leaves must do.
    fn store_large(
        &mut self,
        target: Target,
        level: u8,
        run: &Run,
        split: SplitPaid,
    ) -> Result<(), Option<End>> {
        loop {
            let entered = self.context.enter(self.session.gate, target.epoch);
            let inside = entered.map_err(|_| Some(End::Yield))?;
            let stored = self.session.table::<F>(self.context).map_large(
                target.at,
                level,
                run,
                target.maker,
                split,
                &mut self.edit,
            );
            drop(inside);
            match stored {
                Ok(()) => return Ok(()),
                Err(Stop::NeedTables(frames, pool)) => {
                    self.stock(frames, pool).map_err(Some)?;
                }
                Err(Stop::PendingFull) => {
                    self.flush().map_err(|errno| Some(End::Failed(errno)))?;
                }
                Err(Stop::NotALeaf) => return Err(None),
                Err(Stop::Occupied) => return Err(Some(End::Failed(Errno::EADDRINUSE))),
                Err(_) => return Err(Some(End::Failed(Errno::EIO))),
            }
        }
    }
}
