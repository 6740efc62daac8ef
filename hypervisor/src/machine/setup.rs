//! What the machine consists of, and whether it fits together.

use core::fmt;

use pviommu_abi::PciDevice;

use super::{Cpu, Device, FaultRule, Iommu, SourceEntry, Unit, sources::check_order};
use crate::{
    addr::{BfnRange, Mfn, MfnRange},
    domain::DomainIommu,
    format::FormatKind,
    platform::{Platform, SourceId, TableShape, UnitId},
    reserved::{MAX_RESERVED, Reserved},
};

/// What the machine consists of, in memory the embedder lends.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The IOMMUs; a [`UnitId`] is an index.
    pub units: &'a [Unit<'a>],
    /// The shape of all tables; `None` is what all units can walk. With a shape that some of them
    /// cannot walk the machine is served without those: what is behind them cannot be assigned.
    pub tables: Option<TableShape>,
    /// The functions behind them, sorted by [`PciDevice::sbdf`], each once. Nothing lets them do
    /// DMA yet: whoever brought the units up blocks what nobody was given.
    pub devices: &'a [Device<'a>],
    /// The ids that their requests carry, as [`Machine::index_sources`] lists them.
    pub sources: &'a [SourceEntry],
    /// The pseudo-domain whose contexts quarantine is made of, one for each device in the order of
    /// `devices`; its background is what a device in quarantine hits, and its limits pay for the
    /// tables. `None`: quarantine is to be blocked, and no device may need direct ranges.
    pub quarantine: Option<&'a DomainIommu<'a>>,
    /// One for each CPU that may call.
    pub cpus: &'a [Cpu],
    /// How many faults of a device are recorded, and how many stop it.
    pub faults: FaultRule,
    /// Bus frames that no guest may map in any context, besides the x86 interrupt range and with
    /// AMD's units the HyperTransport range.
    pub reserved: &'a [Reserved],
    /// Frames that no device may reach, whoever owns them (IOMMU registers, holes), besides the
    /// x86 interrupt range, what lies above the units' address width, and with AMD's units the
    /// HyperTransport range.
    pub unreachable: &'a [MfnRange],
}

/// Why a machine cannot be served. Nothing a guest can cause; the embedder's list is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// There is no unit.
    NoUnit,
    /// These two units walk tables of different formats: [`Machine::tables`] must say which is used.
    MixedFormats(UnitId, UnitId),
    /// The units have no table depth in common: [`Machine::tables`] must say which is used.
    NoCommonLevels,
    /// No unit can walk the tables that [`Machine::tables`] asks for.
    NoUnitWalks(TableShape),
    /// The tables are of a format that this build leaves out, by its features.
    FormatNotBuilt(FormatKind),
    /// This device names a unit that is not listed.
    UnknownUnit(PciDevice, UnitId),
    /// This device does not come after the one before it.
    DevicesNotSorted(PciDevice),
    /// Requests of two devices carry this id, so that no unit can tell them apart.
    SharedSource(PciDevice, SourceId),
    /// So many entries the list of ids is to have; the room for it is shorter.
    NoRoomForSources(usize),
    /// [`Machine::sources`] is not what [`Machine::index_sources`] makes of these devices.
    SourcesNotIndexed,
    /// This device has more reserved ranges than a context can hold.
    TooManyRanges(PciDevice),
    /// This direct range is memory of the hypervisor or of a domain, or may become that.
    DirectIsMemory(PciDevice, BfnRange),
    /// No unit translates to this direct range, or bus frames of it are nobody's.
    DirectUnreachable(PciDevice, BfnRange),
    /// This direct range allows nothing, or overlaps another reserved range of its device.
    DirectConflict(PciDevice, BfnRange),
    /// This device needs a context in quarantine, and none is lent for it.
    NoQuarantine(PciDevice),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUnit => f.write_str("the machine has no IOMMU"),
            Self::MixedFormats(one, other) => write!(
                f,
                "units {} and {} walk tables of different formats; the machine has to say which it uses",
                one.0, other.0
            ),
            Self::NoCommonLevels => f.write_str(
                "the units have no table depth in common; the machine has to say which it uses",
            ),
            Self::NoUnitWalks(TableShape { format, levels }) => {
                write!(f, "no unit walks tables of {levels} levels in the format {format:?}")
            }
            Self::FormatNotBuilt(format) => {
                write!(f, "the machine's tables have the format {format:?}, which is not built in")
            }
            Self::UnknownUnit(device, unit) => {
                write!(f, "device {device} is behind unit {}, which is not listed", unit.0)
            }
            Self::DevicesNotSorted(device) => {
                write!(f, "device {device} does not come after the one before it")
            }
            Self::SharedSource(device, source) => {
                write!(f, "requests of {device} carry the id {}, as those of another", source.0)
            }
            Self::NoRoomForSources(needed) => {
                write!(f, "requests of the devices carry {needed} ids, more than can be listed")
            }
            Self::SourcesNotIndexed => {
                f.write_str("the list of requester ids is not that of the devices")
            }
            Self::TooManyRanges(device) => {
                write!(f, "device {device} has more than {MAX_RESERVED} reserved ranges")
            }
            Self::DirectIsMemory(device, range) => {
                write!(f, "direct range {range} of {device} is not its firmware's alone")
            }
            Self::DirectUnreachable(device, range) => {
                write!(f, "direct range {range} of {device} cannot be mapped one to one")
            }
            Self::DirectConflict(device, range) => {
                write!(f, "direct range {range} of {device} allows nothing, or overlaps another")
            }
            Self::NoQuarantine(device) => {
                write!(f, "device {device} has direct ranges, and no context to keep them in")
            }
        }
    }
}

impl core::error::Error for SetupError {}

/// Checks the list of devices by itself.
pub(super) fn check_list(machine: &Machine<'_>) -> Result<(), SetupError> {
    check_order(machine.devices)?;
    let known = |unit: UnitId| machine.units.get(usize::from(unit.0)).is_some();
    match machine.devices.iter().find(|device| !known(device.unit())) {
        Some(device) => Err(SetupError::UnknownUnit(device.function(), device.unit())),
        None => Ok(()),
    }
}

impl<P: Platform> Iommu<'_, P> {
    /// Checks what a device's firmware needs.
    pub(super) fn check_device(&self, device: &Device<'_>) -> Result<(), SetupError> {
        let function = device.function();
        if device.reserved().len() > MAX_RESERVED {
            return Err(SetupError::TooManyRanges(function));
        }
        if device.direct().next().is_some() && self.quarantine_of(device).is_none() {
            return Err(SetupError::NoQuarantine(function));
        }
        device.direct().try_for_each(|direct| self.check_direct(device, direct))
    }

    fn check_direct(&self, device: &Device<'_>, direct: &Reserved) -> Result<(), SetupError> {
        let (function, range) = (device.function(), direct.range);
        let others = device.reserved().iter().filter(|other| *other != direct && other.enforced());
        if direct.access.is_empty() || others.map(|it| it.range).any(|it| it.overlaps(range)) {
            return Err(SetupError::DirectConflict(function, range));
        }
        let frames = MfnRange::new(Mfn(range.first().0), Mfn(range.last().0));
        let frames = frames.ok_or(SetupError::DirectUnreachable(function, range))?;
        let beyond = range.last() > self.aperture().last();
        let nobodys = self.nobodys().any(|it| it.overlaps(range));
        if beyond || nobodys || self.first_unreachable(frames).is_some() {
            return Err(SetupError::DirectUnreachable(function, range));
        }
        if !self.platform.may_be_direct(frames) {
            return Err(SetupError::DirectIsMemory(function, range));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
