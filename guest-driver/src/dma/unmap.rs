//! Unmaps: at once, later with others, and all that waits. What was unmapped is flushed before its bus
//! frames are free.

use pviommu_abi::{Bfn, ElementFlags, Errno};
use spin::MutexGuard;

use super::error::DmaError;
use super::kernel::Kernel;
use super::map::RETRIES;
#[cfg(feature = "alloc")]
use super::mode::Hold;
use super::queue::{Carried, Ticket};
use super::space::DmaSpace;
use super::storage::Room;
use crate::batch::{BatchBuilder, BatchDone};
use crate::bfn::BfnRange;
use crate::error::{Error, MapError};

/// How often room is made for a range that is to wait.
const TRIES: u32 = 4;

impl<K: Kernel> DmaSpace<'_, K> {
    /// Unmaps a range that may have holes, and flushes it.
    pub(super) fn clear(&self, bfn: Bfn, pages: u32) -> Result<(), MapError> {
        let mut from: u32 = 0;
        let (mut retries, mut has_holes) = (RETRIES, false);
        // Each turn is a page further, or one retry less.
        while from < pages {
            let start = bfn.checked_add(from.into()).unwrap_or(Bfn::MAX);
            let rest = pages.saturating_sub(from);
            let Err(error) = self.client().unmap(self.context(), start, rest) else { break };
            from = from.saturating_add(error.done);
            match error.cause {
                Error::Refused(Errno::ENOENT) => {
                    (from, has_holes) = (from.saturating_add(1), true);
                }
                Error::Retry(_) if retries > 0 => {
                    retries = retries.saturating_sub(1);
                    core::hint::spin_loop();
                }
                cause => return Err(MapError { done: from, cause }),
            }
        }
        if has_holes { self.flush_all() } else { Ok(()) }
    }

    /// Flushes the context. A hole may have been mapped before a call that failed, and may be in a
    /// cache still. With RFC v7 alone there is no such call, and no unmap without a flush.
    fn flush_all(&self) -> Result<(), MapError> {
        if !self.has_batches() {
            return Ok(());
        }
        let mut room = self.room();
        let mut batch = BatchBuilder::new(&mut room.page, self.context());
        // There is room for one.
        let _ = batch.flush_all();
        let failed = |cause| MapError { done: 0, cause };
        let done = self.client().submit(&mut batch).map_err(failed)?;
        done.first_error().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Unmaps a range now, and frees its bus frames. Gives the range back if it cannot.
    pub(super) fn unmap_now(&self, range: BfnRange) -> Result<(), (BfnRange, DmaError)> {
        let pages = u32::try_from(range.pages()).unwrap_or(u32::MAX);
        match self.clear(range.first(), pages) {
            Ok(()) => {
                self.free(range);
                Ok(())
            }
            Err(cause) => Err((range, DmaError::StillMapped(cause))),
        }
    }

    /// Puts the unmap of a range off; `None` if it was done at once. Gives the range back if neither
    /// is possible.
    pub(super) fn unmap_later(
        &self,
        range: BfnRange,
    ) -> Result<Option<Ticket>, (BfnRange, DmaError)> {
        if !self.has_batches() || range.pages() > u64::from(self.most_pages()) {
            return self.unmap_now(range).map(|()| None);
        }
        let now = self.kernel().now_us();
        let mut range = range;
        // Others may take the room that a call makes.
        for _ in 0..TRIES {
            range = match self.waiting.push(range, now) {
                Ok(ticket) => return Ok(Some(ticket)),
                Err(range) => range,
            };
            if self.drain().is_err() {
                break;
            }
        }
        self.unmap_now(range).map(|()| None)
    }

    /// Unmaps a range that no buffer has any more, now or later. If it cannot be unmapped, its bus
    /// frames stay taken.
    #[cfg(feature = "alloc")]
    pub(super) fn drop_range(&self, range: BfnRange) {
        if let Err((range, _)) = self.unmap_later(range) {
            self.lose(Hold::pages(&range));
        }
    }

    /// Unmaps some of what waits in a call of its own; tells if there was any.
    fn drain(&self) -> Result<bool, DmaError> {
        let mut room = self.room();
        let mut batch = BatchBuilder::new(&mut room.page, self.context());
        let carried = self.carry(&mut batch);
        if carried.is_empty() {
            return Ok(false);
        }
        let outcome = self.client().submit(&mut batch).map(|_| ());
        let done = batch.done();
        self.carried(&done, 0, &carried);
        let stopped = |cause| DmaError::StillMapped(MapError { done: 0, cause });
        match (done.first_error(), outcome) {
            (Some((_, error)), _) => Err(DmaError::StillMapped(error)),
            (None, Err(cause)) => Err(stopped(cause)),
            (None, Ok(())) => Ok(true),
        }
    }

    /// Adds unmaps that waited, as many as there is room for, and one flush for all of them.
    pub(super) fn carry(&self, batch: &mut BatchBuilder<'_>) -> Carried {
        let room = self.most_elements().saturating_sub(batch.len()).min(batch.room());
        let flags = ElementFlags::SKIP_HOLES | ElementFlags::NO_FLUSH;
        let carried = self.waiting.take(room.saturating_sub(1), |range| {
            let pages = u32::try_from(range.pages()).unwrap_or(u32::MAX);
            // No more are taken than there is room for.
            let _ = batch.unmap(range.first(), pages, flags);
        });
        if !carried.is_empty() {
            let _ = batch.flush_all();
        }
        carried
    }

    /// What was carried from the element `first` on is done if all of it is, and its flush. If not, all of
    /// it waits again: what is unmapped by now is a hole next time.
    pub(super) fn carried(&self, done: &BatchDone<'_>, first: usize, carried: &Carried) {
        let flush = first.saturating_add(carried.len());
        // A flush that is done says nothing of an unmap whose answer is not to be believed.
        let is_done = |element| matches!(done.element(element), Some(Ok(_)));
        let count = if (first..=flush).all(is_done) { carried.len() } else { 0 };
        self.waiting.finish(carried, count, self.kernel().cpu(), &self.bfns);
    }

    /// Unmaps all that waits, also what another CPU is about to. When it has returned, no device reaches
    /// what was unmapped before it was called, but for what is kept on purpose.
    ///
    /// # Errors
    ///
    /// As for [`poll`](Self::poll).
    pub fn flush(&self) -> Result<(), DmaError> {
        let number = self.waiting.next_number();
        let mut retries = RETRIES;
        while !self.waiting.is_done_below(number) {
            match self.drain() {
                Ok(true) => {}
                Ok(false) => core::hint::spin_loop(),
                Err(DmaError::StillMapped(MapError { cause: Error::Retry(_), .. }))
                    if retries > 0 =>
                {
                    retries = retries.saturating_sub(1);
                    core::hint::spin_loop();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A page for a call. There is one a CPU, so one is free, unless a CPU was told wrong.
    pub(super) fn room(&self) -> MutexGuard<'_, Room> {
        let own = self.kernel().cpu();
        loop {
            let (before, after) =
                self.rooms.split_at(own.checked_rem(self.rooms.len()).unwrap_or(0));
            let mut rooms = after.iter().chain(before);
            if let Some(room) = rooms.find_map(|room| room.try_lock()) {
                return room;
            }
            core::hint::spin_loop();
        }
    }
}
