//! The maps that domains start with: built by range, with the largest pages.

use pviommu_abi::{Bfn, Errno};

use super::{Context, Editor, End, Progress, Session};
use crate::{
    addr::{BfnRange, Frame, FrameRange, Mfn},
    domain::DefaultMap,
    format::{Format, with_format},
    machine::EditRoom,
    platform::{Access, InitialRun, PageKind, Platform, Run},
    policy::{MapHow, MapPlan},
    sync::Ordering,
    table::Maker,
};

/// Frames with the same numbers.
fn same<A: Frame, B: Frame>(range: FrameRange<A>) -> FrameRange<B> {
    let frame = |number: A| B::from_number(number.number());
    FrameRange::single(frame(range.first())).union(FrameRange::single(frame(range.last())))
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
        with_format!(self.iommu.format(), F => {
            let progress = self.edit::<F>(context, room, |editor| {
                Progress::nothing(self.fill_table(context, map, editor))
            });
            progress.end
        })
    }

    fn fill_table<F: Format>(
        &self,
        context: &Context,
        map: DefaultMap,
        editor: &mut Editor<'_, P, F>,
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
                    let Progress { pages: done, end } =
                        self.fill_run(map, context, (bfns, access), editor);
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
            // Runs may be short, and nothing of some of them is mapped.
            editor.worked(1);
            if editor.is_yielding() {
                return End::Yield;
            }
        }
    }

    fn fill_run<F: Format>(
        &self,
        map: DefaultMap,
        context: &Context,
        (bfns, access): (BfnRange, Access),
        editor: &mut Editor<'_, P, F>,
    ) -> Progress {
        if map == DefaultMap::Host {
            let run = Run { frames: same(bfns), kind: PageKind::Ram, access };
            return editor.fill(bfns, run);
        }
        let epoch = context.stable_epoch();
        let how = MapHow { access, mmio_only: false, sync_later: false };
        let owner = self.domain.id();
        let plan = MapPlan { epoch, bfns, owner, gfns: same(bfns), how };
        editor.map(&plan, Maker::GuestMap)
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
    pub(super) fn before_reserved(
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
}

fn store_next(context: &Context, at: Bfn, done: u64) {
    context.filled.store(at.0.saturating_add(done), Ordering::Relaxed);
}

/// What of `run` is at or after `from`, and in the aperture.
fn part_from(run: &InitialRun, from: Bfn, aperture: BfnRange) -> Option<(BfnRange, Access)> {
    let part = BfnRange::new(run.bfns.first().max(from), run.bfns.last())?;
    Some((part.intersection(aperture)?, run.access))
}
