//! The devices of the machine: whose they are, and what of them must always be mapped.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pviommu_abi::{DomId, PciDevice};
use pviommu_hypervisor::{
    ReservedKind,
    addr::{BfnRange, Mfn, MfnRange},
    platform::{Access, UnitId},
};

use super::{board::Board, config::DeviceConfig, frames::lock, violation::Violation};
use crate::iommu::{DeviceEntry, Direction};

/// Owner word of a device that no domain has.
const NOBODY: u32 = u32::MAX;

/// A device as the machine knows it.
#[derive(Debug)]
pub(crate) struct DeviceRecord {
    pub(crate) function: PciDevice,
    /// All functions that it is.
    functions: Vec<PciDevice>,
    pub(crate) unit: UnitId,
    /// What its requests are known by, its own number first.
    sources: Vec<PciDevice>,
    /// What its firmware uses all the time.
    direct: Vec<(BfnRange, Access)>,
    owner: AtomicU32,
    /// The direct ranges are looked at.
    guarded: AtomicBool,
    /// Some change of its entry was refused by schedule.
    refused: AtomicBool,
    /// It does no DMA.
    stopped: AtomicBool,
    /// It is on its way to another domain: whose table it is in, that one's it is.
    on_its_way: AtomicBool,
}

impl DeviceRecord {
    pub(crate) fn new(config: &DeviceConfig) -> Self {
        let direct = config.reserved.iter().filter(|range| range.kind == ReservedKind::Direct);
        Self {
            function: config.function,
            functions: config.functions(),
            unit: config.unit,
            sources: config.sources(),
            direct: direct.map(|range| (range.range, range.access)).collect(),
            owner: AtomicU32::new(NOBODY),
            guarded: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            on_its_way: AtomicBool::new(false),
        }
    }

    /// True if one of its functions is called so.
    pub(crate) fn is_called(&self, name: PciDevice) -> bool {
        self.functions.contains(&name)
    }

    /// Each source with the first and the last page of each direct range, and what it does there.
    fn probes(&self) -> impl Iterator<Item = (PciDevice, u64, Direction)> {
        let pages = self.direct.iter().flat_map(|(range, access)| {
            let reads = access.contains(Access::READ).then_some(Direction::Read);
            let writes = access.contains(Access::WRITE).then_some(Direction::Write);
            let ways = reads.into_iter().chain(writes);
            ways.flat_map(|way| [(range.first().0 << 12, way), (range.last().0 << 12, way)])
        });
        pages.flat_map(|(address, way)| self.sources.iter().map(move |s| (*s, address, way)))
    }
}

impl Board {
    /// The device whose requests are known by `source`.
    pub(crate) fn device(&self, source: PciDevice) -> Option<&DeviceRecord> {
        let own = self.devices.iter().find(|device| device.function == source);
        own.or_else(|| self.devices.iter().find(|device| device.sources.contains(&source)))
    }

    /// The domain that has `function`.
    #[must_use]
    pub fn device_owner(&self, function: PciDevice) -> Option<DomId> {
        let owner = self.device(function)?.owner.load(Ordering::Acquire);
        u16::try_from(owner).ok().map(DomId)
    }

    /// Gives `function` to a domain or to none, as far as the machine knows.
    pub fn set_device_owner(&self, function: PciDevice, owner: Option<DomId>) {
        if let Some(device) = self.device(function) {
            let word = owner.map_or(NOBODY, |domain| u32::from(domain.0));
            device.owner.store(word, Ordering::Release);
            self.expect_owner(function, owner);
        }
    }

    /// Tells the checks whose `function` is, or is about to be.
    pub(crate) fn expect_owner(&self, function: PciDevice, owner: Option<DomId>) {
        self.memory.rules.set_owner(function, owner);
        if let Some(device) = self.device(function)
            && let Some(unit) = self.unit(device.unit)
        {
            device.sources.iter().for_each(|source| unit.belongs_to(*source, owner));
        }
    }

    /// From now on `function` belongs to whose table it is in, or not so any more.
    pub(crate) fn set_on_its_way(&self, function: PciDevice, on_its_way: bool) {
        if let Some(device) = self.device(function) {
            device.on_its_way.store(on_its_way, Ordering::Release);
        }
    }

    /// The device behind `source` is about to be in a table of `owner`.
    pub(crate) fn note_table(&self, source: PciDevice, owner: Option<DomId>) {
        let device = self.device(source).filter(|it| it.on_its_way.load(Ordering::Acquire));
        if let (Some(device), Some(owner)) = (device, owner.filter(|owner| *owner != DomId::IO)) {
            self.expect_owner(device.function, Some(owner));
        }
    }

    /// True if `frame` is memory that firmware keeps for a device.
    #[must_use]
    pub fn is_firmware(&self, frame: Mfn) -> bool {
        self.memory.rules.is_all_firmware(MfnRange::single(frame))
    }

    /// The entries of `function`, one a source id, its own first.
    #[must_use]
    pub fn device_entries(&self, function: PciDevice) -> Vec<DeviceEntry> {
        let Some(device) = self.device(function) else { return Vec::new() };
        let unit = self.unit(device.unit);
        let entry = |source: &PciDevice| unit.map(|unit| unit.device_entry(*source));
        device.sources.iter().filter_map(entry).collect()
    }

    /// True if requests of `function` go to one table, or to none, whichever of its ids they carry.
    #[must_use]
    pub fn is_in_one_table(&self, function: PciDevice) -> bool {
        let entries = self.device_entries(function);
        entries.iter().all(|entry| Some(entry) == entries.first())
    }

    /// The first access of `function` to a direct range of its own that would be refused now. No
    /// fault is recorded, nothing is cached.
    ///
    /// # Errors
    /// [`Violation::DirectRangeMissing`], which is not recorded.
    pub fn check_direct(&self, function: PciDevice) -> Result<(), Violation> {
        let Some(device) = self.device(function) else { return Ok(()) };
        let device_unit = device.unit;
        let Some(model) = self.unit(device_unit) else { return Ok(()) };
        let memory = &self.memory;
        let missing = device.probes().find(|&(source, address, way)| {
            let found = model.peek(memory, source, address, way);
            !found.is_ok_and(|cached| cached.frame_of(address >> 12).0 == address >> 12)
        });
        missing.map_or(Ok(()), |(device, address, direction)| {
            let unit = device_unit;
            Err(Violation::DirectRangeMissing { unit, device, address, direction })
        })
    }

    /// From now on the direct ranges of `function` must always be mapped. Of a machine without
    /// quarantine that cannot be asked.
    pub fn guard(&self, function: PciDevice) {
        let device = self.device(function).filter(|device| !device.direct.is_empty());
        if let Some(device) = device.filter(|_| self.quarantine) {
            device.guarded.store(true, Ordering::Release);
        }
    }

    /// Looks at the direct ranges of all devices that must have them now.
    pub(crate) fn check_guarded(&self) {
        let guarded = self.devices.iter().filter(|d| d.guarded.load(Ordering::Acquire));
        for device in guarded {
            if lock(&self.failed).contains(&device.unit) {
                continue;
            }
            if let Err(violation) = self.check_direct(device.function) {
                device.guarded.store(false, Ordering::Release);
                self.memory.violations.record(violation);
            }
        }
    }

    /// The device behind `source` does DMA, or none from now on.
    pub(crate) fn set_stopped(&self, source: PciDevice, stopped: bool) {
        if let Some(device) = self.device(source) {
            device.stopped.store(stopped, Ordering::Release);
        }
    }

    /// True while the device behind `source` does no DMA.
    #[must_use]
    pub fn is_stopped(&self, source: PciDevice) -> bool {
        self.device(source).is_some_and(|device| device.stopped.load(Ordering::Acquire))
    }

    /// A change of the entry of `source` was refused by schedule.
    pub(crate) fn note_refusal(&self, source: PciDevice) {
        if let Some(device) = self.device(source) {
            device.refused.store(true, Ordering::Release);
        }
    }

    /// The service blocks `source`. One that could not be moved is given up that way.
    pub(crate) fn note_block(&self, source: PciDevice) {
        let refused = |device: &&DeviceRecord| device.refused.load(Ordering::Acquire);
        if let Some(device) = self.device(source).filter(refused) {
            device.guarded.store(false, Ordering::Release);
        }
    }
}
