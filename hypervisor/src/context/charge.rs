//! What a domain is charged for the pages it maps.
//!
//! Charged before the entries are stored, for as many pages as there is room for; what was not mapped
//! then is given back. Pages are given back to the quota when their references go, after the flush.

use super::{Session, editor::Editor, map::Target};
use crate::{
    format::Format,
    platform::{PageKind, Platform, Run, Runs},
};

/// Pages that were charged, of those acquired.
#[derive(Clone, Copy, Default)]
pub(super) struct Charge {
    /// Pages that may be mapped, from the first on.
    pub(super) pages: u64,
    /// How many of them are held.
    held: u64,
    /// And are of other domains.
    foreign: u64,
}

/// Of the first `wanted` pages of `runs`: as many as there is room for.
#[inline]
fn within(runs: &Runs, wanted: u64, held: u64, foreign: u64) -> Charge {
    if let Some(alike) = runs.all_alike()
        && alike.kind == PageKind::Ram
    {
        let pages = wanted.min(runs.pages()).min(held);
        return Charge { pages, held: pages, foreign: 0 };
    }
    within_each(runs, wanted, held, foreign)
}

/// The same, run by run.
fn within_each(runs: &Runs, wanted: u64, held: u64, foreign: u64) -> Charge {
    let mut charge = Charge::default();
    for run in runs.iter() {
        let of_run = run.frames.pages().min(wanted.saturating_sub(charge.pages));
        let others = matches!(run.kind, PageKind::Foreign(_));
        let held_left = if run.kind.is_held() { held.saturating_sub(charge.held) } else { of_run };
        let foreign_left = if others { foreign.saturating_sub(charge.foreign) } else { of_run };
        let may = of_run.min(held_left).min(foreign_left);
        charge.pages = charge.pages.saturating_add(may);
        if run.kind.is_held() {
            charge.held = charge.held.saturating_add(may);
        }
        if others {
            charge.foreign = charge.foreign.saturating_add(may);
        }
        if may < of_run {
            break;
        }
    }
    charge
}

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Charges the domain for the first `wanted` pages acquired, or for those that there is room for.
    #[inline(always)]
    pub(super) fn charge(&self, target: Target, wanted: u64) -> Charge {
        let runs = &*self.acquired;
        let all = within(runs, wanted, u64::MAX, u64::MAX);
        if !target.maker.holds_pages() {
            return Charge { held: 0, foreign: 0, ..all };
        }
        let held = self.session.take_pinned(all.held);
        let foreign = self.session.take_foreign(all.foreign);
        if (held, foreign) == (all.held, all.foreign) {
            return all;
        }
        self.charge_part(wanted, held, foreign)
    }

    /// Of the first `wanted` pages acquired, as many as what was taken of both quotas is enough for.
    #[cold]
    fn charge_part(&self, wanted: u64, held: u64, foreign: u64) -> Charge {
        let charge = within_each(self.acquired, wanted, held, foreign);
        self.session
            .uncharge(held.saturating_sub(charge.held), foreign.saturating_sub(charge.foreign));
        charge
    }

    /// Gives back what `charge` has for more than the first `mapped` pages.
    #[inline]
    pub(super) fn settle(&self, charge: Charge, mapped: u64) {
        if mapped != charge.pages {
            self.settle_part(charge, mapped);
        }
    }

    #[cold]
    fn settle_part(&self, charge: Charge, mapped: u64) {
        let used = within(self.acquired, mapped, u64::MAX, u64::MAX);
        let (held, foreign) = (charge.held, charge.foreign);
        self.session.uncharge(held.saturating_sub(used.held), foreign.saturating_sub(used.foreign));
    }

    /// Charges the domain for all pages of a large leaf; how many that is, or `None` if there is no room.
    pub(super) fn charge_leaf(&self, target: Target, run: &Run) -> Option<u64> {
        let held = target.maker.holds_pages() && run.kind.is_held();
        let pages = if held { run.frames.pages() } else { 0 };
        let session = self.session;
        session.domain.pinned().take(session.gate.drawer(), pages).then_some(pages)
    }
}

impl<P: Platform> Session<'_, P> {
    fn take_pinned(&self, pages: u64) -> u64 {
        self.domain.pinned().take_some(self.gate.drawer(), pages)
    }

    fn take_foreign(&self, pages: u64) -> u64 {
        if pages == 0 {
            return 0;
        }
        let quota = self.domain.foreign();
        let may = u32::try_from(pages).unwrap_or(u32::MAX).min(quota.left());
        // Others may have been quicker.
        if quota.take(may) { u64::from(may) } else { 0 }
    }

    /// Gives back what was charged for pages that nobody holds: `held` in all, `foreign` of other domains.
    pub(crate) fn uncharge(&self, held: u64, foreign: u64) {
        self.domain.pinned().give(self.gate.drawer(), held);
        if foreign != 0 {
            self.domain.foreign().give(u32::try_from(foreign).unwrap_or(u32::MAX));
        }
    }
}
