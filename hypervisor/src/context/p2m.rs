//! A change of the P2M, carried over to the default context where the hypervisor maintains that.
//!
//! First what is taken out, then what is put in; whatever goes wrong, what was there before is gone.

use pviommu_abi::{Bfn, Errno};

use super::{Context, End, Session};
use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    domain::{Backing, DefaultMap, P2mChange},
    format::{Format, with_format},
    machine::EditRoom,
    platform::{PageKind, Platform, Run},
    policy::{UnmapHow, UnmapPlan},
    table::Maker,
};

/// A part of a change that is still to be carried over.
struct Rest {
    bfns: BfnRange,
    first: Mfn,
}

impl<P: Platform> Session<'_, P> {
    /// Carries a change of the P2M over to the default context, if that is maintained.
    pub(crate) fn p2m_changed(&self, change: &mut P2mChange, room: &mut EditRoom) -> End {
        let map = self.domain.default.map();
        let context = self.domain.at(self.domain.default_slot());
        let Some(context) = context.filter(|_| map.need_iommu()) else { return End::Finished };
        // Looked at first: whoever closes it has seen before which devices left it for certain.
        let is_live = context.is_live();
        // Also of a domain that has died: what is maintained holds no page that a failed unit may reach.
        if self.is_frozen(context) {
            return End::Failed(Errno::EIO);
        }
        if !is_live {
            return End::Finished;
        }
        let end = with_format!(self.iommu.format(), F => {
            self.carry_over::<F>(context, map, change, room)
        });
        match (end, change.error) {
            (End::Finished, Some(errno)) => End::Failed(errno),
            (end, _) => end,
        }
    }

    fn carry_over<F: Format>(
        &self,
        context: &Context,
        map: DefaultMap,
        change: &mut P2mChange,
        room: &mut EditRoom,
    ) -> End {
        let pages = change.gfns.pages();
        let new = change.new.filter(|new| !new.access.is_empty());
        let (out, into) = match map {
            DefaultMap::IdentityMfn => {
                let old = change.old.filter(|old| new.is_none_or(|new| new.first != *old));
                (old.map(|old| Bfn(old.0)), new.map(|new| Bfn(new.first.0)))
            }
            _ => {
                let first = Bfn(change.gfns.first().0);
                (new.is_none().then_some(first), new.map(|_| first))
            }
        };
        let out = out.and_then(|first| BfnRange::of_pages(first, pages));
        let into = into.and_then(|first| BfnRange::of_pages(first, pages));
        let out_pages = out.map_or(0, BfnRange::pages);
        if let Some(range) = out.and_then(|out| rest_of(out, change.done)) {
            let (done, end) = self.take_out::<F>(context, range, room);
            change.done = change.done.saturating_add(done);
            if end != End::Finished {
                return end;
            }
        }
        let (Some(into), Some(new)) = (into, new) else { return End::Finished };
        while let Some(bfns) = rest_of(into, change.done.saturating_sub(out_pages)) {
            let offset = bfns.first().0.saturating_sub(into.first().0);
            let last = new.first.checked_add(into.pages().saturating_sub(1));
            let Some(first) = last.and_then(|_| new.first.checked_add(offset)) else {
                // There are no such frames.
                let (done, end) = self.take_out::<F>(context, bfns, room);
                change.note(Errno::EPERM, done);
                return end;
            };
            let before = change.done;
            let end = self.put_in::<F>(context, Rest { bfns, first }, new, change, room);
            match end {
                End::Finished if change.done != before => {}
                End::Finished => return End::Yield,
                end => return end,
            }
        }
        End::Finished
    }

    /// Maps the next of the new frames, or finds out why not.
    fn put_in<F: Format>(
        &self,
        context: &Context,
        rest: Rest,
        new: Backing,
        change: &mut P2mChange,
        room: &mut EditRoom,
    ) -> End {
        let Rest { bfns, first } = rest;
        let Some(inside) =
            bfns.intersection(context.aperture()).filter(|it| it.first() == bfns.first())
        else {
            change.note(Errno::ERANGE, bfns.pages());
            return End::Finished;
        };
        let (epoch, before) = context.snapshot(|epoch| {
            let reserved = self.iommu.nobodys().chain(context.reserved.each_enforced());
            (epoch, self.before_reserved(inside, reserved))
        });
        let bfns = match before {
            Ok(bfns) => bfns,
            Err(after) => {
                let pages = after.0.saturating_sub(inside.first().0).min(inside.pages());
                change.note(Errno::EADDRNOTAVAIL, pages);
                return End::Finished;
            }
        };
        let frames = MfnRange::of_pages(first, bfns.pages());
        let frames = frames.unwrap_or_else(|| MfnRange::single(first));
        let kind = if new.mmio { PageKind::Mmio } else { PageKind::Ram };
        let run = Run { frames, kind, access: new.access };
        let progress =
            self.edit::<F>(context, room, |editor| editor.map_frames(epoch, bfns, run, Maker::P2m));
        change.done = change.done.saturating_add(progress.pages);
        let End::Failed(errno) = progress.end else { return progress.end };
        let Some(left) = rest_of(bfns, progress.pages).filter(|_| errno != Errno::EIO) else {
            return progress.end;
        };
        // What was there before goes, even if nothing comes in its place.
        let failed = match errno {
            Errno::ENOMEM => left,
            _ => BfnRange::single(left.first()),
        };
        let (done, end) = self.take_out::<F>(context, failed, room);
        change.note(errno, done);
        end
    }

    /// Takes out what is maintained of `bfns`; a large leaf that cannot be split goes as a whole.
    fn take_out<F: Format>(
        &self,
        context: &Context,
        bfns: BfnRange,
        room: &mut EditRoom,
    ) -> (u64, End) {
        let Some(inside) = bfns.intersection(context.aperture()) else {
            return (bfns.pages(), End::Finished);
        };
        let mut done = 0u64;
        while let Some(rest) = rest_of(inside, done) {
            let (pages, end) = self.unmap_maintained::<F>(context, rest, false, room);
            done = done.saturating_add(pages);
            let end = match (end, rest_of(inside, done)) {
                (End::Failed(Errno::ENOMEM), Some(rest)) => {
                    let leaf = BfnRange::single(rest.first());
                    let (pages, end) = self.unmap_maintained::<F>(context, leaf, true, room);
                    done = done.saturating_add(pages);
                    end
                }
                (end, _) => end,
            };
            if end != End::Finished {
                return (done, end);
            }
        }
        (bfns.pages(), End::Finished)
    }

    fn unmap_maintained<F: Format>(
        &self,
        context: &Context,
        bfns: BfnRange,
        whole_leaves: bool,
        room: &mut EditRoom,
    ) -> (u64, End) {
        let how = UnmapHow { later: false, skip_holes: true, whole_leaves };
        let plan = UnmapPlan { epoch: context.stable_epoch(), bfns, how };
        let progress = self.edit::<F>(context, room, |editor| editor.unmap(&plan));
        (progress.pages, progress.end)
    }
}

impl P2mChange {
    /// `pages` pages are done with, and were not mapped because of `errno`.
    fn note(&mut self, errno: Errno, pages: u64) {
        self.error = self.error.or(Some(errno));
        self.done = self.done.saturating_add(pages);
    }
}

/// `range` without its first `done` pages.
fn rest_of(range: BfnRange, done: u64) -> Option<BfnRange> {
    BfnRange::new(range.first().checked_add(done)?, range.last())
}
