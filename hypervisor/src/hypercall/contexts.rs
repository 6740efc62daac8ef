//! Contexts come and go, and devices move between them.

use pviommu_abi::{ContextId, Errno, PciDevice};

use super::command::{Effect, OnFree};
use crate::{
    addr::BfnRange,
    context::{Context, End, Session, State},
    domain::Background,
    machine::EditRoom,
    platform::Platform,
    policy,
};

impl<P: Platform> Session<'_, P> {
    #[inline(never)]
    pub(super) fn init(&self, contexts: u32, arena_order: u32) -> Result<(), Errno> {
        let domain = self.domain;
        let _admin = domain.administer();
        let limits = domain.limits();
        let (grantable, granted) = (domain.grantable(), domain.granted());
        let frames = policy::may_init(limits, grantable, granted, contexts, arena_order)?;
        domain.grant(contexts, frames);
        Ok(())
    }

    /// Opens a context with `background`, whose bus frames are those of `aperture` or all there are.
    #[inline(never)]
    pub(super) fn open_context(
        &self,
        background: Background,
        aperture: Option<BfnRange>,
        room: &mut EditRoom,
    ) -> Result<ContextId, Errno> {
        let widest = self.iommu.aperture();
        let aperture = aperture.unwrap_or(widest);
        if aperture.last() > widest.last() {
            return Err(Errno::EINVAL);
        }
        if self.domain.granted() == 0 {
            return Err(Errno::ENOSPC);
        }
        let claim = || self.claim_context();
        let built = self.construct(claim, aperture, background, room)?;
        let context = built.ok_or(Errno::ENOSPC)?;
        let _admin = self.domain.administer();
        // A teardown that began meanwhile takes the context down as it is.
        let opened = !self.domain.is_dying();
        if opened {
            context.open();
        }
        context.end_sweep();
        let slots = self.domain.slots();
        let mut here = slots.filter(|(_, other)| core::ptr::eq(*other, context));
        here.next().filter(|_| opened).map(|(slot, _)| self.domain.id_of(slot)).ok_or(Errno::ENODEV)
    }

    fn claim_context(&self) -> Option<&Context> {
        let mut contexts = self.domain.granted_contexts();
        contexts.find(|context| !self.domain.is_dying() && context.claim())
    }

    #[inline(never)]
    pub(super) fn free_context(&self, id: ContextId, devices: OnFree, room: &mut EditRoom) -> End {
        if id == ContextId::DEFAULT {
            return End::Failed(Errno::EINVAL);
        }
        let Some(context) = self.domain.context(id) else { return End::Failed(Errno::ENOENT) };
        loop {
            match self.close_context(context, devices) {
                Ok(true) => return self.sweep(context, room),
                Ok(false) => {}
                Err(errno) => return End::Failed(errno),
            }
            let slot = self.domain.slot_of(id);
            let Some(place) = slot.and_then(|slot| self.place(slot)) else {
                return End::Failed(Errno::ENOENT);
            };
            match self.evacuate(place, room) {
                // A device that could not be switched is in neither context for sure: a failed unit
                // may still walk this one.
                End::Finished if self.is_frozen(context) => return End::Failed(Errno::EIO),
                End::Finished => {}
                end => return end,
            }
        }
    }

    /// Lets nobody use the context any more; false if devices have to be moved first.
    fn close_context(&self, context: &Context, devices: OnFree) -> Result<bool, Errno> {
        let _admin = self.domain.administer();
        let attached = !context.users.is_empty();
        policy::may_be_freed(Some(context.state()), attached && devices == OnFree::Refuse)?;
        if context.state() == State::Live {
            if attached {
                return Ok(false);
            }
            context.close(self.gate);
        }
        Ok(true)
    }

    #[inline(never)]
    pub(super) fn attach(&self, context: ContextId, name: PciDevice, room: &mut EditRoom) -> End {
        let function = self.platform().resolve(self.domain.id(), name);
        match function.and_then(|function| self.iommu.device(function)) {
            Some(device) => self.reattach(device, context, room),
            None => End::Failed(Errno::ENODEV),
        }
    }

    /// Takes back what a guest was never told of, because its memory could not be written
    /// (INV-53).
    #[inline(never)]
    pub(crate) fn undo(&self, effect: &Effect, room: &mut EditRoom) {
        match effect {
            // It has neither devices nor mappings, so this is short.
            Effect::Opened(context) => {
                while self.free_context(*context, OnFree::Refuse, room) == End::Yield {}
            }
            Effect::Faults { told, lost } => {
                self.untell_faults(*told, *lost);
            }
            _ => {}
        }
    }
}
