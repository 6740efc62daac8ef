//! What every edit of a table shares: frames to build with, and the way out.

use pviommu_abi::Errno;

use super::{Context, User};
use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    domain::DomainIommu,
    flush::{FlushRoom, PendingFlush, Released},
    format::Format,
    machine::{Gate, Iommu, SYNCS_MAPS},
    platform::{Invalidation, PageKind, Platform, Pool, Run, Runs, UnitError, UnitId},
    sync::full_fence,
    table::{Stash, Table},
};

/// Table frames that are allocated together.
const AT_ONCE: usize = 8;

/// How a call on many pages came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// All of it is done.
    Finished,
    /// The rest is for another call.
    Yield,
    /// It stopped at the first error.
    Failed(Errno),
}

/// What a call on many pages has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// Pages done, from the first on.
    pub(crate) pages: u64,
    pub(crate) end: End,
}

impl Progress {
    pub(crate) fn nothing(end: End) -> Self {
        Self { pages: 0, end }
    }
}

/// One call: the service, the domain it is about, and the CPU's way in.
pub(crate) struct Session<'s, P> {
    pub(crate) iommu: &'s Iommu<'s, P>,
    pub(crate) domain: &'s DomainIommu<'s>,
    pub(crate) gate: Gate<'s>,
}

impl<'s, P: Platform> Session<'s, P> {
    pub(crate) fn platform(&self) -> &'s P {
        self.iommu.platform()
    }

    pub(crate) fn table<'t, F: Format>(&'t self, context: &'t Context) -> Table<'t, F, P> {
        let style = self.iommu.style();
        Table::new(self.platform(), context.root(), style, &context.beside)
    }

    /// True if a unit that serves the context has failed: what it caches is unknown, so nothing
    /// behind it is changed any more (INV-15).
    pub(crate) fn is_frozen(&self, context: &Context) -> bool {
        let failed = |id| self.iommu.unit(id).is_none_or(|unit| unit.has_failed());
        context.users.iter().any(|user| failed(user.unit))
    }

    /// Flushes, then gives back what waited for it. The CPU is outside.
    ///
    /// # Errors
    /// `-EIO` if a unit did not complete; what waited is then held for ever.
    #[inline]
    pub(crate) fn complete(
        &self,
        context: &Context,
        pending: &mut PendingFlush<'_>,
    ) -> Result<(), Errno> {
        if !self.iommu.syncs_maps() {
            pending.forget_added();
        }
        // As after most maps.
        if pending.is_empty() { Ok(()) } else { self.complete_changes(context, pending) }
    }

    #[inline(never)]
    fn complete_changes(
        &self,
        context: &Context,
        pending: &mut PendingFlush<'_>,
    ) -> Result<(), Errno> {
        pending
            .complete(
                |what, added| self.flush(context, what, added),
                |pages, tables| self.note_leak(pages, tables),
                |released| self.release(released),
            )
            .map_err(|UnitError| Errno::EIO)
    }

    /// Invalidates on every unit that serves the context, and waits for each.
    pub(super) fn flush(
        &self,
        context: &Context,
        what: Option<Invalidation>,
        added: Option<BfnRange>,
    ) -> Result<(), UnitError> {
        if what.is_none() && added.is_none() {
            return Ok(());
        }
        // The stores to the table come before the look at who is attached: a device attached
        // later sees them.
        full_fence();
        for user in context.users.iter() {
            let unit = self.iommu.unit(user.unit).ok_or(UnitError)?;
            if let Some(range) = added.filter(|_| unit.facts().features.intersects(SYNCS_MAPS)) {
                self.note_command(user.unit);
                self.iommu.on_unit(user.unit, |hw| hw.sync_map(user.unit, user.tag, range))?;
            }
            if let Some(what) = what {
                self.invalidate(user, what)?;
            }
        }
        Ok(())
    }

    /// Has a unit forget what it has cached for a context, and finish what is under way.
    pub(crate) fn invalidate(&self, user: User, what: Invalidation) -> Result<(), UnitError> {
        self.note_command(user.unit);
        self.iommu.on_unit(user.unit, |hw| hw.invalidate(user.unit, user.tag, what))
    }

    fn note_command(&self, unit: UnitId) {
        self.domain.note_invalidation();
        if let Some(unit) = self.iommu.unit(unit) {
            unit.note_command();
        }
    }

    fn release(&self, released: Released<'_>) {
        let (mut held, mut foreign) = (0u64, 0u64);
        for run in released.runs.iter() {
            self.platform().release(self.domain.id(), &run);
            held = held.saturating_add(run.frames.pages());
            if let PageKind::Foreign(_) = run.kind {
                foreign = foreign.saturating_add(run.frames.pages());
            }
        }
        self.uncharge(held, foreign);
        if !released.tables.is_empty() {
            // Units are done with them; a CPU may still be reading one.
            self.gate.wait_for_others();
        }
        for frame in released.tables {
            self.free(*frame, Pool::Open);
        }
        if released.unreserved != 0 {
            self.unreserve(released.unreserved);
        }
    }

    /// Fills the stash up to `frames` frames of `pool`. The CPU is outside. `aside` is room for what
    /// giving back empty tables leaves to flush: that of the edit that asks is in use.
    ///
    /// # Errors
    /// `-ENOMEM` if the domain's share, or the embedder's memory, is used up even after the
    /// context gave its empty tables back; [`End::Yield`] if it is time to give way meanwhile, or
    /// another CPU is about to split the same leaf.
    pub(crate) fn stock(
        &self,
        context: &Context,
        stash: &mut Stash,
        frames: u8,
        pool: Pool,
        aside: &mut FlushRoom,
    ) -> Result<(), End> {
        while stash.len(pool) < usize::from(frames) {
            if pool == Pool::Reserved && !self.domain.aside().take() {
                return Err(End::Yield);
            }
            let Some(frame) = self.allocate(pool) else {
                self.reclaim(context, aside)?;
                continue;
            };
            if stash.put(frame, pool).is_err() {
                self.free(frame, pool);
                return Err(End::Failed(Errno::ENOMEM));
            }
        }
        Ok(())
    }

    /// Allocates [`AT_ONCE`] frames together if the stash has less than `least`, and there are as many. The CPU is outside.
    pub(crate) fn stock_some(&self, stash: &mut Stash, least: usize) {
        let count = u32::try_from(AT_ONCE).unwrap_or(0);
        if stash.len(Pool::Open) >= least || !self.domain.tables().take(count) {
            return;
        }
        let mut frames = [Mfn(0); AT_ONCE];
        let found = self.platform().alloc_some(self.domain.id(), &mut frames);
        let missing = u32::try_from(AT_ONCE.saturating_sub(found)).unwrap_or(0);
        self.domain.tables().give(missing);
        for frame in frames.iter().take(found) {
            if stash.put(*frame, Pool::Open).is_err() {
                self.free(*frame, Pool::Open);
            }
        }
    }

    /// A zeroed frame charged to the domain. One that was put aside, the caller has taken.
    pub(crate) fn allocate(&self, pool: Pool) -> Option<Mfn> {
        if pool == Pool::Open && !self.domain.tables().take(1) {
            return None;
        }
        let frame = self.platform().alloc(self.domain.id(), pool);
        if frame.is_none() {
            self.uncount(pool);
        }
        frame
    }

    /// Gives back a frame that nothing points to.
    pub(crate) fn free(&self, frame: Mfn, pool: Pool) {
        self.platform().free(self.domain.id(), frame, pool);
        self.uncount(pool);
    }

    /// A frame of `pool` is not in use any more.
    fn uncount(&self, pool: Pool) {
        match pool {
            Pool::Open => self.domain.tables().give(1),
            Pool::Reserved => self.put_aside(1),
        }
    }

    /// Gives back what an edit did not use.
    #[inline]
    pub(crate) fn empty(&self, stash: &mut Stash) {
        if !stash.is_empty() {
            self.give_back_stash(stash);
        }
    }

    #[inline(never)]
    fn give_back_stash(&self, stash: &mut Stash) {
        for pool in [Pool::Open, Pool::Reserved] {
            while let Some(frame) = stash.take(pool) {
                self.free(frame, pool);
            }
        }
    }

    /// Puts frames aside for splitting a leaf; false if there are none to spare.
    pub(crate) fn reserve(&self, frames: u32) -> bool {
        if !self.domain.tables().take(frames) {
            return false;
        }
        let reserved = self.platform().reserve(self.domain.id(), frames);
        if reserved {
            self.put_aside(frames);
        } else {
            self.domain.tables().give(frames);
        }
        reserved
    }

    /// The embedder has put so many more aside; those that are owed go at once.
    fn put_aside(&self, frames: u32) {
        self.let_go_of(self.domain.aside().add(frames));
    }

    /// So many less are put aside, now or when who has them is done.
    pub(crate) fn unreserve(&self, frames: u32) {
        self.let_go_of(self.domain.aside().remove(frames));
    }

    fn let_go_of(&self, frames: u32) {
        if frames > 0 {
            self.platform().unreserve(self.domain.id(), frames);
            self.domain.tables().give(frames);
        }
    }

    /// Releases the pages of `runs` after the first `kept`: no entry ever named them.
    #[inline]
    pub(crate) fn release_unmapped(&self, runs: &Runs, kept: u64) {
        if kept != runs.pages() {
            self.release_rest(runs, kept);
        }
    }

    #[cold]
    fn release_rest(&self, runs: &Runs, kept: u64) {
        let mut skip = kept;
        for run in runs.iter() {
            let pages = run.frames.pages();
            if let Some(rest) = rest_of(&run, skip).filter(|rest| rest.kind.is_held()) {
                self.platform().release(self.domain.id(), &rest);
            }
            skip = skip.saturating_sub(pages);
        }
    }
}

/// `run` without its first `skip` pages.
fn rest_of(run: &Run, skip: u64) -> Option<Run> {
    let first = run.frames.first().checked_add(skip)?;
    let frames = MfnRange::new(first, run.frames.last())?;
    Some(Run { frames, ..*run })
}
