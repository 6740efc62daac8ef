//! The commands: validate, then apply. One function each.

use pviommu_abi::{Capabilities, CapabilityFlags, ContextId, Errno, PAGE_SIZE_U32, PciDevice};

use super::command::{Command, Effect, OnFree};
use crate::{
    addr::PAGE_SHIFT,
    context::{Context, End, Facts, Progress, Session, State},
    format::LeafAttributes,
    machine::{Scratch, interrupt_range, with_format},
    platform::{Platform, Pool},
    policy::{self, Area, MapRequest, UnmapRequest},
};

impl<P: Platform> Session<'_, P> {
    /// Carries a command out.
    pub(crate) fn run(&self, command: Command, scratch: &mut Scratch) -> Effect {
        match command {
            Command::Noop => Effect::Ended(End::Finished),
            Command::QueryCapabilities => Effect::Capabilities(self.capabilities()),
            Command::Init { contexts, arena_order } => self.init(contexts, arena_order).into(),
            Command::AllocContext => match self.open_context() {
                Ok(context) => Effect::Opened(context),
                Err(errno) => Effect::Ended(End::Failed(errno)),
            },
            Command::FreeContext { context, devices } => {
                Effect::Ended(self.free_context(context, devices, scratch))
            }
            Command::Reattach { context, device } => self.attach(context, device).into(),
            Command::Map(request) => Effect::Pages(self.map_pages(&request, scratch)),
            Command::Unmap(request) => Effect::Pages(self.unmap_pages(&request, scratch)),
        }
    }

    /// Takes back what a guest was never told of, because its memory could not be written
    /// (INV-53).
    pub(crate) fn undo(&self, effect: &Effect, scratch: &mut Scratch) {
        if let Effect::Opened(context) = effect {
            // It has neither devices nor mappings, so this is short.
            while self.free_context(*context, OnFree::Refuse, scratch) == End::Yield {}
        }
    }

    fn capabilities(&self) -> Capabilities {
        let last = self.iommu.aperture().last().0;
        let mut cap_flags = CapabilityFlags::empty();
        let snooped = self.iommu.style().attributes.contains(LeafAttributes::SNOOP);
        cap_flags.set(CapabilityFlags::CACHE, snooped);
        Capabilities {
            max_iova_addr: (last << PAGE_SHIFT) | u64::from(PAGE_SIZE_U32 - 1),
            cap_flags,
            pgsize_mask: PAGE_SIZE_U32,
            max_pasid: 0,
            max_ctx_no: u16::try_from(self.domain.granted()).unwrap_or(u16::MAX),
            ..Capabilities::default()
        }
    }

    fn init(&self, contexts: u32, arena_order: u32) -> Result<(), Errno> {
        let domain = self.domain;
        let _admin = domain.administer();
        let limits = domain.limits();
        let (grantable, granted) = (domain.grantable(), domain.granted());
        let frames = policy::may_init(limits, grantable, granted, contexts, arena_order)?;
        domain.grant(contexts, frames);
        Ok(())
    }

    fn open_context(&self) -> Result<ContextId, Errno> {
        if self.domain.granted() == 0 {
            return Err(Errno::ENOSPC);
        }
        // Before the lock: the embedder's memory may have locks of its own.
        let root = self.new_root()?;
        let opened = {
            let _admin = self.domain.administer();
            let free = self
                .domain
                .granted_contexts()
                .find(|(_, context)| context.state() == State::Free && !self.domain.is_dying());
            free.map(|(id, context)| {
                context.open(root);
                id
            })
        };
        if opened.is_none() {
            self.free(root.frame, Pool::Open);
        }
        opened.ok_or(Errno::ENOSPC)
    }

    fn free_context(&self, id: ContextId, devices: OnFree, scratch: &mut Scratch) -> End {
        if id == ContextId::DEFAULT {
            return End::Failed(Errno::EINVAL);
        }
        let Some(context) = self.domain.context(id) else { return End::Failed(Errno::ENOENT) };
        match self.close_context(id, context, devices) {
            Ok(()) => self.sweep(context, scratch),
            Err(errno) => End::Failed(errno),
        }
    }

    fn close_context(
        &self,
        id: ContextId,
        context: &Context,
        devices: OnFree,
    ) -> Result<(), Errno> {
        let _admin = self.domain.administer();
        let stays = devices == OnFree::Refuse && !context.users.is_empty();
        policy::may_be_freed(Some(context.state()), stays)?;
        if context.state() == State::Live {
            if !context.users.is_empty() {
                self.evacuate(id)?;
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

    fn attach(&self, context: ContextId, name: PciDevice) -> Result<(), Errno> {
        let function = self.platform().resolve(self.domain.id(), name).ok_or(Errno::ENODEV)?;
        let device = self.iommu.device(function).ok_or(Errno::ENODEV)?;
        self.reattach(device, context)
    }

    fn map_pages(&self, request: &MapRequest, scratch: &mut Scratch) -> Progress {
        self.edit(
            request.context,
            |area| policy::may_map(area, request),
            |context, plan| {
                with_format!(self.iommu.format(), F => self.map::<F>(context, &plan, scratch))
            },
        )
    }

    fn unmap_pages(&self, request: &UnmapRequest, scratch: &mut Scratch) -> Progress {
        self.edit(
            request.context,
            |area| policy::may_unmap(area, request),
            |context, plan| {
                with_format!(self.iommu.format(), F => self.unmap::<F>(context, &plan, scratch))
            },
        )
    }

    /// Validates an edit against a snapshot of its context, then applies what was planned.
    fn edit<Plan>(
        &self,
        id: ContextId,
        validate: impl FnOnce(&Area<'_>) -> Result<Option<Plan>, Errno>,
        apply: impl FnOnce(&Context, Plan) -> Progress,
    ) -> Progress {
        let context = self.domain.context(id);
        let facts = context.map(Context::facts);
        match (validate(&self.area(facts.as_ref())), context) {
            (Err(errno), _) => Progress::nothing(End::Failed(errno)),
            (Ok(None), _) => Progress::nothing(End::Finished),
            (Ok(Some(plan)), Some(context)) if !self.is_frozen(context) => apply(context, plan),
            (Ok(Some(_)), _) => Progress::nothing(End::Failed(Errno::EIO)),
        }
    }

    /// What a range is checked against.
    fn area<'f>(&'f self, context: Option<&'f Facts>) -> Area<'f> {
        Area {
            context,
            aperture: self.iommu.aperture(),
            reserved: self.iommu.reserved(),
            interrupts: interrupt_range(),
        }
    }
}
