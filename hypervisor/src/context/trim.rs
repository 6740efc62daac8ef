//! Giving back tables without entries.

use pviommu_abi::Errno;

use super::{Context, End, Session, State, editor::WORK_UNIT};
use crate::{
    flush::{FlushRoom, PendingFlush},
    machine::with_format,
    platform::Platform,
    sync::Ordering,
    table::{Cursor, Prune, Pruned},
};

/// What a piece of a pass came to.
struct Piece {
    pruned: Pruned,
    gained: bool,
}

impl<P: Platform> Session<'_, P> {
    /// Gives back every table of `context` that has no entries. Calls that map or unmap wait for
    /// the length of a piece.
    ///
    /// # Errors
    /// `-EIO` if a unit did not complete.
    pub(crate) fn trim(&self, context: &Context, room: &mut FlushRoom) -> Result<(), Errno> {
        let mut from = Cursor::default();
        while let Pruned::More(at) = self.trim_piece(context, from, room)?.pruned {
            from = at;
        }
        Ok(())
    }

    /// Gives back some tables without entries, because table frames have run out. A search that
    /// gave way goes on where it stopped, so that it ends.
    ///
    /// # Errors
    /// `-ENOMEM` if there are none; `-EIO` if a unit did not complete; [`End::Yield`] if it is
    /// time to give way.
    pub(crate) fn reclaim(&self, context: &Context, room: &mut FlushRoom) -> Result<(), End> {
        loop {
            let from = Cursor(context.trimmed.load(Ordering::Relaxed));
            let piece = self.trim_piece(context, from, room).map_err(End::Failed)?;
            let (next, found) = match piece.pruned {
                _ if piece.gained => (Cursor::default(), Some(Ok(()))),
                Pruned::Finished => (Cursor::default(), Some(Err(End::Failed(Errno::ENOMEM)))),
                Pruned::More(at) => (at, None),
            };
            context.trimmed.store(next.0, Ordering::Relaxed);
            match found {
                Some(found) => return found,
                None if self.platform().should_yield() => return Err(End::Yield),
                None => {}
            }
        }
    }

    fn trim_piece(
        &self,
        context: &Context,
        from: Cursor,
        room: &mut FlushRoom,
    ) -> Result<Piece, Errno> {
        let mut pending = PendingFlush::new(room);
        let pruned = {
            let _admin = self.domain.administer();
            if context.state() != State::Live || self.is_frozen(context) {
                return Ok(Piece { pruned: Pruned::Finished, gained: false });
            }
            context.exclusively(self.gate, || {
                with_format!(self.iommu.format(), F => {
                    let table = self.table::<F>(context);
                    table.prune(Prune::EmptyTables, from, WORK_UNIT, &mut pending)
                })
            })
        };
        let gained = pending.has_tables();
        self.complete(context, &mut pending)?;
        Ok(Piece { pruned, gained })
    }
}
