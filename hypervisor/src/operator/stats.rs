//! What an operator may ask of contexts, units and devices: snapshots, and nothing is changed.

use core::fmt;

use pviommu_abi::{ContextId, DomId, PciDevice};

use crate::{
    addr::BfnRange,
    context::{MAX_UNITS, State},
    domain::{Background, DomainIommu},
    format::with_format,
    machine::{Device, DeviceState, Home, Iommu, Risks},
    platform::{Platform, TableRoot, Tag, UnitId},
    reserved::{MAX_RESERVED, Reserved},
};

/// Where a context is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ContextState {
    /// It is being filled.
    Building,
    /// In use.
    Live,
    /// It is being freed.
    Dying,
}

/// Who may edit a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EditedBy {
    /// The guest.
    Guest,
    /// The hypervisor, which keeps it in step with the P2M.
    Hypervisor,
    /// Nobody: the map the domain starts with, until the guest takes it over.
    Nobody,
}

/// A unit that has devices of a context behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ContextUnit {
    /// The unit.
    pub unit: UnitId,
    /// What it caches the context's translations under.
    pub tag: Tag,
    /// Devices of the context behind it.
    pub devices: u32,
    /// It has failed.
    pub failed: bool,
}

/// A context as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContextStats {
    /// Where it is in its life.
    pub state: ContextState,
    /// The bus frames that may be mapped.
    pub aperture: BfnRange,
    /// What a bus frame that nobody mapped hits.
    pub background: Background,
    /// The table, as device entries name it.
    pub root: TableRoot,
    /// Who may edit it.
    pub edited_by: EditedBy,
    /// A unit that has devices of it has failed: nothing of it is changed any more.
    pub frozen: bool,
    /// Something that was unmapped waits for its flush, or to be given back.
    pub removals_wait: bool,
    /// Tables without mappings that are kept for the next map.
    pub kept_tables: u32,
    units: heapless::Vec<ContextUnit, MAX_UNITS>,
    reserved: heapless::Vec<Reserved, MAX_RESERVED>,
}

impl ContextStats {
    /// The units that have devices of it.
    #[must_use]
    pub fn units(&self) -> &[ContextUnit] {
        &self.units
    }

    /// The ranges that devices of it reserve, besides those of the machine; also those that the guest
    /// is only told.
    #[must_use]
    pub fn reserved(&self) -> &[Reserved] {
        &self.reserved
    }
}

/// A unit as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UnitStats {
    /// It has failed: nothing behind it is changed any more.
    pub failed: bool,
    /// It can walk this machine's tables; if not, what is behind it is not assigned.
    pub serves: bool,
    /// Tags in use.
    pub tags_used: u32,
    /// Most that can be.
    pub tags_allowed: u32,
    /// Devices behind it.
    pub devices: u32,
    /// Those of them that a domain has.
    pub assigned: u32,
    /// Those that nobody gets any more.
    pub broken: u32,
    /// Those that were stopped.
    pub stopped: u32,
    /// Invalidations that it was asked for so far, and syncs of new entries.
    pub commands: u64,
    /// Faults reported of it so far, also those of no device.
    pub faults: u64,
}

/// Where a device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeviceHome {
    /// All its DMA is refused.
    Blocked,
    /// In a table of its own, without an owner.
    Quarantine,
    /// In the context that its owner calls so; `None` of a domain that goes away.
    Context(Option<ContextId>),
}

/// A device as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DeviceStats {
    /// The device.
    pub function: PciDevice,
    /// The unit its DMA goes through.
    pub unit: UnitId,
    /// Who has it.
    pub owner: Option<DomId>,
    /// Where it is.
    pub home: DeviceHome,
    /// It could not be put where it belongs: nobody gets it any more.
    pub broken: bool,
    /// It was stopped, because of its faults or because its group changed.
    pub stopped: bool,
    /// Faults reported of it so far.
    pub faults: u64,
    /// How often it was stopped because of its faults; the log is told of the first in a minute.
    pub storms: u32,
    /// The number of its group; `None`: it is alone.
    pub group: Option<u32>,
    /// Its owner has it without the rest of the group.
    pub alone: bool,
    /// The risks that are accepted with it.
    pub risks: Risks,
    /// Its group changed while somebody had of it: given to nobody until that is approved.
    pub tainted: bool,
    /// It is listed and not there.
    pub absent: bool,
}

impl<P: Platform> Iommu<'_, P> {
    /// What is known of the context that `domain` calls `id`. `None`: there is none, or it is not in
    /// use; devices of a default context that is not in use are blocked.
    ///
    /// Waits while another CPU changes the context as a whole.
    #[must_use]
    pub fn context_stats(&self, domain: &DomainIommu<'_>, id: ContextId) -> Option<ContextStats> {
        let context = domain.context(id)?;
        loop {
            let epoch = context.stable_epoch();
            let state = match context.state() {
                State::Free => return None,
                State::Building => ContextState::Building,
                State::Live => ContextState::Live,
                State::Dying => ContextState::Dying,
            };
            let mut units = heapless::Vec::new();
            for user in context.users.iter() {
                let failed = self.unit(user.unit).is_none_or(|unit| unit.has_failed());
                let unit =
                    ContextUnit { unit: user.unit, tag: user.tag, devices: user.devices, failed };
                let _ = units.push(unit);
            }
            let mut reserved = heapless::Vec::new();
            for range in context.reserved.all() {
                let _ = reserved.push(range);
            }
            let page = with_format!(self.format(), F => context.beside.vacancy.page::<F>());
            let edited_by = match (domain.may_edit(id), domain.need_iommu()) {
                (true, _) => EditedBy::Guest,
                (false, true) => EditedBy::Hypervisor,
                (false, false) => EditedBy::Nobody,
            };
            let stats = ContextStats {
                state,
                aperture: context.aperture(),
                background: page.map_or(Background::Fault, |_| Background::Scratch),
                root: context.root(),
                edited_by,
                frozen: units.iter().any(|unit| unit.failed),
                removals_wait: context.deferred.is_active(),
                kept_tables: context.beside.kept.count(),
                units,
                reserved,
            };
            if context.stable_epoch() == epoch {
                return Some(stats);
            }
        }
    }

    /// What is known of a unit. `None`: there is none.
    #[must_use]
    pub fn unit_stats(&self, id: UnitId) -> Option<UnitStats> {
        let unit = self.unit(id)?;
        let mut stats = UnitStats {
            failed: unit.has_failed(),
            serves: unit.facts().walks(self.shape()),
            tags_used: unit.tags_used(),
            tags_allowed: unit.tags_allowed(),
            devices: 0,
            assigned: 0,
            broken: 0,
            stopped: 0,
            commands: unit.commands(),
            faults: unit.faults(),
        };
        for device in self.devices().iter().filter(|device| device.unit() == id) {
            let state = *device.state.lock();
            stats.devices = stats.devices.saturating_add(1);
            stats.assigned = stats.assigned.saturating_add(u32::from(state.owner.is_some()));
            stats.broken = stats.broken.saturating_add(u32::from(state.broken));
            let stopped = device.faults.is_stopped();
            stats.stopped = stats.stopped.saturating_add(u32::from(stopped));
        }
        Some(stats)
    }

    /// What is known of the device `function`. `None`: it is not behind an IOMMU.
    ///
    /// Asks [`Domains`](crate::platform::Domains) for the owner.
    #[must_use]
    pub fn device_stats(&self, function: PciDevice) -> Option<DeviceStats> {
        let device = self.device(function)?;
        let state = *device.state.lock();
        let mut context = None;
        if let (Some(owner), Home::In(slot)) = (state.owner, state.home) {
            let mut name = |domain: &DomainIommu<'_>| context = Some(domain.id_of(slot));
            let _ = self.platform().with_domain(owner, &mut name);
        }
        Some(DeviceStats::of(device, state, context))
    }
}

impl DeviceStats {
    /// `context` is what the owner calls the one that it is in.
    pub(super) fn of(device: &Device<'_>, state: DeviceState, context: Option<ContextId>) -> Self {
        let home = match state.home {
            Home::Blocked => DeviceHome::Blocked,
            Home::Quarantine => DeviceHome::Quarantine,
            Home::In(_) => DeviceHome::Context(context),
        };
        let (function, unit) = (device.function(), device.unit());
        let DeviceState { owner, broken, alone, tainted, .. } = state;
        let (group, risks, absent) = (device.group(), device.risks(), device.is_absent());
        let log = &device.faults;
        let (stopped, faults, storms) = (log.is_stopped(), log.seen(), log.storms());
        Self {
            function,
            unit,
            owner,
            home,
            broken,
            stopped,
            faults,
            storms,
            group,
            alone,
            risks,
            tainted,
            absent,
        }
    }
}

impl fmt::Display for DeviceStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behind unit {}, ", self.function, self.unit.0)?;
        match self.owner {
            Some(owner) => write!(f, "of domain {}, ", owner.0)?,
            None => f.write_str("of nobody, ")?,
        }
        match self.home {
            DeviceHome::Blocked => f.write_str("blocked")?,
            DeviceHome::Quarantine => f.write_str("in quarantine")?,
            DeviceHome::Context(Some(id)) => write!(f, "in context {id}")?,
            DeviceHome::Context(None) => f.write_str("in a context")?,
        }
        f.write_str(if self.broken { ", broken" } else { "" })?;
        f.write_str(if self.stopped { ", stopped" } else { "" })?;
        if let Some(group) = self.group {
            write!(f, ", of group {group}")?;
        }
        f.write_str(if self.tainted { ", tainted" } else { "" })?;
        f.write_str(if self.absent { ", not plugged in" } else { "" })?;
        f.write_str(if self.alone { ", given without the rest" } else { "" })?;
        if self.risks.is_empty() { Ok(()) } else { write!(f, ", at the risks {:?}", self.risks) }
    }
}
