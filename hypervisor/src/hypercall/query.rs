//! The questions: what the service can do, what a domain may use, what a bus frame is mapped to.

use core::ops::BitOr;

use pviommu_abi::{
    Background as WireBackground, Bfn, Capabilities, CapabilityFlags, ContextId, DeviceFlags,
    Errno, LimitFlags, PAGE_SIZE_U32, PciDevice, QueryDevice, QueryLimits,
};

use super::command::Effect;
use crate::{
    addr::{BfnRange, PAGE_SHIFT},
    context::{Context, End, Session},
    domain::{Background, DefaultMap, GroupRule},
    format::{LeafAttributes, pages_at, with_format},
    machine::{Device, Home},
    platform::{DeviceFacts, Platform},
    policy,
};

/// What is served whatever the machine is.
const ALWAYS: CapabilityFlags = CapabilityFlags::DEFERRED_FLUSH
    .union(CapabilityFlags::BATCH)
    .union(CapabilityFlags::QUERY_RESERVED)
    .union(CapabilityFlags::TAKE_OWNERSHIP)
    .union(CapabilityFlags::QUERY_DEVICE)
    .union(CapabilityFlags::LOOKUP)
    .union(CapabilityFlags::READ_FAULTS)
    .union(CapabilityFlags::QUERY_LIMITS)
    .union(CapabilityFlags::ALLOC_CONTEXT_EXT);

impl<P: Platform> Session<'_, P> {
    pub(super) fn capabilities(&self) -> Capabilities {
        let last = self.iommu.aperture().last().0;
        let mut cap_flags = ALWAYS;
        let snooped = self.iommu.style().attributes.contains(LeafAttributes::SNOOP);
        cap_flags.set(CapabilityFlags::CACHE, snooped);
        let mapped = self.domain.default_map() != DefaultMap::Blocked;
        let starts = mapped && !self.domain.owns_default();
        cap_flags.set(CapabilityFlags::DEFAULT_IDENTITY, starts);
        Capabilities {
            max_iova_addr: (last << PAGE_SHIFT) | u64::from(PAGE_SIZE_U32 - 1),
            cap_flags,
            pgsize_mask: PAGE_SIZE_U32,
            max_pasid: 0,
            max_ctx_no: u16::try_from(self.domain.granted()).unwrap_or(u16::MAX),
            ..Capabilities::default()
        }
    }

    #[inline(never)]
    pub(super) fn limits(&self, id: ContextId) -> Result<Effect, Errno> {
        let context = self.domain.context(id).filter(|context| context.is_live());
        if context.is_none() && id != ContextId::DEFAULT {
            return Err(Errno::ENOENT);
        }
        let background = match context {
            Some(context) => self.background_of(context),
            // The default context blocks all DMA.
            None => Background::Fault,
        };
        let aperture = context.map_or(self.iommu.aperture(), Context::aperture);
        let live = self.domain.granted_contexts().filter(|context| context.is_live());
        let (tables, waiting) = (self.domain.tables(), self.domain.waiting());
        let scratch = background == Background::Scratch;
        let mut state = LimitFlags::empty();
        state.set(LimitFlags::NEED_IOMMU, self.domain.need_iommu());
        state.set(LimitFlags::OWNED, self.domain.owns_default());
        state.set(LimitFlags::MAP_FLUSHES, scratch || self.iommu.syncs_maps());
        Ok(Effect::Limits(QueryLimits {
            aperture_first: aperture.first(),
            aperture_last: aperture.last(),
            page_sizes: self.page_sizes(),
            state,
            background: if scratch { WireBackground::SCRATCH } else { WireBackground::FAULT },
            contexts_used: live.fold(0, |sum: u32, _| sum.saturating_add(1)),
            contexts_allowed: self.domain.granted(),
            table_frames_used: u64::from(tables.used()),
            table_frames_allowed: u64::from(tables.allowed()),
            pinned_pages_used: self.domain.pinned().used(),
            pinned_pages_allowed: self.domain.pinned().allowed(),
            deferred_pages_used: u64::from(waiting.used()),
            deferred_pages_allowed: u64::from(waiting.allowed()),
            foreign_used: self.domain.foreign().used(),
            foreign_allowed: self.domain.foreign().allowed(),
            max_batch_ops: self.domain.limits().max_batch,
            max_element_pages: u32::MAX,
            tags_used: self.most_tags(),
            tags_allowed: u32::from(self.domain.limits().max_tags),
            ..QueryLimits::default()
        }))
    }

    /// How many tags its own contexts have of the unit of which they have most.
    fn most_tags(&self) -> u32 {
        let units = self.iommu.units().map(|(unit, _)| self.domain.tags_of(unit));
        units.max().unwrap_or(0)
    }

    /// What a guest may know of one of its devices.
    #[inline(never)]
    pub(super) fn describe(&self, name: PciDevice) -> Effect {
        let function = self.platform().resolve(self.domain.id(), name);
        if function.is_some_and(|function| self.iommu.device(function).is_none()) {
            // It is the domain's, and its DMA is not translated: an emulated one.
            return Effect::Device(QueryDevice::default());
        }
        match self.own_device(name) {
            Ok(device) => Effect::Device(self.description(device)),
            Err(errno) => Effect::Ended(End::Failed(errno)),
        }
    }

    fn description(&self, device: &Device<'_>) -> QueryDevice {
        let home = device.state.lock().home;
        let members = self.iommu.members(device);
        let mut state = DeviceFlags::BEHIND_IOMMU;
        let isolated =
            |member: &Device<'_>| member.facts().contains(DeviceFacts::INTERRUPTS_ISOLATED);
        let hidden = |member: &Device<'_>| member.state.lock().owner != Some(self.domain.id());
        let shared = members.clone().nth(1).is_some() || device.functions().nth(1).is_some();
        state.set(DeviceFlags::INTERRUPTS_ISOLATED, members.clone().all(isolated));
        state.set(DeviceFlags::SHARING_RISK, shared);
        state.set(DeviceFlags::HIDDEN_MEMBERS, members.clone().any(hidden));
        let snooped = self.iommu.style().attributes.contains(LeafAttributes::SNOOP);
        state.set(DeviceFlags::COHERENT, snooped);
        state.set(DeviceFlags::STOPPED, device.faults.is_stopped());
        let context = match home {
            Home::In(slot) => self.domain.id_of(slot),
            Home::Blocked | Home::Quarantine => ContextId::DEFAULT,
        };
        QueryDevice {
            group: self.iommu.number_of_group(device),
            moves_with: match self.domain.group_rule() {
                GroupRule::EachAlone => self.iommu.number_of(device),
                GroupRule::TogetherOnly => self.iommu.number_of_group(device),
            },
            state,
            ctx_id: u32::from(context.0),
            ..QueryDevice::default()
        }
    }

    fn background_of(&self, context: &Context) -> Background {
        let page = with_format!(self.iommu.format(), F => context.beside.vacancy.page::<F>());
        if page.is_some() { Background::Scratch } else { Background::Fault }
    }

    fn page_sizes(&self) -> u64 {
        let sizes = (0..=self.iommu.largest_leaf_level()).map(
            |level| with_format!(self.iommu.format(), F => pages_at::<F>(level) << PAGE_SHIFT),
        );
        sizes.fold(0, BitOr::bitor)
    }

    #[inline(never)]
    pub(super) fn find(&self, id: ContextId, bfn: Bfn) -> Result<Effect, End> {
        let context = self.domain.context(id);
        let live = context.map(|context| (context, context.facts()));
        let nothing = End::Failed(Errno::ENOENT);
        let (context, facts) = live.filter(|(_, facts)| facts.is_live()).ok_or(nothing)?;
        let epoch = policy::may_look(&self.area(id, Some(&facts)), BfnRange::single(bfn));
        let epoch = epoch.map_err(End::Failed)?;
        with_format!(self.iommu.format(), F => self.lookup::<F>(context, epoch, bfn))
            .map(Effect::Found)
    }
}
