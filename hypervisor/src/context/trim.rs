//! Giving back tables without entries.

use pviommu_abi::Errno;

use super::{Context, End, Session, State, editor::WORK_UNIT};
use crate::{
    flush::{FlushRoom, PendingFlush},
    format::Format,
    format::with_format,
    platform::Platform,
    sync::Ordering,
    table::{Cursor, Prune, Pruned, Table},
};

/// In a cursor, which holds a bus frame otherwise: the tables of handles are next.
const HANDLES: u64 = 1 << 63;

/// What a piece of a pass came to.
struct Piece {
    pruned: Pruned,
    gained: bool,
}

impl<P: Platform> Session<'_, P> {
    /// Does a piece of giving back every table of `context` that has no entries. Calls that map or unmap
    /// wait for the length of a piece.
    pub(crate) fn trim(&self, context: &Context, from: &mut Cursor, room: &mut FlushRoom) -> End {
        loop {
            match self.trim_piece(context, *from, room) {
                Err(errno) => return End::Failed(errno),
                Ok(Piece { pruned: Pruned::Finished, .. }) => return End::Finished,
                Ok(Piece { pruned: Pruned::More(at), .. }) => *from = at,
            }
            if self.platform().should_yield() {
                return End::Yield;
            }
        }
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
                    prune(&table, from, &mut pending)
                })
            })
        };
        let gained = pending.has_tables();
        self.complete(context, &mut pending)?;
        Ok(Piece { pruned, gained })
    }
}

/// Takes out some tables without entries: first those of the context, then those of handles.
fn prune<F: Format, P: Platform>(
    table: &Table<'_, F, P>,
    from: Cursor,
    pending: &mut PendingFlush<'_>,
) -> Pruned {
    if from.0 & HANDLES == 0 {
        return match table.prune(Prune::EmptyTables, from, WORK_UNIT, pending) {
            Pruned::Finished => Pruned::More(Cursor(HANDLES)),
            more => more,
        };
    }
    match table.prune_handles(Prune::EmptyTables, Cursor(from.0 & !HANDLES), pending) {
        Pruned::More(at) => Pruned::More(Cursor(at.0 | HANDLES)),
        Pruned::Finished => Pruned::Finished,
    }
}
