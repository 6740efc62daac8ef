//! The maps that the hypervisor makes: built by range with the largest pages, and kept in step with
//! the P2M where they are maintained.

use pviommu_abi::{Bfn, Errno};

use super::{Context, End, Session};
use crate::{
    addr::{BfnRange, Frame, FrameRange, Mfn, MfnRange},
    domain::{Backing, DefaultMap, P2mChange},
    format::Format,
    machine::{EditRoom, with_format},
    platform::{Access, InitialRun, PageKind, Platform, Run},
    policy::{MapHow, MapPlan, UnmapHow, UnmapPlan},
    sync::Ordering,
    table::Maker,
};

/// Frames with the same numbers.
fn same<A: Frame, B: Frame>(range: FrameRange<A>) -> FrameRange<B> {
    let frame = |number: A| B::from_number(number.number());
    FrameRange::single(frame(range.first())).union(FrameRange::single(frame(range.last())))
}

/// A part of a change that is still to be carried over.
struct Rest {
    bfns: BfnRange,
    first: Mfn,
}

impl<P: Platform> Session<'_, P> {
    /// Does a piece of filling `context`, which nobody uses, with the map that the domain starts with.
    pub(super) fn fill_initial(
        &self,
        context: &Context,
        map: DefaultMap,
        room: &mut EditRoom,
    ) -> End {
        if map.need_iommu() {
            return End::Finished;
        }
        with_format!(self.iommu.format(), F => self.fill_table::<F>(context, map, room))
    }

    fn fill_table<F: Format>(
        &self,
        context: &Context,
        map: DefaultMap,
        room: &mut EditRoom,
    ) -> End {
        loop {
            let from = Bfn(context.filled.load(Ordering::Relaxed));
            let run = self.platform().initial_map(self.domain.id(), from);
            let Some((bfns, access)) =
                run.and_then(|run| part_from(&run, from, context.aperture()))
            else {
                return End::Finished;
            };
            let next = match self.before_reserved(bfns, self.iommu.nobodys()) {
                Err(end) => end,
                Ok(bfns) => {
                    let (done, end) = self.fill_run::<F>(context, map, bfns, access, room);
                    let skipped = match end {
                        End::Finished => 0,
                        End::Yield => {
                            store_next(context, bfns.first(), done);
                            return End::Yield;
                        }
                        // Not a page that devices may be let at: the others are.
                        End::Failed(Errno::EPERM | Errno::ENOENT) => {
                            self.unreachable_from(map, bfns, done)
                        }
                        end => return end,
                    };
                    match bfns.first().checked_add(done.saturating_add(skipped)) {
                        Some(next) => next,
                        None => return End::Finished,
                    }
                }
            };
            store_next(context, next, 0);
        }
    }

    fn fill_run<F: Format>(
        &self,
        context: &Context,
        map: DefaultMap,
        bfns: BfnRange,
        access: Access,
        room: &mut EditRoom,
    ) -> (u64, End) {
        let epoch = context.facts().epoch;
        let progress = self.edit::<F>(context, room, |editor| {
            if map == DefaultMap::Host {
                let run = Run { frames: same(bfns), kind: PageKind::Ram, access };
                return editor.map_frames(epoch, bfns, run, Maker::HostMap);
            }
            let how = MapHow { access, mmio_only: false, sync_later: false };
            let owner = self.domain.id();
            let plan = MapPlan { epoch, bfns, owner, gfns: same(bfns), how };
            editor.map(&plan, Maker::GuestMap)
        });
        (progress.pages, progress.end)
    }

    /// Pages to pass over after the first `done` of `bfns`, because no device may be let at the next.
    fn unreachable_from(&self, map: DefaultMap, bfns: BfnRange, done: u64) -> u64 {
        let next = bfns.first().0.saturating_add(done);
        match map {
            DefaultMap::Host => self.iommu.unreachable_pages(Mfn(next)),
            _ => 1,
        }
    }

    /// What of `bfns` comes before the first of `reserved` in it; if that is nothing, what comes after.
    fn before_reserved(
        &self,
        bfns: BfnRange,
        reserved: impl Iterator<Item = BfnRange>,
    ) -> Result<BfnRange, Bfn> {
        let hits = reserved.filter(|range| range.overlaps(bfns));
        let Some(hit) = hits.min_by_key(|range| range.first()) else { return Ok(bfns) };
        let before =
            hit.first().0.checked_sub(1).and_then(|last| BfnRange::new(bfns.first(), Bfn(last)));
        before.ok_or(Bfn(hit.last().0.saturating_add(1)))
    }

    /// Carries a change of the P2M over to the default context, if that is maintained.
    pub(crate) fn p2m_changed(&self, change: &mut P2mChange, room: &mut EditRoom) -> End {
        let map = self.domain.default.map();
        let context = self.domain.at(self.domain.default_slot());
        let context = context.filter(|context| map.need_iommu() && context.facts().is_live());
        let Some(context) = context else { return End::Finished };
        if self.is_frozen(context) {
            return End::Failed(Errno::EIO);
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
            let Some(first) = new.first.checked_add(offset) else { return End::Finished };
            let before = change.done;
            let end = self.put_in::<F>(context, Rest { bfns, first }, new, change, room);
            match end {
                End::Finished if change.done > before => {}
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
        let facts = context.facts();
        let Some(inside) =
            bfns.intersection(context.aperture()).filter(|it| it.first() == bfns.first())
        else {
            change.note(Errno::ERANGE, bfns.pages());
            return End::Finished;
        };
        let reserved = self.iommu.nobodys().chain(facts.reserved.iter().copied());
        let bfns = match self.before_reserved(inside, reserved) {
            Ok(bfns) => bfns,
            Err(after) => {
                let pages = after.0.saturating_sub(inside.first().0).min(inside.pages());
                change.note(Errno::EADDRNOTAVAIL, pages);
                return End::Finished;
            }
        };
        let Some(frames) = MfnRange::of_pages(first, bfns.pages()) else {
            change.note(Errno::EPERM, bfns.pages());
            return End::Finished;
        };
        let kind = if new.mmio { PageKind::Mmio } else { PageKind::Ram };
        let run = Run { frames, kind, access: new.access };
        let progress = self.edit::<F>(context, room, |editor| {
            editor.map_frames(facts.epoch, bfns, run, Maker::P2m)
        });
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
        let beyond = bfns.pages().saturating_sub(inside.pages());
        let how = UnmapHow { later: false, skip_holes: true, whole_leaves: true };
        let plan = UnmapPlan { epoch: context.facts().epoch, bfns: inside, how };
        let progress = self.edit::<F>(context, room, |editor| editor.unmap(&plan));
        match progress.end {
            End::Finished => (progress.pages.saturating_add(beyond), End::Finished),
            end => (progress.pages, end),
        }
    }
}

impl P2mChange {
    /// `pages` pages are done with, and were not mapped because of `errno`.
    fn note(&mut self, errno: Errno, pages: u64) {
        self.error = self.error.or(Some(errno));
        self.done = self.done.saturating_add(pages);
    }
}

fn store_next(context: &Context, at: Bfn, done: u64) {
    context.filled.store(at.0.saturating_add(done), Ordering::Relaxed);
}

/// What of `run` is at or after `from`, and in the aperture.
fn part_from(run: &InitialRun, from: Bfn, aperture: BfnRange) -> Option<(BfnRange, Access)> {
    let part = BfnRange::new(run.bfns.first().max(from), run.bfns.last())?;
    Some((part.intersection(aperture)?, run.access))
}

/// `range` without its first `done` pages.
fn rest_of(range: BfnRange, done: u64) -> Option<BfnRange> {
    BfnRange::new(range.first().checked_add(done)?, range.last())
}
