//! A machine with the service running on it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pviommu_abi::{DomId, Errno, PciDevice};
use pviommu_hypervisor::{
    Caller, Context, Cpu, Device, DomainIommu, Iommu, Machine, Outcome, Role, Unit, Width,
    addr::{Mfn, MfnRange},
    platform::UnitId,
};

use super::{
    board::Board,
    config::{Config, DomainConfig},
    counters::Counters,
    dma::{DmaFault, Hit},
    guest::{Guest, Port},
    platform::{DomainSlot, Platform},
    schedule::Schedule,
    violation::Violation,
};
use crate::iommu::{Direction, FaultRecord};

/// A machine, its domains and the service.
#[derive(Debug)]
pub struct Bed<'a> {
    board: &'a Board,
    domains: &'a [DomainSlot<'a>],
    iommu: Iommu<'a, Platform<'a>>,
    hypercalls: AtomicU64,
}

/// Builds the machine of `config`, starts the service on it, assigns the devices, and calls
/// `body`. Everything is gone when this returns.
///
/// # Panics
/// If the configuration makes no sense or the service refuses it.
pub fn run<R>(config: &Config, body: impl FnOnce(&Bed<'_>) -> R) -> R {
    let board = Board::new(config);

    let words = |tags: u32| (0..tags.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
    let tags: Vec<Vec<AtomicU64>> = config.units.iter().map(|u| words(u.tags)).collect();
    let units: Vec<Unit<'_>> =
        config.units.iter().zip(&tags).map(|(facts, tags)| Unit::new(*facts, tags)).collect();

    let mut sorted: Vec<_> = config.devices.iter().collect();
    sorted.sort_by_key(|d| (d.function.seg, d.function.bus, d.function.devfn));
    let devices: Vec<Device<'_>> =
        sorted.iter().map(|d| Device::new(d.function, d.unit, &d.reserved)).collect();

    let cpus: Vec<Cpu> = (0..config.cpus).map(|_| Cpu::new()).collect();
    let contexts: Vec<Vec<Context>> = config.domains.iter().map(contexts).collect();
    let domains: Vec<DomainSlot<'_>> = config
        .domains
        .iter()
        .zip(&contexts)
        .map(|(domain, contexts)| DomainSlot {
            id: domain.id,
            sees_all_devices: domain.role == Role::Hardware,
            iommu: DomainIommu::new(domain.id, domain.role, contexts, domain.limits)
                .with_background(domain.background),
            dying: AtomicBool::new(false),
        })
        .collect();

    let unreachable = unreachable(&board);
    let machine = Machine {
        units: &units,
        devices: &devices,
        cpus: &cpus,
        reserved: &config.reserved,
        unreachable: &unreachable,
    };
    let platform = Platform::new(&board, &domains);
    let iommu = Iommu::new(platform, machine).expect("the service accepts the machine");
    let bed = Bed { board: &board, domains: &domains, iommu, hypercalls: AtomicU64::new(0) };
    for device in &config.devices {
        bed.assign(device.owner, device.function).expect("the device can be assigned");
    }
    body(&bed)
}

/// The default context and as many as the domain may have.
fn contexts(domain: &DomainConfig) -> Vec<Context> {
    (0..=domain.limits.max_contexts).map(|_| Context::new()).collect()
}

/// Frames no device may be sent to: the interrupt window and the page tables.
fn unreachable(board: &Board) -> Vec<MfnRange> {
    let window = MfnRange::new(Mfn(0xfee00), Mfn(0xfeeff));
    window.into_iter().chain(board.memory.tables.frames()).collect()
}

impl<'a> Bed<'a> {
    /// The service.
    #[must_use]
    pub const fn iommu(&self) -> &Iommu<'a, Platform<'a>> {
        &self.iommu
    }

    /// The machine below it.
    #[must_use]
    pub const fn board(&self) -> &'a Board {
        self.board
    }

    /// The slot of `domain`.
    ///
    /// # Panics
    /// If there is no such domain.
    #[must_use]
    pub fn slot(&self, domain: DomId) -> &'a DomainSlot<'a> {
        self.domains.iter().find(|slot| slot.id == domain).expect("a domain of the machine")
    }

    /// The service's state of `domain`.
    ///
    /// # Panics
    /// If there is no such domain.
    #[must_use]
    pub fn domain(&self, domain: DomId) -> &'a DomainIommu<'a> {
        &self.slot(domain).iommu
    }

    /// A guest of `domain` that makes its hypercalls on `cpu`; one thread a CPU.
    #[must_use]
    pub fn guest(&self, domain: DomId, cpu: usize) -> Guest<'_> {
        Guest::new(self, domain, cpu)
    }

    /// Enters the service once with these two registers.
    pub fn hypercall(&self, domain: DomId, cpu: usize, subop: u64, arg: u64) -> Outcome {
        self.hypercalls.fetch_add(1, Ordering::Relaxed);
        let caller = Caller { cpu, width: Width::Bits64 };
        self.iommu.iommu_op(self.domain(domain), caller, subop, arg)
    }

    /// Gives a device to a domain, which can name it from then on.
    ///
    /// # Errors
    /// What the service says.
    pub fn assign(&self, domain: DomId, function: PciDevice) -> Result<(), Errno> {
        self.iommu.assign(self.domain(domain), function)?;
        self.board.set_device_owner(function, Some(domain));
        Ok(())
    }

    /// Takes a device from a domain.
    ///
    /// # Errors
    /// What the service says.
    pub fn unassign(&self, domain: DomId, cpu: usize, function: PciDevice) -> Result<(), Errno> {
        self.iommu.unassign(self.domain(domain), cpu, function)?;
        self.board.set_device_owner(function, None);
        Ok(())
    }

    /// Marks a domain as dying and frees all it has; the status of the last call.
    pub fn teardown(&self, domain: DomId, cpu: usize) -> i64 {
        self.slot(domain).dying.store(true, Ordering::Release);
        loop {
            if let Outcome::Done(status) = self.iommu.teardown(self.domain(domain), cpu) {
                return status;
            }
        }
    }

    /// DMA by `function`: reads at a bus address, page by page.
    ///
    /// # Errors
    /// [`DmaFault`] at the first page that is refused.
    pub fn dma_read(
        &self,
        function: PciDevice,
        address: u64,
        to: &mut [u8],
    ) -> Result<(), DmaFault> {
        self.board.dma_read(function, address, to)
    }

    /// DMA by `function`: writes at a bus address, page by page.
    ///
    /// # Errors
    /// [`DmaFault`] at the first page that is refused.
    pub fn dma_write(
        &self,
        function: PciDevice,
        address: u64,
        from: &[u8],
    ) -> Result<(), DmaFault> {
        self.board.dma_write(function, address, from)
    }

    /// DMA by `function` that moves nothing: says where the access would have landed. It is
    /// translated, cached and judged as every other.
    ///
    /// # Errors
    /// [`DmaFault`] if it is refused.
    pub fn dma_probe(
        &self,
        function: PciDevice,
        address: u64,
        direction: Direction,
    ) -> Result<Hit, DmaFault> {
        self.board.dma_probe(function, address, direction)
    }

    /// Reads memory of a guest at a guest physical address.
    ///
    /// # Panics
    /// If it is not the guest's RAM.
    pub fn guest_read(&self, domain: DomId, address: u64, to: &mut [u8]) {
        self.board.guest_read(domain, address, to).expect("RAM of the guest");
    }

    /// Writes memory of a guest at a guest physical address.
    ///
    /// # Panics
    /// If it is not the guest's RAM.
    pub fn guest_write(&self, domain: DomId, address: u64, from: &[u8]) {
        self.board.guest_write(domain, address, from).expect("RAM of the guest");
    }

    /// The fault records of all units, unit by unit.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultRecord> {
        self.board.units.iter().flat_map(|unit| unit.faults()).collect()
    }

    /// Takes the fault records of all units.
    pub fn take_faults(&self) -> Vec<FaultRecord> {
        self.board.units.iter().flat_map(|unit| unit.take_faults()).collect()
    }

    /// What must never have happened and did; the first few thousand.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.board.memory.violations.list()
    }

    /// The units the service has given up.
    #[must_use]
    pub fn failed_units(&self) -> Vec<UnitId> {
        self.board.failed_units()
    }

    /// Failures on request.
    #[must_use]
    pub const fn schedule(&self) -> &'a Schedule {
        &self.board.schedule
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let hypercalls = self.hypercalls.load(Ordering::Relaxed);
        Counters { hypercalls, ..Counters::of(self.board) }
    }

    /// Checks that nothing went wrong, and that nothing is held or allocated any more.
    ///
    /// # Panics
    /// If not.
    pub fn assert_clean(&self) {
        assert_eq!(self.violations(), []);
        let now = self.counters();
        assert_eq!(now.references_live, 0, "references are left");
        assert_eq!(now.table_frames_live, 0, "table frames are left");
        assert_eq!(now.table_frames_reserved, 0, "reserved table frames are left");
        assert_eq!(now.scratch_frames_live, 0, "scratch pages are left");
    }
}

impl Port for Bed<'_> {
    fn board(&self) -> &Board {
        self.board
    }

    fn call(&self, domain: DomId, cpu: usize, subop: u64, arg: u64) -> Outcome {
        self.hypercall(domain, cpu, subop, arg)
    }
}
