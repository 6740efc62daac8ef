//! One call's edits of one context: pieces of work, looks at whether to give way, one flush.

use core::marker::PhantomData;

use pviommu_abi::Errno;

use super::{Context, End, Progress, Session};
use crate::{
    addr::BfnRange,
    flush::{FlushRoom, PendingFlush},
    format::Format,
    machine::EditRoom,
    platform::{Platform, Pool, Runs},
    table::{Edit, Stash},
};

/// Pages of work between two looks at whether to give way.
pub(crate) const WORK_UNIT: u64 = 256;

/// Pages of work that a flush within a call counts for: so many of them at most come between two looks, even if each
/// is for one page. A search for empty tables looks by itself.
const FLUSH_WORK: u64 = WORK_UNIT / 8;

/// The edits of one call. What they changed is flushed by [`finish`](Self::finish) at the latest.
pub(crate) struct Editor<'e, P, F> {
    pub(super) session: &'e Session<'e, P>,
    pub(super) context: &'e Context,
    pub(super) acquired: &'e mut Runs,
    pub(super) edit: Edit<'e>,
    pub(super) aside: &'e mut FlushRoom,
    since_look: u64,
    yielding: bool,
    flushes: u32,
    format: PhantomData<F>,
}

impl<'e, P: Platform, F: Format> Editor<'e, P, F> {
    pub(crate) fn new(
        session: &'e Session<'e, P>,
        context: &'e Context,
        room: &'e mut EditRoom,
        stash: &'e mut Stash,
    ) -> Self {
        let EditRoom { acquired, flush, aside } = room;
        let edit = Edit::new(stash, PendingFlush::new(flush));
        Self {
            session,
            context,
            acquired,
            edit,
            aside,
            since_look: 0,
            yielding: false,
            flushes: 0,
            format: PhantomData,
        }
    }

    /// Pages that may still be done before the next look.
    pub(super) fn before_look(&self) -> u64 {
        WORK_UNIT.saturating_sub(self.since_look).max(1)
    }

    /// Counts work of `pages` pages; true if it is time to give way.
    pub(crate) fn worked(&mut self, pages: u64) -> bool {
        self.since_look = self.since_look.saturating_add(pages);
        if self.since_look < WORK_UNIT {
            return false;
        }
        self.since_look = 0;
        let waits = self.session.domain.has_flushed_enough();
        self.yielding = self.session.platform().should_yield() || waits;
        self.yielding
    }

    /// True if it was time to give way at the last look.
    pub(crate) fn is_yielding(&self) -> bool {
        self.yielding
    }

    /// Puts what an edit asked for into its stash. The CPU is outside.
    pub(super) fn stock(&mut self, frames: u8, pool: Pool) -> Result<(), End> {
        self.session.stock(self.context, self.edit.stash, frames, pool, self.aside)
    }

    /// Notes work that is not of pages.
    pub(super) fn has_flushed(&mut self) {
        self.since_look = self.since_look.saturating_add(FLUSH_WORK);
    }

    /// How often what had changed was flushed so far, in full.
    pub(crate) fn flushes(&self) -> u32 {
        self.flushes
    }

    /// Flushes what has changed so far, and gives back what waited for it.
    ///
    /// # Errors
    /// `-EIO` if a unit did not complete.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        self.session.complete(self.context, &mut self.edit.pending)?;
        self.has_flushed();
        self.flushes = self.flushes.saturating_add(1);
        Ok(())
    }

    /// Makes what was mapped to be flushed later visible, and ends the wait of what was unmapped so.
    pub(crate) fn flush_range(&mut self, range: BfnRange) -> Progress {
        let visible = self.session.flush(self.context, None, Some(range));
        let waited = match visible {
            Ok(()) => self.flush_waiting(Some(range)),
            Err(_) => Err(Errno::EIO),
        };
        match waited {
            Ok(()) => Progress::nothing(self.give_back_waiting()),
            Err(errno) => Progress::nothing(End::Failed(errno)),
        }
    }

    /// The way out: flushes and gives back what is left.
    ///
    /// # Errors
    /// `-EIO` if a unit did not complete.
    pub(crate) fn finish(mut self) -> Result<(), Errno> {
        self.session.empty(self.edit.stash);
        self.flush()?;
        // What an earlier flush left, a piece a call, so that it does not pile up.
        self.session.give_back_piece(self.context, self.acquired);
        Ok(())
    }
}

impl<P: Platform> Session<'_, P> {
    /// Carries out one edit that is a call of its own.
    pub(crate) fn edit<F: Format>(
        &self,
        context: &Context,
        room: &mut EditRoom,
        act: impl FnOnce(&mut Editor<'_, P, F>) -> Progress,
    ) -> Progress {
        let mut stash = Stash::new();
        let mut editor = Editor::new(self, context, room, &mut stash);
        let progress = act(&mut editor);
        match editor.finish() {
            Ok(()) => progress,
            Err(errno) => Progress { end: End::Failed(errno), ..progress },
        }
    }
}
