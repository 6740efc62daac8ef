//! Contexts come and go, and devices move between them.

use pviommu_abi::{ContextId, Errno, PciDevice};

use super::command::{Effect, OnFree};
use crate::{
    addr::BfnRange,
    context::{Context, End, Session, State},
    domain::Background,
    machine::{EditRoom, with_format},
    platform::{Platform, Pool},
    policy,
};

impl<P: Platform> Session<'_, P> {
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
        // Before the lock: the embedder's memory may have locks of its own.
        let root = self.allocate(Pool::Open).ok_or(Errno::ENOMEM)?;
        let Some((id, context)) = self.claim_context() else {
            self.free(root, Pool::Open);
            return Err(Errno::ENOSPC);
        };
        let built = with_format!(self.iommu.format(), F => {
            self.build::<F>(context, root, aperture, background, room)
        });
        if let Err(errno) = built {
            self.abandon(context, room);
            return Err(errno);
        }
        let _admin = self.domain.administer();
        // A teardown that began meanwhile takes the context down as it is.
        let opened = !self.domain.is_dying();
        if opened {
            context.open();
        }
        context.end_sweep();
        opened.then_some(id).ok_or(Errno::ENODEV)
    }

    fn claim_context(&self) -> Option<(ContextId, &Context)> {
        let _admin = self.domain.administer();
        let mut contexts = self.domain.granted_contexts();
        contexts.find(|(_, context)| !self.domain.is_dying() && context.claim())
    }

    pub(super) fn free_context(&self, id: ContextId, devices: OnFree, room: &mut EditRoom) -> End {
        if id == ContextId::DEFAULT {
            return End::Failed(Errno::EINVAL);
        }
        let Some(context) = self.domain.context(id) else { return End::Failed(Errno::ENOENT) };
        match self.close_context(id, context, devices, room) {
            Ok(()) => self.sweep(context, room),
            Err(errno) => End::Failed(errno),
        }
    }

    fn close_context(
        &self,
        id: ContextId,
        context: &Context,
        devices: OnFree,
        room: &mut EditRoom,
    ) -> Result<(), Errno> {
        let _admin = self.domain.administer();
        let stays = devices == OnFree::Refuse && !context.users.is_empty();
        policy::may_be_freed(Some(context.state()), stays)?;
        if context.state() == State::Live {
            if !context.users.is_empty() {
                self.evacuate(id, room)?;
            }
            // A device that could not be switched is in neither context for sure: a failed unit
            // may still walk this one.
            if !context.users.is_empty() {
                return Err(Errno::EIO);
            }
            context.close(self.gate);
        }
        Ok(())
    }

    pub(super) fn attach(&self, context: ContextId, name: PciDevice, room: &mut EditRoom) -> End {
        let function = self.platform().resolve(self.domain.id(), name);
        match function.and_then(|function| self.iommu.device(function)) {
            Some(device) => self.reattach(device, context, room),
            None => End::Failed(Errno::ENODEV),
        }
    }

    /// Takes back what a guest was never told of, because its memory could not be written
    /// (INV-53).
    pub(crate) fn undo(&self, effect: &Effect, room: &mut EditRoom) {
        if let Effect::Opened(context) = effect {
            // It has neither devices nor mappings, so this is short.
            while self.free_context(*context, OnFree::Refuse, room) == End::Yield {}
        }
    }
}
