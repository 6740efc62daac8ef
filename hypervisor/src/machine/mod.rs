//! What outlives a domain: units and their tags, devices and who has them.

mod attach;
mod calls;
mod cpu;
mod device;
mod entry;
mod fault_log;
mod faults;
mod geometry;
mod give;
mod groups;
mod holes;
mod membership;
mod notices;
mod outcome;
mod ownership;
mod partition;
mod plug;
mod quarantine;
mod regroup;
mod risks;
mod setup;
mod sources;
mod state;
mod sweep;
mod taint;
mod teardown;
mod together;
mod topology_change;
mod unit;

pub(crate) use attach::{Move, parked};
pub use cpu::Cpu;
pub(crate) use cpu::{BATCH_ROOM, CallRoom, EditRoom, FaultRoom, Gate, Inside, LIST_ROOM};
pub use device::Device;
pub(crate) use entry::Switched;
pub use fault_log::FaultRule;
pub(crate) use fault_log::{FaultLog, Record};
pub use faults::{Fault, Reported};
pub(crate) use membership::Place;
pub(crate) use notices::Notice;
pub use outcome::Outcome;
pub use ownership::ReassignError;
pub use partition::{Fate, NewGroup};
pub use regroup::{Regroup, RegroupError};
pub use risks::{Risks, Scope};
pub use setup::{Machine, SetupError};
pub use sources::SourceEntry;
pub(crate) use state::{DeviceState, Home, Ticket};
pub use sweep::Sweep;
pub use topology_change::ChangeError;
pub use unit::Unit;

use core::fmt;

use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    context::Session,
    domain::DomainIommu,
    format::FormatKind,
    platform::{Platform, TableShape, UnitError, UnitId},
    reserved::Reserved,
    sync::{AtomicU64, Mutex},
    table::TableStyle,
};
use geometry::Geometry;
pub(crate) use geometry::SYNCS_MAPS;
use groups::Grouping;
use notices::Notices;

/// The service.
pub struct Iommu<'a, P> {
    platform: P,
    machine: Machine<'a>,
    geometry: Geometry,
    /// Held while it is settled who gets which devices of a group, and while groups change.
    grouping: Mutex<Grouping>,
    /// Counts changes of groups; odd while they change.
    group_changes: AtomicU64,
    /// What the log is to be told when a call is over.
    notices: Notices,
}

impl<'a, P: Platform> Iommu<'a, P> {
    /// The service for `machine`, on `platform`.
    ///
    /// # Errors
    /// [`SetupError`] says what in the lists does not fit together.
    pub fn new(platform: P, machine: Machine<'a>) -> Result<Self, SetupError> {
        setup::check_list(&machine)?;
        let geometry = Geometry::common(machine.units, machine.tables)?;
        let grouping = Mutex::new(Grouping::default());
        let (group_changes, notices) = (AtomicU64::new(0), Notices::default());
        let iommu = Self { platform, machine, geometry, grouping, group_changes, notices };
        if !iommu.format().is_built() {
            return Err(SetupError::FormatNotBuilt(iommu.format()));
        }
        iommu.check_sources()?;
        machine.devices.iter().try_for_each(|device| iommu.check_device(device))?;
        for (UnitId(id), unit) in iommu.units() {
            if !unit.facts().walks(geometry.shape) {
                crate::report::warn!(
                    "pviommu: unit {id} cannot walk this machine's tables; it serves no device"
                );
            }
        }
        Ok(iommu)
    }

    /// What the embedder provides.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    pub(crate) fn session<'s>(
        &'s self,
        domain: &'s DomainIommu<'s>,
        own: &'s Cpu,
    ) -> Session<'s, P> {
        Session { iommu: self, domain, gate: Gate { cpus: self.machine.cpus, own } }
    }

    pub(crate) fn cpu(&self, cpu: usize) -> Option<&Cpu> {
        self.machine.cpus.get(cpu)
    }

    pub(crate) fn devices(&self) -> &'a [Device<'a>] {
        self.machine.devices
    }

    pub(crate) fn fault_rule(&self) -> FaultRule {
        self.machine.faults
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = (UnitId, &Unit<'a>)> {
        (0..=u16::MAX).map(UnitId).zip(self.machine.units)
    }

    pub(crate) fn unit(&self, id: UnitId) -> Option<&Unit<'a>> {
        self.machine.units.get(usize::from(id.0))
    }

    /// Has a unit do something, unless it has failed; if it fails now, it stays failed.
    pub(crate) fn on_unit(
        &self,
        id: UnitId,
        act: impl FnOnce(&P) -> Result<(), UnitError>,
    ) -> Result<(), UnitError> {
        let unit = self.unit(id).ok_or(UnitError)?;
        if unit.has_failed() {
            return Err(UnitError);
        }
        let result = act(&self.platform);
        if result.is_err() && unit.fail() {
            self.notices.wake();
            self.platform.unit_failed(id);
        }
        result
    }

    /// The shape of new tables.
    pub(crate) fn shape(&self) -> TableShape {
        self.geometry.shape
    }

    pub(crate) fn format(&self) -> FormatKind {
        self.geometry.shape.format
    }

    pub(crate) fn largest_leaf_level(&self) -> u8 {
        self.geometry.style.largest_leaf_level
    }

    pub(crate) fn style(&self) -> TableStyle {
        self.geometry.style
    }

    pub(crate) fn aperture(&self) -> BfnRange {
        self.geometry.aperture
    }

    /// What is reserved on this machine, whatever devices a context has: what the embedder lists, and
    /// what is not memory.
    pub(crate) fn reserved(&self) -> [&'a [Reserved]; 2] {
        [self.machine.reserved, self.geometry.holes()]
    }

    /// The bus frames that are no guest's in any context.
    pub(crate) fn nobodys(&self) -> impl Iterator<Item = BfnRange> + Clone + use<'a, P> {
        let all = self.reserved().into_iter().flatten();
        all.filter(|reserved| reserved.enforced()).map(|reserved| reserved.range)
    }

    /// True if some unit is to be told of entries that turned present.
    pub(crate) fn syncs_maps(&self) -> bool {
        self.geometry.syncs_maps
    }

    /// How many frames from `frame` on, one of those that no device may reach, belong to the same
    /// range of such frames; at least one.
    pub(crate) fn unreachable_pages(&self, frame: Mfn) -> u64 {
        let listed = self.machine.unreachable.iter().copied().chain(self.geometry.unreachable());
        let here = listed.filter(|range| range.contains(frame));
        let last = here.map(|range| range.last().0).max().unwrap_or(frame.0);
        last.saturating_sub(frame.0).saturating_add(1)
    }

    #[inline]
    fn each_unreachable(&self, mut look: impl FnMut(MfnRange)) {
        self.machine.unreachable.iter().for_each(|range| look(*range));
        self.geometry.each_unreachable(look);
    }

    /// The first of `frames` that no device may reach, whoever owns it.
    pub(crate) fn first_unreachable(&self, frames: MfnRange) -> Option<Mfn> {
        let mut first = self.platform.first_table(frames);
        let look = |range: MfnRange| {
            if range.overlaps(frames) {
                let here = range.first().max(frames.first());
                first = Some(first.map_or(here, |first| first.min(here)));
            }
        };
        // In loops, not a chain: this is asked for all that is mapped.
        self.each_unreachable(look);
        first
    }
}

impl<P> fmt::Debug for Iommu<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iommu").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}
