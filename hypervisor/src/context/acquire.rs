//! Acquiring the pages of a piece, before the table is entered.

use pviommu_abi::{DomId, Errno, Gfn};

use super::editor::{Editor, WORK_UNIT};
use crate::{
    addr::{GfnRange, MfnRange},
    format::Format,
    platform::{Access, AcquireError, ForeignHandle, PageKind, Platform, Run, Wanted},
    policy::MapHow,
};

/// The pages that a piece maps, from the first on.
#[derive(Clone, Copy)]
pub(super) enum From {
    /// Guest frames of a domain, which are to be acquired.
    Guest(DomId, Gfn),
    /// A page of another domain.
    Grant(DomId, u64),
    /// Frames that nothing has to hold.
    Frames(Run),
}

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Acquires `pages` pages after those acquired already.
    #[inline]
    pub(super) fn acquire(&mut self, from: From, pages: u64, how: MapHow) -> Result<(), Errno> {
        let wanted = match from {
            From::Guest(owner, gfn) => {
                let gfns = GfnRange::of_pages(gfn, pages).ok_or(Errno::EINVAL)?;
                Wanted::Guest { owner, gfns }
            }
            From::Grant(granter, reference) => Wanted::Grant { granter, reference },
            // There is room: nothing else was acquired.
            From::Frames(run) => return self.acquired.push(run).map_err(|_| Errno::EINVAL),
        };
        let domain = self.session.domain.id();
        let acquired = self.session.platform().acquire(domain, wanted, how.access, self.acquired);
        acquired.map_err(refusal)
    }

    /// Acquires the guest frames of `gfns`, from the first on, and nothing else.
    pub(super) fn acquire_list(
        &mut self,
        owner: DomId,
        gfns: &[Gfn],
        how: MapHow,
    ) -> Result<(), Errno> {
        self.acquired.clear();
        let domain = self.session.domain.id();
        let platform = self.session.platform();
        let acquired = platform.acquire_list(domain, owner, gfns, how.access, self.acquired);
        acquired.map_err(refusal)
    }

    /// Of the first `asked` pages acquired, those that a device may reach at all and that are what was
    /// asked for, from the first on.
    #[inline(always)]
    pub(super) fn usable(&self, how: MapHow, asked: u64) -> u64 {
        // Most often nothing near is out of reach, and all pages are of one kind.
        if let (Some(alike), Some(hull)) = (self.acquired.all_alike(), self.acquired.hull())
            && is_usable((alike.kind, alike.access), how)
            && self.session.iommu.first_unreachable(hull).is_none()
        {
            return self.acquired.pages().min(asked);
        }
        self.usable_by_run(how, asked)
    }

    /// The same, run by run.
    #[cold]
    fn usable_by_run(&self, how: MapHow, asked: u64) -> u64 {
        let mut pages = 0u64;
        for run in self.acquired.iter() {
            let wanted = run.frames.pages().min(asked.saturating_sub(pages));
            let frames = MfnRange::of_pages(run.frames.first(), wanted);
            let Some(frames) = frames.filter(|_| is_usable((run.kind, run.access), how)) else {
                return pages;
            };
            match self.session.iommu.first_unreachable(frames) {
                None => pages = pages.saturating_add(wanted),
                Some(frame) => {
                    let before = frame.0.saturating_sub(frames.first().0);
                    return pages.saturating_add(before);
                }
            }
        }
        pages
    }

    /// Acquires more until the first run holds `size` pages that a leaf of that size can map.
    pub(super) fn extend(&mut self, from: From, size: u64, how: MapHow) -> bool {
        loop {
            let Some(run) = self.acquired.first().filter(|_| self.acquired.len() == 1) else {
                return false;
            };
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
            let From::Guest(owner, gfn) = from else { return false };
            let Some(next) = gfn.checked_add(have) else { return false };
            if self.acquire(From::Guest(owner, next), more, how).is_err() {
                return false;
            }
            let grown = self.acquired.first().map_or(0, |run| run.frames.pages());
            if grown <= have {
                return false;
            }
        }
    }
}

fn refusal(error: AcquireError) -> Errno {
    match error {
        AcquireError::NotBacked => Errno::ENOENT,
        AcquireError::NotPermitted => Errno::EPERM,
        AcquireError::Retry => Errno::EAGAIN,
        AcquireError::Saturated => Errno::EBUSY,
    }
}

/// True if the pages are what was asked for, and a device may do something with them.
pub(super) fn is_usable((kind, access): (PageKind, Access), how: MapHow) -> bool {
    let right_kind = !how.mmio_only || kind == PageKind::Mmio;
    let named = kind != PageKind::Foreign(ForeignHandle(u64::MAX));
    right_kind && named && !access.is_empty() && how.access.contains(access)
}
