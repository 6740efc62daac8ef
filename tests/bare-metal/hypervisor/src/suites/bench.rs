//! What suites work with: the hypervisor, and the devices that were found.

use pviommu_hypervisor::{
    abi::PciDevice,
    addr::PAGE_SHIFT,
    format::FormatKind,
    platform::Access,
    topology::{DirectRange, Window},
    unit::driver::Driver,
};

use super::{Guest, option};
use crate::{
    domains::{Domain, DomainConfig},
    glue::Hypervisor,
    machine::{
        edu::{Direction, Edu},
        frames::FREE,
        pci,
        start_info::StartInfo,
    },
};

/// Most devices of one kind that a suite uses.
const DEVICES: usize = 8;

/// The bench.
pub struct Bench<'h> {
    /// The hypervisor.
    pub hypervisor: &'h Hypervisor,
    /// What the loader told.
    pub info: &'h StartInfo,
    edus: [Option<Edu>; DEVICES],
}

/// What is in use: a suite that ends as it began has lost nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InUse {
    /// Frames that are to come back, those for tables not counted.
    pub frames: usize,
    /// Table frames that are free.
    pub tables_free: u32,
    /// References on frames.
    pub references: u64,
}

impl<'h> Bench<'h> {
    pub(super) fn new(hypervisor: &'h Hypervisor, info: &'h StartInfo) -> Self {
        let mut edus = [const { None }; DEVICES];
        for (place, edu) in edus.iter_mut().zip(pci::functions().filter_map(Edu::find)) {
            *place = Some(edu);
        }
        Self { hypervisor, info, edus }
    }

    /// What the command line says after `name=`, as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<usize> {
        option(self.info.command_line(), name)?.parse().ok()
    }

    /// The `edu` devices, in the order of their numbers.
    pub fn edus(&self) -> impl Iterator<Item = &Edu> {
        self.edus.iter().flatten()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn edu(&self, index: usize) -> &Edu {
        self.edus().nth(index).expect("the suite needs another edu device")
    }

    /// A domain, and its guest on the first processor.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn guest(&self, config: &DomainConfig) -> Guest<'h> {
        let domain = self.hypervisor.create(config);
        Guest::new(self.hypervisor, domain.expect("a domain can be made"), 0)
    }

    /// The same, and the device is its own.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn guest_with(&self, config: &DomainConfig, edu: &Edu) -> Guest<'h> {
        let guest = self.guest(config);
        self.hypervisor.give(guest.domain, edu.function).expect("the device can be given away");
        guest
    }

    /// Ends a domain.
    ///
    /// # Panics
    /// If a unit has failed.
    pub fn end(&self, domain: &Domain) {
        self.hypervisor.destroy(domain).expect("the domain can be ended");
    }

    /// What is in use now.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        let platform = self.hypervisor.iommu.platform();
        let (tables_free, references) = (platform.tables.free(), platform.frames.held());
        InUse { frames: FREE.given(), tables_free, references }
    }

    /// The first unit.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn unit(&self) -> &'static dyn Driver {
        *self.hypervisor.iommu.platform().drivers.0.first().expect("there is a unit")
    }

    /// True if the units tell of what they refuse: AMD's does not in QEMU 7.2, whose event log stays empty.
    #[must_use]
    pub fn tells_faults(&self) -> bool {
        self.unit().facts().format == FormatKind::VtdSecondStage
    }

    /// True if an invalidation of some pages leaves others: AMD's drops all of the domain in QEMU 7.2.
    #[must_use]
    pub fn tells_pages_apart(&self) -> bool {
        self.tells_faults()
    }

    /// Has a device read its buffer from `bytes` of the bus.
    ///
    /// # Panics
    /// If the device is stuck.
    pub fn dma_read(&self, edu: &Edu, bus: u64, bytes: usize) {
        edu.copy(Direction::FromMemory, bus, bytes).expect("the device copies");
    }

    /// Has a device write its buffer to `bytes` of the bus.
    ///
    /// # Panics
    /// If the device is stuck.
    pub fn dma_write(&self, edu: &Edu, bus: u64, bytes: usize) {
        edu.copy(Direction::ToMemory, bus, bytes).expect("the device copies");
    }
}

/// Memory that firmware is said to use for a function: `pages` pages that no domain gets, far up, where no guest
/// has a guest frame of the same number: at 2 GiB, or with less memory at 64 MiB.
///
/// # Panics
/// If there is not as much memory.
#[must_use]
pub fn firmware_range(function: PciDevice, pages: usize) -> DirectRange {
    let frame = FREE.alloc(pages, 1 << 19).or_else(|| FREE.alloc(pages, 1 << 14));
    let first = frame.expect("there is memory").0 << PAGE_SHIFT;
    let bytes = Window { first, last: first + (pages << PAGE_SHIFT) as u64 - 1 };
    DirectRange { function, bytes, relaxable: false, access: Access::all() }
}
