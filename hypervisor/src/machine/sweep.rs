//! A pass over all contexts of a domain, and how far it has come.

use pviommu_abi::Errno;

use crate::{
    context::{Context, End, Session, State},
    domain::Slot,
    platform::Platform,
    table::Cursor,
};

/// The state of a pass over all contexts of a domain, [`Iommu::retarget`](crate::Iommu::retarget) or
/// [`Iommu::trim`](crate::Iommu::trim), kept by the embedder between calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sweep {
    /// The context that is next; `None` at the start.
    pub(crate) next: Option<Slot>,
    /// Where in its table the search goes on.
    pub(crate) from: Cursor,
    /// What went wrong in a context before.
    pub(crate) error: Option<Errno>,
}

impl<P: Platform> Session<'_, P> {
    /// Has `act` do a piece after the other in each context, from where `sweep` is on, and gives way
    /// between two if it is time. A context in which it fails is passed over; the first error is told at
    /// the end.
    pub(crate) fn in_every_context(
        &self,
        sweep: &mut Sweep,
        mut act: impl FnMut(&Context, &mut Cursor) -> End,
    ) -> End {
        let next = sweep.next;
        let mut worked = false;
        for (slot, context) in self.domain.slots().filter(|(slot, _)| next <= Some(*slot)) {
            sweep.next = Some(slot);
            if worked && self.platform().should_yield() {
                return End::Yield;
            }
            worked = context.state() != State::Free;
            match act(context, &mut sweep.from) {
                End::Finished => {}
                End::Yield => return End::Yield,
                // The others are behind units that are well.
                End::Failed(errno) => sweep.error = sweep.error.or(Some(errno)),
            }
            sweep.from = Cursor::default();
        }
        sweep.error.take().map_or(End::Finished, End::Failed)
    }
}
