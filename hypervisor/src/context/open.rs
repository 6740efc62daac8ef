//! Building a context: a root, its background, and whose it is until it is opened.

use pviommu_abi::Errno;

use super::{Context, End, Session, State};
use crate::{
    addr::BfnRange,
    domain::Background,
    format::with_format,
    machine::EditRoom,
    platform::{Platform, Pool},
    sync::Ordering,
};

impl<P: Platform> Session<'_, P> {
    /// Gives the context that `claim` finds a table without mappings; `None` if it finds none. The
    /// context stays claimed. `claim` is asked under the administration lock.
    ///
    /// # Errors
    /// `-ENOMEM` if the domain's share, or the embedder's memory, is used up.
    pub(crate) fn construct<'c>(
        &self,
        claim: impl FnOnce() -> Option<&'c Context>,
        aperture: BfnRange,
        background: Background,
        room: &mut EditRoom,
    ) -> Result<Option<&'c Context>, Errno> {
        // Before the lock: the embedder's memory may have locks of its own.
        let root = self.allocate(Pool::Open).ok_or(Errno::ENOMEM)?;
        let claimed = {
            let _admin = self.domain.administer();
            claim()
        };
        let Some(context) = claimed else {
            self.free(root, Pool::Open);
            return Ok(None);
        };
        let built = with_format!(self.iommu.format(), F => {
            self.build::<F>(context, root, aperture, background, room)
        });
        match built {
            Ok(()) => Ok(Some(context)),
            Err(errno) => {
                self.abandon(context, room);
                Err(errno)
            }
        }
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

    /// True for the one CPU that builds the context, fills it, or takes it down.
    pub(super) fn try_sweep(&self) -> bool {
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        self.sweeping.compare_exchange(0, 1, order.0, order.1).is_ok()
    }

    /// The end of a claim.
    pub(crate) fn end_sweep(&self) {
        self.sweeping.store(0, Ordering::Release);
    }
}
