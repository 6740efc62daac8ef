//! What outlives a domain: units and their tags, devices and who has them.

mod attach;
mod cpu;
mod device;
mod geometry;
mod membership;
mod outcome;
mod teardown;
mod unit;

pub use cpu::Cpu;
pub(crate) use cpu::{BATCH_ROOM, CallRoom, EditRoom, Gate, Inside, LIST_ROOM};
pub use device::{Device, Reserved, ReservedKind};
pub use geometry::FormatKind;
pub(crate) use geometry::{interrupt_range, with_format};
pub use outcome::Outcome;
pub use unit::Unit;

use core::fmt;

use pviommu_abi::{ContextId, Errno, PciDevice};

use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    context::Session,
    domain::DomainIommu,
    platform::{Platform, UnitError, UnitFeatures, UnitId},
    table::TableStyle,
};
use geometry::Geometry;

/// What the machine consists of, in memory the embedder lends.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The IOMMUs; a [`UnitId`] is an index.
    pub units: &'a [Unit<'a>],
    /// The functions behind them, sorted by [`PciDevice::sbdf`], each once. Nothing lets them do
    /// DMA yet: whoever brought the units up blocks what nobody was given.
    pub devices: &'a [Device<'a>],
    /// One for each CPU that may call.
    pub cpus: &'a [Cpu],
    /// Bus frames that no guest may map in any context, besides the x86 interrupt range.
    pub reserved: &'a [Reserved],
    /// Frames that no device may reach, whoever owns them (IOMMU registers, holes), besides the
    /// x86 interrupt range and what lies above the units' address width.
    pub unreachable: &'a [MfnRange],
}

/// Why a machine cannot be served. Nothing a guest can cause; the embedder's list is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// There is no unit.
    NoUnit,
    /// The units have no table depth in common.
    NoCommonLevels,
    /// This device names a unit that is not listed.
    UnknownUnit(PciDevice, UnitId),
    /// This device does not come after the one before it.
    DevicesNotSorted(PciDevice),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUnit => f.write_str("the machine has no IOMMU"),
            Self::NoCommonLevels => f.write_str("the units have no table depth in common"),
            Self::UnknownUnit(device, unit) => {
                write!(f, "device {device} is behind unit {}, which is not listed", unit.0)
            }
            Self::DevicesNotSorted(device) => {
                write!(f, "device {device} does not come after the one before it")
            }
        }
    }
}

impl core::error::Error for SetupError {}

/// The service.
pub struct Iommu<'a, P> {
    platform: P,
    machine: Machine<'a>,
    geometry: Geometry,
}

impl<'a, P: Platform> Iommu<'a, P> {
    /// The service for `machine`, on `platform`.
    ///
    /// # Errors
    /// [`SetupError`] says what in the lists does not fit together.
    pub fn new(platform: P, machine: Machine<'a>) -> Result<Self, SetupError> {
        let mut previous = None;
        for device in machine.devices {
            let function = device.function();
            if previous.is_some_and(|previous| previous >= function.sbdf()) {
                return Err(SetupError::DevicesNotSorted(function));
            }
            previous = Some(function.sbdf());
            if machine.units.get(usize::from(device.unit().0)).is_none() {
                return Err(SetupError::UnknownUnit(function, device.unit()));
            }
        }
        let geometry = Geometry::common(machine.units)?;
        Ok(Self { platform, machine, geometry })
    }

    /// What the embedder provides.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// Gives the device `function` to `domain`. It is in the default context, which blocks DMA.
    ///
    /// # Errors
    /// `-ENODEV`: it is not behind an IOMMU. `-EBUSY`: it has an owner. `-EBADF`: it is broken.
    /// `-EIO`: its unit has failed.
    pub fn assign(&self, domain: &DomainIommu<'_>, function: PciDevice) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        self.give(domain, device)
    }

    /// Takes the device `function` away from `domain`; its DMA is blocked and drained.
    ///
    /// # Errors
    /// `-ENODEV`: the domain does not have it. `-EINVAL`: no such CPU. `-EIO`: its unit has
    /// failed; the device then counts as broken.
    pub fn unassign(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        function: PciDevice,
    ) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let own = self.machine.cpus.get(cpu).ok_or(Errno::EINVAL)?;
        let mut room = own.claim();
        self.session(domain, own).take_away(device, &mut room.edit)
    }

    /// Gives back every table of `domain` that has no entries.
    ///
    /// # Errors
    /// `-EINVAL`: no such CPU. `-EIO`: a unit has failed.
    pub fn trim(&self, domain: &DomainIommu<'_>, cpu: usize) -> Result<(), Errno> {
        let own = self.machine.cpus.get(cpu).ok_or(Errno::EINVAL)?;
        let mut room = own.claim();
        let session = self.session(domain, own);
        for (_, context) in domain.granted_contexts() {
            session.trim(context, &mut room.edit.flush)?;
        }
        Ok(())
    }

    /// Does a piece of taking everything from a dying domain: devices, contexts, pages, tables.
    ///
    /// [`Outcome::Continue`] asks to be called again; when it is done, calling it again does
    /// nothing. No other call for the domain has an effect from the first one on (INV-61).
    pub fn teardown(&self, domain: &DomainIommu<'_>, cpu: usize) -> Outcome {
        let Some(own) = self.machine.cpus.get(cpu) else {
            return Outcome::failed(Errno::EINVAL);
        };
        let mut room = own.claim();
        self.session(domain, own).tear_down(&mut room.edit).into()
    }

    /// Flushes what `domain` has unmapped to be flushed later, and gives it back: for a timer, so
    /// that a guest that never flushes does not hold pages for long.
    ///
    /// [`Outcome::Continue`] asks to be called again. An error is that of the first context whose
    /// flush did not complete: `-EIO`; `-EINVAL`: no such CPU.
    pub fn flush_deferred(&self, domain: &DomainIommu<'_>, cpu: usize) -> Outcome {
        let Some(own) = self.machine.cpus.get(cpu) else {
            return Outcome::failed(Errno::EINVAL);
        };
        let mut room = own.claim();
        self.session(domain, own).end_waits(&mut room.edit.acquired).into()
    }

    /// A context of `domain` whose scratch page a device has written, each told once: the sign of a
    /// driver that uses bus frames it has not mapped. What was written is lost.
    pub fn scratch_written(&self, domain: &DomainIommu<'_>, cpu: usize) -> Option<ContextId> {
        let own = self.machine.cpus.get(cpu)?;
        let _claimed = own.claim();
        let session = self.session(domain, own);
        let mut contexts = domain.granted_contexts();
        let written = contexts.find(
            |(_, context)| with_format!(self.format(), F => session.scratch_written::<F>(context)),
        );
        written.map(|(id, _)| id)
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

    pub(crate) fn device(&self, function: PciDevice) -> Option<&Device<'a>> {
        let devices = self.machine.devices;
        let index = devices
            .binary_search_by_key(&function.sbdf(), |device| device.function().sbdf())
            .ok()?;
        devices.get(index)
    }

    pub(crate) fn devices(&self) -> &'a [Device<'a>] {
        self.machine.devices
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
            log::error!("pviommu: unit {} failed; contexts behind it are frozen", id.0);
            self.platform.unit_failed(id);
        }
        result
    }

    pub(crate) fn format(&self) -> FormatKind {
        self.geometry.format
    }

    pub(crate) fn levels(&self) -> u8 {
        self.geometry.levels
    }

    pub(crate) fn largest_leaf_level(&self) -> u8 {
        self.geometry.largest_leaf_level
    }

    pub(crate) fn style(&self) -> TableStyle {
        self.geometry.style
    }

    pub(crate) fn aperture(&self) -> BfnRange {
        self.geometry.aperture
    }

    pub(crate) fn reserved(&self) -> &'a [Reserved] {
        self.machine.reserved
    }

    /// The bus frames that are no guest's in any context: what is enforced of the list, and the
    /// interrupt range.
    pub(crate) fn nobodys(&self) -> impl Iterator<Item = BfnRange> + Clone + use<'a, P> {
        let listed = self.machine.reserved.iter().filter(|reserved| reserved.enforced());
        listed.map(|reserved| reserved.range).chain([interrupt_range()])
    }

    /// True if some unit has one of `features`.
    pub(crate) fn any_unit_has(&self, features: UnitFeatures) -> bool {
        self.machine.units.iter().any(|unit| unit.facts().features.intersects(features))
    }

    /// The first of `frames` that no device may reach, whoever owns it.
    pub(crate) fn first_unreachable(&self, frames: MfnRange) -> Option<Mfn> {
        let listed = self.machine.unreachable.iter().copied();
        let own = self.geometry.unreachable;
        let hits = listed.chain(own).filter(|range| range.overlaps(frames));
        hits.map(|range| range.first().max(frames.first())).min()
    }
}

impl<P> fmt::Debug for Iommu<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iommu").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}
