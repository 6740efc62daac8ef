//! Giving back tables without entries.

use pviommu_abi::Errno;

use super::{Context, Session, State, map::WORK_UNIT};
use crate::{
    flush::PendingFlush,
    format::VtdSecondStage,
    machine::FormatKind,
    platform::Platform,
    table::{Cursor, Prune, Pruned},
};

impl<P: Platform> Session<'_, P> {
    /// Unlinks every table of `context` that has no entries, a bounded piece at a time, and gives
    /// its frame back. Calls that map or unmap wait for the length of a piece.
    ///
    /// # Errors
    /// `-EIO` if a unit did not complete.
    pub(crate) fn trim(&self, context: &Context) -> Result<(), Errno> {
        let mut from = Cursor::default();
        loop {
            let mut pending = PendingFlush::of_tables();
            let pruned = {
                let _admin = self.domain.administer();
                if context.state() != State::Live {
                    return Ok(());
                }
                context.exclusively(self.gate, || match self.iommu.format() {
                    FormatKind::VtdSecondStage => self.table::<VtdSecondStage>(context).prune(
                        Prune::EmptyTables,
                        from,
                        WORK_UNIT,
                        &mut pending,
                    ),
                })
            };
            self.complete(context, pending)?;
            match pruned {
                Pruned::Finished => return Ok(()),
                Pruned::More(at) => from = at,
            }
        }
    }
}
