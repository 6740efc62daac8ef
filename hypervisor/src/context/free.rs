//! Opening a context, and freeing it with everything in it.

use pviommu_abi::Errno;

use super::{Context, End, Session, State, map::WORK_UNIT};
use crate::{
    addr::Mfn,
    flush::PendingFlush,
    machine::{Scratch, with_format},
    platform::{Platform, Pool, TableRoot},
    sync::Ordering,
    table::{Cursor, Prune, Pruned},
};

impl<P: Platform> Session<'_, P> {
    /// A zeroed root table.
    ///
    /// # Errors
    /// `-ENOMEM` if the domain's share, or the embedder's memory, is used up.
    pub(crate) fn new_root(&self) -> Result<TableRoot, Errno> {
        let frame = self.allocate(Pool::Open).ok_or(Errno::ENOMEM)?;
        let root = TableRoot { frame, levels: self.iommu.levels() };
        if self.iommu.style().publish {
            let entries = self.platform().table(frame).len();
            self.platform().publish(frame, 0, entries.saturating_sub(1));
        }
        Ok(root)
    }

    /// Does a piece of freeing a dying context; [`End::Yield`] if there is more.
    ///
    /// No device is attached, and what was cached was flushed when the last one left: nothing has
    /// to be invalidated here, and what goes is released at once.
    pub(crate) fn sweep(&self, context: &Context, scratch: &mut Scratch) -> End {
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        if context.sweeping.compare_exchange(0, 1, order.0, order.1).is_err() {
            // Another CPU is at it.
            return End::Yield;
        }
        let end = if context.state() == State::Dying {
            self.sweep_pieces(context, scratch)
        } else {
            End::Finished
        };
        context.sweeping.store(0, Ordering::Release);
        end
    }

    fn sweep_pieces(&self, context: &Context, scratch: &mut Scratch) -> End {
        loop {
            let from = Cursor(context.cursor.load(Ordering::Relaxed));
            let mut pending = PendingFlush::new(&mut scratch.flush);
            let pruned = with_format!(self.iommu.format(), F => {
                self.table::<F>(context).prune(Prune::Everything, from, WORK_UNIT, &mut pending)
            });
            if let Err(errno) = self.complete(context, pending) {
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
        let root: Mfn = context.root().frame;
        {
            let _admin = self.domain.administer();
            context.set_state(State::Free);
        }
        self.free(root, Pool::Open);
        End::Finished
    }
}
