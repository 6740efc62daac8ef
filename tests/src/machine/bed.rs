//! A machine with the service running on it.

use std::sync::atomic::{AtomicU64, Ordering};

use pviommu_abi::{DomId, Errno, PciDevice};
use pviommu_hypervisor::{
    Caller, DomainIommu, Fault, Iommu, Outcome, Reported, Sweep, Width,
    platform::{Access, Operation, SourceId, UnitId},
};

use super::{
    board::Board,
    counters::Counters,
    dma::{DmaFault, Hit},
    guest::{Guest, Port},
    platform::{DomainSlot, Platform},
    schedule::Schedule,
    violation::Violation,
};
use crate::{
    iommu::{Direction, FaultRecord},
    sync::again,
};

/// A machine, its domains and the service.
#[derive(Debug)]
pub struct Bed<'a> {
    board: &'a Board,
    domains: &'a [DomainSlot<'a>],
    iommu: Iommu<'a, Platform<'a>>,
    /// A CPU that no guest runs on, for what the hypervisor does of its own accord: a guest's CPU may
    /// be in a call that waits for a lock which is held meanwhile.
    own_cpu: usize,
    hypercalls: AtomicU64,
}

impl<'a> Bed<'a> {
    pub(super) const fn new(
        board: &'a Board,
        domains: &'a [DomainSlot<'a>],
        iommu: Iommu<'a, Platform<'a>>,
        own_cpu: usize,
    ) -> Self {
        Self { board, domains, iommu, own_cpu, hypercalls: AtomicU64::new(0) }
    }

    /// The CPU for what the hypervisor does of its own accord; no guest runs there.
    #[must_use]
    pub const fn own_cpu(&self) -> usize {
        self.own_cpu
    }

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
        self.board.pieces.end();
        let caller = Caller { cpu, width: Width::Bits64 };
        self.iommu.iommu_op(self.domain(domain), caller, subop, arg)
    }

    /// Has all tables of a domain without entries given back.
    ///
    /// # Errors
    /// What the service says.
    pub fn trim(&self, domain: DomId, cpu: usize) -> Result<(), Errno> {
        let mut sweep = Sweep::default();
        loop {
            if let Outcome::Done(status) = self.iommu.trim(self.domain(domain), cpu, &mut sweep) {
                return Errno::from_ret(status).map_or(Ok(()), Err);
            }
            again();
        }
    }

    /// Marks a domain as dying and frees all it has; the status of the last call.
    pub fn teardown(&self, domain: DomId, cpu: usize) -> i64 {
        self.slot(domain).dying.store(true, Ordering::Release);
        loop {
            if let Outcome::Done(status) = self.iommu.teardown(self.domain(domain), cpu) {
                return status;
            }
            again();
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

    /// Has the units' fault interrupt: reports what they have recorded, `now` in milliseconds.
    pub fn report_faults(&self, now: u64) -> Vec<Reported> {
        let report = |fault: &FaultRecord| {
            let access = match fault.direction {
                Direction::Read => Access::READ,
                Direction::Write => Access::WRITE,
            };
            let (source, reason) = (SourceId(fault.device), fault.reason.told());
            let told = Fault { source, address: fault.address, access, reason };
            self.iommu.report_fault(fault.unit, &told, now)
        };
        self.take_faults().iter().map(report).collect()
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

    /// What the embedder's policy was asked last.
    #[must_use]
    pub fn asked(&self) -> Option<Operation> {
        self.board.asked()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let hypercalls = self.hypercalls.load(Ordering::Relaxed);
        Counters { hypercalls, ..Counters::of(self.board) }
    }

    /// Frames that quarantine has now: tables and scratch pages, and those put aside.
    #[must_use]
    pub fn kept_by_quarantine(&self) -> (u32, u32) {
        self.board.memory.tables.charged(DomId::IO)
    }

    /// Checks that nothing went wrong, and that nothing is held or allocated any more but what
    /// quarantine has.
    ///
    /// # Panics
    /// If not.
    pub fn assert_clean(&self) {
        assert_eq!(self.violations(), []);
        let now = self.counters();
        let (kept, reserved) = self.kept_by_quarantine();
        assert_eq!(now.references_live, 0, "references are left");
        if kept == 0 {
            assert_eq!(now.table_frames_live, 0, "table frames are left");
            assert_eq!(now.scratch_frames_live, 0, "scratch pages are left");
        }
        let left = now.table_frames_live + now.scratch_frames_live;
        assert_eq!(left, kept, "table frames or scratch pages are left");
        assert_eq!(now.table_frames_reserved, reserved, "reserved table frames are left");
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
