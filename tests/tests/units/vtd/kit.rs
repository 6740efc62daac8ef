//! A unit, and what its driver is told and lent.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    platform::{SourceId, TableRoot, Tag},
    unit::vtd::{BringUpError, Quirks, Settings, Vtd, VtdMemory},
};
use pviommu_testbed::hardware::{
    Ram,
    vtd::{Bench, Config, Landing, Outcome, Unit},
};

pub(crate) const TIMEOUT: u64 = 1000;
pub(crate) const TAG: Tag = Tag(7);
/// Context tables that are lent.
pub(crate) const CONTEXTS: usize = 3;

/// No entry, table or descriptor that makes sense.
const RUBBISH: u64 = 0xdead_beef_dead_beef;

pub(crate) type Driven = Vtd<'static, &'static Unit<'static>, Bench<'static>>;

/// A machine with one unit. It lives as long as the tests do.
#[derive(Clone, Copy)]
pub(crate) struct Rig {
    pub(crate) ram: &'static Ram,
    pub(crate) unit: &'static Unit<'static>,
    pub(crate) bench: &'static Bench<'static>,
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        let ram: &Ram = Box::leak(Box::new(Ram::new(Mfn(0x4_0000), 24, RUBBISH)));
        let unit = Box::leak(Box::new(Unit::new(ram, config)));
        Self { ram, unit, bench: Box::leak(Box::new(Bench::new(ram))) }
    }

    pub(crate) fn memory(&self) -> VtdMemory<'static> {
        VtdMemory {
            root: self.ram.lend(1),
            contexts: self.ram.lend(CONTEXTS),
            queue: self.ram.lend(1),
            status: self.ram.lend(1),
        }
    }

    pub(crate) fn prepare(&self, settings: Settings) -> Result<Driven, BringUpError> {
        Vtd::prepare(self.unit, self.bench, self.memory(), settings)
    }

    pub(crate) fn try_up(&self) -> Result<Driven, BringUpError> {
        Vtd::bring_up(self.unit, self.bench, self.memory(), settings())
    }

    /// The driver of a unit that was brought up without a violation.
    pub(crate) fn up_with(&self, settings: Settings) -> Driven {
        let driver = self.prepare(settings).unwrap();
        driver.enable().unwrap();
        self.clean();
        self.unit.take_acts();
        driver
    }

    pub(crate) fn up(&self) -> Driven {
        self.up_with(settings())
    }

    /// Nothing was done that no driver may do.
    pub(crate) fn clean(&self) {
        assert_eq!(self.unit.violations(), []);
    }

    pub(crate) fn read(&self, id: u16, page: u64) -> Outcome {
        self.unit.request(id, page << 12, false)
    }
}

/// A unit with this configuration, and its driver.
pub(crate) fn up(config: Config) -> (Rig, Driven) {
    let rig = Rig::new(config);
    (rig, rig.up())
}

pub(crate) fn settings() -> Settings {
    Settings {
        segment: 0,
        cpus: 4,
        quirks: Quirks::empty(),
        timeout_us: TIMEOUT,
        host_address_bits: 46,
    }
}

/// Settings of a unit that is waited for as long as it takes.
pub(crate) fn patient() -> Settings {
    Settings { timeout_us: 1 << 40, ..settings() }
}

/// The function with this id.
pub(crate) fn source(id: u16) -> SourceId {
    let [bus, devfn] = id.to_be_bytes();
    SourceId(PciDevice { seg: 0, bus, devfn })
}

pub(crate) fn root(frame: u64) -> TableRoot {
    TableRoot { frame: Mfn(frame), levels: 4 }
}

pub(crate) fn range(first: u64, last: u64) -> BfnRange {
    BfnRange::new(pviommu_abi::Bfn(first), pviommu_abi::Bfn(last)).unwrap()
}

/// Where a request lands that goes through the table at `frame`.
pub(crate) fn through(frame: u64, tag: Tag) -> Outcome {
    Outcome::Landed(Landing { root: frame << 12, domain: tag.0 })
}
