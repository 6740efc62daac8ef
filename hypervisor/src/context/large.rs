//! Mapping by large leaves, where a part of them can be taken out again.

use pviommu_abi::Errno;

use super::{
    End,
    acquire::{From, is_usable},
    editor::{Editor, WORK_UNIT},
    map::{Piece, Target},
};
use crate::{
    addr::MfnRange,
    format::{Format, pages_at},
    platform::{PageKind, Platform, Run},
    policy::MapHow,
    table::{Maker, SplitPaid, Stop, split_cost},
};

/// Pages that are put in by large leaves at a time, where one leaf is not more: as many as wait for one flush when they are
/// taken out again.
const MAX_PAGES: u64 = 4096;

/// What was paid for a large leaf.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Paid {
    /// Whether its split is.
    split: SplitPaid,
    /// Pages that the domain is charged for.
    charged: u64,
}

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Tries to put the pages of `target` in by large leaves; `None` if small ones must do.
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
        let most = (MAX_PAGES / size.max(1)).max(1).min(rest / size.max(1));
        self.acquire_leaves(from, size, most, target.how);
        let leaves = self.leaves_acquired(size, most, target.how);
        let (paid, leaves) = self.pay_for_leaves(target, level, leaves)?;
        let stored = self.store_large(target, level, leaves, paid.split);
        let count = stored.unwrap_or(0);
        for _ in count..leaves {
            self.take_back(paid, level);
        }
        match stored {
            Ok(_) => Some(Piece { pages: count.saturating_mul(size), stop: None }),
            Err(None) => None,
            Err(Some(end)) => Some(Piece::stopped(end)),
        }
    }

    /// Acquires what follows the first leaf of `size` pages, as far as it makes more, up to `most` in all.
    fn acquire_leaves(&mut self, from: From, size: u64, most: u64, how: MapHow) {
        let From::Guest(owner, gfn) = from else { return };
        let most = most.saturating_mul(size);
        loop {
            let (have, runs) = (self.acquired.pages(), self.acquired.len());
            let missing = size.saturating_sub(have.checked_rem(size).unwrap_or(0));
            // What has been acquired is put in then, and all else given back.
            if have >= most || self.acquired.is_full() || self.session.platform().should_yield() {
                return;
            }
            let Some(next) = gfn.checked_add(have) else { return };
            if self.acquire(From::Guest(owner, next), missing.min(WORK_UNIT), how).is_err() {
                return;
            }
            // A run of its own begins where a leaf does, or none is made.
            let now = self.acquired.len();
            let another = now == runs.saturating_add(1) && missing == size;
            let last = self.acquired.alike_from(now.saturating_sub(1));
            let last = last.and_then(|last| last.frames.first().copied());
            let aligned = last.is_some_and(|run| run.first().0.is_multiple_of(size));
            if self.acquired.pages() <= have || !aligned || !(now == runs || another) {
                return;
            }
        }
    }

    /// How many leaves of `size` pages the acquired ones make, from the first on; at most `most`.
    fn leaves_acquired(&self, size: u64, most: u64, how: MapHow) -> u64 {
        let Some(alike) = self.acquired.alike_from(0) else { return 0 };
        let foreign = matches!(alike.kind, PageKind::Foreign(_));
        if foreign || !is_usable((alike.kind, alike.access), how) {
            return 0;
        }
        let mut leaves = 0u64;
        for run in alike.frames {
            let all = run.pages().checked_div(size).unwrap_or(0);
            let wanted = all.min(most.saturating_sub(leaves));
            let frames = MfnRange::of_pages(run.first(), wanted.saturating_mul(size));
            let aligned = run.first().0.is_multiple_of(size);
            let Some(frames) = frames.filter(|_| aligned) else { break };
            let reached = match self.session.iommu.first_unreachable(frames) {
                None => wanted,
                Some(frame) => frame.0.saturating_sub(frames.first().0) / size.max(1),
            };
            leaves = leaves.saturating_add(reached);
            if reached < wanted || run.pages() != wanted.saturating_mul(size) {
                break;
            }
        }
        leaves
    }

    /// Pays for as many of `leaves` as there is room for: what for each, and how many. `None` if for none.
    fn pay_for_leaves(&self, target: Target, level: u8, leaves: u64) -> Option<(Paid, u64)> {
        let first = self.acquired.first()?;
        let frames = MfnRange::of_pages(first.frames.first(), pages_at::<F>(level))?;
        let leaf = Run { frames, ..first };
        let mut paid = None;
        let mut count = 0u64;
        while count != leaves {
            let Some(split) = self.pay_for_split(target.maker, split_cost::<F>(level)) else {
                break;
            };
            let charged = self.charge_leaf(target, &leaf);
            let next = Paid { split, charged: charged.unwrap_or(0) };
            if charged.is_none() || paid.is_some_and(|paid| paid != next) {
                self.take_back(next, level);
                break;
            }
            paid = Some(next);
            count = count.saturating_add(1);
        }
        Some((paid?, count))
    }

    /// Takes back what was paid for a leaf that was not put in.
    fn take_back(&self, paid: Paid, level: u8) {
        if paid.split == SplitPaid::Yes {
            self.session.unreserve(split_cost::<F>(level));
        }
        self.session.uncharge(paid.charged, 0);
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

    /// Puts the first `leaves` that were acquired in; how many. `Err(None)`: small ones must do.
    fn store_large(
        &mut self,
        target: Target,
        level: u8,
        leaves: u64,
        split: SplitPaid,
    ) -> Result<u64, Option<End>> {
        loop {
            let Some(runs) = self.acquired.alike_from(0) else { return Err(None) };
            let entered = self.context.enter(self.session.gate, target.epoch);
            let inside = entered.map_err(|_| Some(End::Yield))?;
            let stored = self.session.table::<F>(self.context).map_large(
                target.at,
                level,
                runs,
                leaves,
                (target.maker, split),
                &mut self.edit,
            );
            drop(inside);
            match stored {
                Ok(stored) => return Ok(stored),
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
