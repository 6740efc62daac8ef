//! Unmapping now and flushing later, within bounds; and ending the wait.

use pviommu_abi::{Bfn, Errno};

use super::{
    Context, End, Session,
    editor::{Editor, WORK_UNIT},
    waiting::Waiting,
};
use crate::{
    addr::{BfnRange, Mfn},
    flush::PendingFlush,
    format::Format,
    platform::{Invalidation, Platform, Pool, Runs},
    policy::UnmapPlan,
    sync::MutexGuard,
    table::{Edit, Stash, Stop, Unmapped},
};

/// Frames that a piece of giving back can empty.
const FRAMES_AT_ONCE: usize = 4;

impl<P: Platform, F: Format> Editor<'_, P, F> {
    /// Unmaps at most `pages` pages, at most [`WORK_UNIT`], from `at` on, to be flushed later.
    /// `None`: it has to be flushed at once, and nothing was done.
    ///
    /// # Errors
    /// As an unmap; [`End::Yield`] also if it is time to give way while the wait of others is ended.
    pub(super) fn unmap_later(
        &mut self,
        plan: &UnmapPlan,
        at: Bfn,
        pages: u64,
    ) -> Result<Option<Unmapped>, End> {
        let Some(range) = BfnRange::of_pages(at, pages) else { return Ok(None) };
        if !self.may_wait(pages)? {
            return Ok(None);
        }
        let (session, context) = (self.session, self.context);
        let Some(mut record) = session.begin_wait(context, range) else {
            session.domain.waiting().give(in_u32(pages));
            return Ok(None);
        };
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(self.aside));
        edit.keep_tables = true;
        let entered = context.enter(session.gate, plan.epoch);
        let unmapped = entered
            .ok()
            .map(|_inside| session.table::<F>(context).unmap(at, pages, pages, &mut edit));
        let (mut waits, mut lost) = (0u64, 0u64);
        if let Some((leaves, runs)) = edit.pending.take_leaves() {
            lost = record.add(session.platform(), leaves, runs);
            waits = runs.pages().saturating_sub(lost);
            // They are the record's now.
            edit.pending.forget();
        }
        context.deferred.settle(&record);
        drop(record);
        session.note_leak(lost, 0);
        session.domain.waiting().give(in_u32(pages.saturating_sub(waits)));
        // What is more than leaves is not put off.
        session.complete(context, &mut edit.pending).map_err(End::Failed)?;
        match unmapped {
            None => Err(End::Yield),
            // A large leaf that must be split first.
            Some(Unmapped { stop: Some(Stop::NeedTables(..)), .. }) => Ok(None),
            Some(unmapped) => Ok(Some(unmapped)),
        }
    }

    /// Takes a share of what may wait. False if there is none to be had.
    fn may_wait(&mut self, pages: u64) -> Result<bool, End> {
        let share = in_u32(pages);
        if !self.session.domain.waiting().take(share) {
            self.end_all_waits()?;
            return Ok(self.session.domain.waiting().take(share));
        }
        Ok(true)
    }

    /// The bound is reached: flushes all that waits in the domain, and gives it back.
    fn end_all_waits(&mut self) -> Result<(), End> {
        for (_, context) in self.session.domain.slots() {
            let waits = context.deferred.is_active();
            let flushed = self.session.flush_waiting(context, None);
            // Another context may be behind a unit that has failed; this one goes on.
            if core::ptr::eq(context, self.context) {
                flushed.map_err(End::Failed)?;
            }
            let mut more = waits;
            while more {
                more = self.session.give_back_piece(context, self.acquired);
                // A domain may have a little waiting in each of many contexts.
                if self.worked(WORK_UNIT) {
                    return Err(End::Yield);
                }
            }
        }
        Ok(())
    }

    /// Flushes what waits in the context, if a bus frame of `range` may be among it.
    ///
    /// # Errors
    /// `-EIO` if a unit did not complete.
    pub(super) fn flush_waiting(&mut self, range: Option<BfnRange>) -> Result<(), Errno> {
        if self.session.flush_waiting(self.context, range)? {
            self.has_flushed();
        }
        Ok(())
    }

    /// Gives back what has been flushed, all of it.
    pub(super) fn give_back_waiting(&mut self) -> End {
        while self.session.give_back_piece(self.context, self.acquired) {
            if self.worked(WORK_UNIT) {
                return End::Yield;
            }
        }
        End::Finished
    }
}

impl<P: Platform> Session<'_, P> {
    /// Locks the record of what waits in `context` with room for `range`, and says that it waits.
    /// `None` if there is no frame to be had for it.
    fn begin_wait<'c>(
        &self,
        context: &'c Context,
        range: BfnRange,
    ) -> Option<MutexGuard<'c, Waiting>> {
        loop {
            let record = context.deferred.begin(self.platform(), range);
            if record.has_room(self.platform()) {
                return Some(record);
            }
            context.deferred.settle(&record);
            drop(record);
            // Outside the lock: the embedder's memory may have locks of its own.
            let frame = self.allocate(Pool::Open)?;
            context.deferred.lock().add_room(self.platform(), frame);
        }
    }

    /// Flushes what waits in `context`, if a bus frame of `range` may be among it, so that it can be
    /// given back; true if there was something to flush. Who maps there meanwhile waits for it.
    ///
    /// # Errors
    /// `-EIO` if a unit did not complete; what waited is then held for ever.
    #[inline]
    pub(crate) fn flush_waiting(
        &self,
        context: &Context,
        range: Option<BfnRange>,
    ) -> Result<bool, Errno> {
        // Most often nothing waits.
        if context.deferred.is_active() { self.flush_what_waits(context, range) } else { Ok(false) }
    }

    #[inline(never)]
    fn flush_what_waits(&self, context: &Context, range: Option<BfnRange>) -> Result<bool, Errno> {
        let mut record = context.deferred.lock();
        if range.is_some_and(|range| !record.may_hold(self.platform(), range)) {
            return Ok(false);
        }
        let Some(span) = record.span() else { return Ok(false) };
        let flushed = self.flush(context, Some(Invalidation::Leaves(span)), None);
        match flushed {
            Ok(()) => record.flushed(self.platform()),
            Err(_) => {
                let (pages, tables) = record.abandon(self.platform());
                self.note_leak(pages, tables);
                self.domain.waiting().give(in_u32(pages));
            }
        }
        context.deferred.settle(&record);
        flushed.map(|()| true).map_err(|_| Errno::EIO)
    }

    /// Gives back a piece of what has been flushed: at most [`WORK_UNIT`] pages, or one run of more.
    /// True if there is more. `room` is the CPU's, and in no use.
    #[inline]
    pub(super) fn give_back_piece(&self, context: &Context, room: &mut Runs) -> bool {
        context.deferred.is_active() && self.give_back_some(context, room)
    }

    #[inline(never)]
    fn give_back_some(&self, context: &Context, room: &mut Runs) -> bool {
        room.clear();
        let mut emptied = heapless::Vec::<Mfn, FRAMES_AT_ONCE>::new();
        let more = {
            let mut record = context.deferred.lock();
            while room.pages() < WORK_UNIT && !room.is_full() && !emptied.is_full() {
                let Some(popped) = record.take_ready(self.platform()) else { break };
                let _ = popped.run.map(|run| room.push(run));
                let _ = popped.emptied.map(|frame| emptied.push(frame));
            }
            context.deferred.settle(&record);
            record.has_ready()
        };
        for run in room.iter() {
            self.platform().release(self.domain.id(), &run);
        }
        self.domain.waiting().give(in_u32(room.pages()));
        self.uncharge(room.pages(), 0);
        room.clear();
        for frame in &emptied {
            self.free(*frame, Pool::Open);
        }
        more
    }

    /// Flushes and gives back all that waits in the domain; the first error.
    pub(crate) fn end_waits(&self, room: &mut Runs) -> End {
        let mut first_error = None;
        for (_, context) in self.domain.slots() {
            let waited = context.deferred.is_active();
            match self.end_wait(context, room) {
                End::Finished if waited && self.platform().should_yield() => return End::Yield,
                End::Finished => {}
                End::Yield => return End::Yield,
                End::Failed(errno) => first_error = first_error.or(Some(errno)),
            }
        }
        first_error.map_or(End::Finished, End::Failed)
    }

    /// Flushes and gives back all that waits in `context`, a piece a time.
    pub(crate) fn end_wait(&self, context: &Context, room: &mut Runs) -> End {
        if let Err(errno) = self.flush_waiting(context, None) {
            return End::Failed(errno);
        }
        while self.give_back_piece(context, room) {
            if self.platform().should_yield() {
                return End::Yield;
            }
        }
        End::Finished
    }
}

fn in_u32(pages: u64) -> u32 {
    u32::try_from(pages).unwrap_or(u32::MAX)
}
