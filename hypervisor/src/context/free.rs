//! Freeing a context with everything in it, and claiming one that is free.

use super::{Context, End, Session, State, editor::WORK_UNIT};
use crate::{
    addr::Mfn,
    flush::PendingFlush,
    format::Format,
    machine::{EditRoom, with_format},
    platform::{Platform, Pool},
    sync::Ordering,
    table::{Cursor, Prune, Pruned},
};

impl<P: Platform> Session<'_, P> {
    /// Does a piece of freeing a dying context; [`End::Yield`] if there is more.
    ///
    /// No device is attached, and what was cached was flushed when the last one left: nothing has
    /// to be invalidated here, and what goes is released at once.
    pub(crate) fn sweep(&self, context: &Context, room: &mut EditRoom) -> End {
        if !context.try_sweep() {
            // Another CPU is at it.
            return End::Yield;
        }
        let end = if context.state() == State::Dying {
            self.sweep_pieces(context, room)
        } else {
            End::Finished
        };
        context.end_sweep();
        end
    }

    fn sweep_pieces(&self, context: &Context, room: &mut EditRoom) -> End {
        with_format!(self.iommu.format(), F => self.sweep_table::<F>(context, room))
    }

    fn sweep_table<F: Format>(&self, context: &Context, room: &mut EditRoom) -> End {
        match self.end_wait(context, &mut room.acquired) {
            End::Finished => {}
            end => return end,
        }
        loop {
            let from = Cursor(context.cursor.load(Ordering::Relaxed));
            let mut pending = PendingFlush::new(&mut room.flush);
            let table = self.table::<F>(context);
            let pruned = table.prune(Prune::Everything, from, WORK_UNIT, &mut pending);
            if let Err(errno) = self.complete(context, &mut pending) {
                return End::Failed(errno);
            }
            match pruned {
                Pruned::Finished => break,
                Pruned::More(at) => context.cursor.store(at.0, Ordering::Relaxed),
            }
            if self.platform().should_yield() {
                return End::Yield;
            }
        }
        let root = context.root().frame;
        self.take_down_scratch::<F>(context);
        while let Some(frame) = self.take_frame_of_record(context) {
            self.free(frame, Pool::Open);
        }
        {
            let _admin = self.domain.administer();
            context.set_state(State::Free);
        }
        self.free(root, Pool::Open);
        End::Finished
    }

    fn take_frame_of_record(&self, context: &Context) -> Option<Mfn> {
        context.deferred.lock().take_frame(self.platform())
    }

    /// Takes down a context that was claimed and not built to its end.
    pub(crate) fn abandon(&self, context: &Context, room: &mut EditRoom) {
        // It has neither devices nor mappings, so this is short.
        while self.sweep_pieces(context, room) == End::Yield {}
        context.end_sweep();
    }
}

impl Context {
    /// Claims a context that is not in use, to build it. The caller holds the administration lock.
    pub(crate) fn claim(&self) -> bool {
        let free = self.state() == State::Free && self.try_sweep();
        if free {
            self.set_state(State::Dying);
        }
        free
    }

    /// True for the one CPU that takes the context down, or builds it.
    fn try_sweep(&self) -> bool {
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        self.sweeping.compare_exchange(0, 1, order.0, order.1).is_ok()
    }

    /// The end of a claim.
    pub(crate) fn end_sweep(&self) {
        self.sweeping.store(0, Ordering::Release);
    }
}
