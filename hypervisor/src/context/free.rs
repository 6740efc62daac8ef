//! Freeing a context with everything in it.

use super::{Context, End, Session, State, editor::WORK_UNIT};
use crate::{
    addr::Mfn,
    flush::PendingFlush,
    format::{Format, with_format},
    machine::EditRoom,
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

    pub(super) fn sweep_pieces(&self, context: &Context, room: &mut EditRoom) -> End {
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
        loop {
            let mut pending = PendingFlush::new(&mut room.flush);
            let table = self.table::<F>(context);
            let pruned = table.prune_handles(Prune::Everything, Cursor::default(), &mut pending);
            if let Err(errno) = self.complete(context, &mut pending) {
                return End::Failed(errno);
            }
            if pruned == Pruned::Finished {
                break;
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
}

impl Context {
    /// True if the table belongs to who frees or builds it. False stays so under the administration
    /// lock.
    pub(super) fn may_be_swept(&self) -> bool {
        match self.state() {
            State::Free => true,
            State::Dying => self.users.is_empty(),
            State::Building | State::Live => false,
        }
    }
}
