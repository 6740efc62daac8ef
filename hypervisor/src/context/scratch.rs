//! The background of a context: built with it, taken down with it, and watched.

use pviommu_abi::{Bfn, Errno};

use super::{Context, Session, State};
use crate::{
    addr::{BfnRange, Mfn},
    domain::Background,
    flush::PendingFlush,
    format::{Format, MAX_LEVELS},
    machine::{EditRoom, Notice},
    platform::{Platform, Pool, TableRoot},
    sync::Ordering,
    table::{Edit, Paint, Stash, Stop},
};

/// Who is told that a scratch page was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Embedder,
    Guest,
}

impl Told {
    fn bit(self) -> u32 {
        match self {
            Self::Embedder => 1,
            Self::Guest => 2,
        }
    }
}

type Frames = heapless::Vec<Mfn, MAX_LEVELS>;

impl<P: Platform> Session<'_, P> {
    /// Gives a context that is not in use, and that nobody else knows, a table without mappings, with
    /// `root` for its root.
    ///
    /// # Errors
    /// `-ENOMEM` if the domain's share, or the embedder's memory, is used up; what was built so far
    /// is taken down with the context.
    pub(crate) fn build<F: Format>(
        &self,
        context: &Context,
        root: Mfn,
        aperture: BfnRange,
        background: Background,
        room: &mut EditRoom,
    ) -> Result<(), Errno> {
        context.beside.vacancy.set_fault::<F>();
        context.set_up(TableRoot { frame: root, levels: self.iommu.shape().levels }, aperture);
        self.publish_whole(root);
        if background == Background::Fault {
            return Ok(());
        }
        self.build_scratch::<F>(context)?;
        self.paint::<F>(context, aperture, Paint::Vacant, room)?;
        for range in self.iommu.nobodys().filter_map(|range| range.intersection(aperture)) {
            self.paint::<F>(context, range, Paint::Blocked, room)?;
        }
        Ok(())
    }

    /// The scratch page and the tables that lead to it.
    fn build_scratch<F: Format>(&self, context: &Context) -> Result<(), Errno> {
        let page = self.allocate_scratch().ok_or(Errno::ENOMEM)?;
        let mut shared = Frames::new();
        for _ in 1..self.iommu.shape().levels {
            let frame = self.allocate(Pool::Open);
            if frame.and_then(|frame| shared.push(frame).ok()).is_none() {
                for frame in &shared {
                    self.free(*frame, Pool::Open);
                }
                self.free_scratch(page);
                return Err(Errno::ENOMEM);
            }
        }
        context.beside.vacancy.set_scratch::<F>(page, &shared, self.iommu.style().attributes);
        for (level, table) in (0..=u8::MAX).zip(&shared) {
            for entry in self.platform().table(*table) {
                entry.store(context.beside.vacancy.word(level), Ordering::Relaxed);
            }
            self.publish_whole(*table);
        }
        Ok(())
    }

    fn publish_whole(&self, table: Mfn) {
        if self.iommu.style().publish {
            let entries = self.platform().table(table).len();
            self.platform().publish(table, 0, entries.saturating_sub(1));
        }
    }

    /// Paints a range of a context that nobody else uses.
    pub(crate) fn paint<F: Format>(
        &self,
        context: &Context,
        range: BfnRange,
        paint: Paint,
        room: &mut EditRoom,
    ) -> Result<(), Errno> {
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room.flush));
        let painted = loop {
            match self.table::<F>(context).paint(range, paint, &mut edit) {
                Ok(()) => break Ok(()),
                Err(Stop::NeedTables(..)) => {}
                Err(_) => break Err(Errno::EIO),
            }
            let Some(frame) = self.allocate(Pool::Open) else { break Err(Errno::ENOMEM) };
            if edit.stash.put(frame, Pool::Open).is_err() {
                self.free(frame, Pool::Open);
            }
        };
        self.empty(edit.stash);
        painted.and(self.complete(context, &mut edit.pending))
    }

    /// Gives back the scratch page and its tables: nothing leads there any more but the root, which
    /// goes, too.
    pub(super) fn take_down_scratch<F: Format>(&self, context: &Context) {
        let page = context.beside.vacancy.page::<F>();
        let mut shared = Frames::new();
        for frame in context.beside.vacancy.shared::<F>() {
            let _ = shared.push(frame);
        }
        context.beside.vacancy.set_fault::<F>();
        for frame in &shared {
            self.free(*frame, Pool::Open);
        }
        if let Some(page) = page {
            self.free_scratch(page);
        }
    }

    fn allocate_scratch(&self) -> Option<Mfn> {
        if !self.domain.tables().take(1) {
            return None;
        }
        let page = self.platform().alloc_scratch(self.domain.id());
        if page.is_none() {
            self.domain.tables().give(1);
        }
        page
    }

    fn free_scratch(&self, page: Mfn) {
        self.platform().free_scratch(self.domain.id(), page);
        self.domain.tables().give(1);
    }

    /// Makes vacant what of `ranges` nobody reserves any more. The caller holds the administration
    /// lock and keeps everybody else out. What would take a table that is not there stays blocked.
    pub(crate) fn restore_background<F: Format>(
        &self,
        context: &Context,
        ranges: impl Iterator<Item = BfnRange>,
        edit: &mut Edit<'_>,
    ) {
        let aperture = context.aperture();
        for range in ranges {
            if !context.reserved.each_enforced().any(|other| other == range) {
                for part in outside(range, aperture).into_iter().flatten() {
                    let _ = self.table::<F>(context).paint(part, Paint::Blocked, edit);
                }
            }
            let mut rest = range.intersection(aperture);
            while let Some(part) = rest {
                let (stretch, free) = self.stretch_of(context, part);
                if let Some(free) = stretch.filter(|_| free)
                    && self.table::<F>(context).paint(free, Paint::Vacant, edit).is_err()
                {
                    self.note(Notice::StaysBlocked(free));
                }
                let next = stretch.and_then(|stretch| stretch.last().checked_add(1));
                rest = next.and_then(|at| BfnRange::new(at, part.last()));
            }
        }
    }

    /// The first stretch of `part` that is reserved as a whole or not at all: either all up to the end of
    /// a reserved range, or all up to the next one. And whether nobody reserves it.
    fn stretch_of(&self, context: &Context, part: BfnRange) -> (Option<BfnRange>, bool) {
        let first = part.first();
        let reserved = || context.reserved.each_enforced().chain(self.iommu.nobodys());
        let inside = reserved().filter(|taken| taken.contains(first));
        let end = inside.map(|taken| taken.last()).max();
        let next = reserved().map(|taken| taken.first()).filter(|at| *at > first).min();
        let last = end.or(next.and_then(|at| at.checked_sub(1))).unwrap_or(part.last());
        (BfnRange::new(first, last.min(part.last())), end.is_none())
    }

    /// True, once for each context and each of who is told, if a device has written its scratch page.
    pub(crate) fn scratch_written<F: Format>(&self, context: &Context, told: Told) -> bool {
        if context.scratch_told.load(Ordering::Acquire) & told.bit() != 0 {
            return false;
        }
        let (epoch, live) = context.snapshot(|epoch| (epoch, context.state() == State::Live));
        let Ok(_inside) = context.enter(self.gate, epoch) else { return false };
        let Some(page) = context.beside.vacancy.page::<F>().filter(|_| live) else { return false };
        let words = self.platform().table(page);
        let written = words.iter().any(|word| word.load(Ordering::Relaxed) != 0);
        written && context.scratch_told.fetch_or(told.bit(), Ordering::AcqRel) & told.bit() == 0
    }
}

/// What of `range` is before `aperture`, and what after.
fn outside(range: BfnRange, aperture: BfnRange) -> [Option<BfnRange>; 2] {
    let before = aperture.first().0.checked_sub(1).map(|last| range.last().min(Bfn(last)));
    let after = aperture.last().checked_add(1).map(|first| range.first().max(first));
    [
        before.and_then(|last| BfnRange::new(range.first(), last)),
        after.and_then(|first| BfnRange::new(first, range.last())),
    ]
}
