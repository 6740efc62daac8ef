//! Taking frames out of every context of a domain.

use pviommu_abi::Errno;

use super::{Context, End, Session, State};
use crate::{
    flush::PendingFlush,
    format::with_format,
    machine::{EditRoom, Sweep},
    platform::Platform,
    table::{Cursor, Edit, Selection, Stash, Stop, TakenOut},
};

impl<P: Platform> Session<'_, P> {
    /// Does a piece of taking every mapping that is selected out of all contexts.
    pub(crate) fn retarget(
        &self,
        selection: Selection<'_>,
        sweep: &mut Sweep,
        room: &mut EditRoom,
    ) -> End {
        self.in_every_context(sweep, |context, from| {
            let end = match context.state() {
                State::Free => End::Finished,
                State::Dying if context.users.is_empty() => self.sweep(context, room),
                _ if self.is_frozen(context) => End::Failed(Errno::EIO),
                _ => self.retarget_in(context, selection, from, room),
            };
            // What waits for its flush holds frames, too.
            match end {
                End::Finished => self.end_wait(context, &mut room.acquired),
                end => end,
            }
        })
    }

    fn retarget_in(
        &self,
        context: &Context,
        selection: Selection<'_>,
        from: &mut Cursor,
        room: &mut EditRoom,
    ) -> End {
        let mut stash = Stash::new();
        let mut whole_leaves = false;
        let end = loop {
            let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room.flush));
            edit.whole_leaves = whole_leaves;
            let taken = {
                let _admin = self.domain.administer();
                if context.may_be_swept() {
                    // Closed meanwhile: another CPU may be taking it apart, as the next call will.
                    break End::Yield;
                }
                // All that was acquired before is in the table now, or is acquired again.
                context.exclusively(self.gate, || {
                    with_format!(self.iommu.format(), F => {
                        self.table::<F>(context).take_out(selection, *from, &mut edit)
                    })
                })
            };
            if let Err(errno) = self.complete(context, &mut edit.pending) {
                break End::Failed(errno);
            }
            let TakenOut::More(at, stop) = taken else { break End::Finished };
            *from = at;
            if let Some(Stop::NeedTables(frames, pool)) = stop {
                match self.stock(context, &mut stash, frames, pool, &mut room.aside) {
                    Ok(()) => {}
                    Err(End::Failed(Errno::ENOMEM)) => whole_leaves = true,
                    Err(end) => break end,
                }
            } else if self.platform().should_yield() {
                break End::Yield;
            }
        };
        self.empty(&mut stash);
        end
    }
}
