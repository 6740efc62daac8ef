//! The kernel that the guest driver runs in: on the CPU and at the time that the trace tells. All
//! its hypercalls pass a witness.

use std::cell::{Cell, RefCell};

use pviommu_abi::{DomId, Subop};
use pviommu_guest::Hypercall;
use pviommu_guest::dma::Kernel;

use super::wire;
use super::witness::Witness;
use crate::machine::{Bed, Guest};

/// How many times as fast as the traced machines a real one is: those were emulated, and order and
/// sizes are the kernel's, but rates are the emulator's. The clock runs as much slower.
const FASTER: u64 = 20;

/// The kernel of a guest on all its CPUs.
pub(super) struct Watched<'b> {
    guests: Vec<Guest<'b>>,
    /// The trace's number of each CPU.
    cpus: Vec<u32>,
    cpu: Cell<usize>,
    now_us: Cell<u64>,
    pub(super) witness: RefCell<Witness<'b>>,
}

impl<'b> Watched<'b> {
    pub(super) fn new(bed: &'b Bed<'_>, domain: DomId, cpus: &[u32], witness: Witness<'b>) -> Self {
        let guests = (0..cpus.len()).map(|cpu| bed.guest(domain, cpu)).collect();
        let witness = RefCell::new(witness);
        Self { guests, cpus: cpus.to_vec(), cpu: Cell::new(0), now_us: Cell::new(0), witness }
    }

    /// From now on it is this time, and this CPU of the trace that runs.
    pub(super) fn at(&self, ns: u64, cpu: u32) {
        self.now_us.set(ns / (1000 * FASTER));
        self.cpu.set(self.cpus.binary_search(&cpu).unwrap_or(0));
    }

    /// Nanoseconds inside `iommu_op`.
    pub(super) fn nanoseconds(&self) -> u64 {
        self.guests.iter().map(Guest::nanoseconds).sum()
    }
}

impl Hypercall for &Watched<'_> {
    fn iommu_op(&self, subop: Subop, arg: &mut [u8], mut buffer: Option<&mut [u8]>) -> i64 {
        let call = wire::asked(subop, arg, buffer.as_deref());
        self.witness.borrow_mut().before(&call);
        let guest = self.guests.get(self.cpu.get()).expect("a CPU of the trace");
        let status = guest.iommu_op(subop, arg, buffer.as_deref_mut());
        let done = wire::done(subop, arg, buffer.as_deref(), status);
        let allocated = if status == 0 { wire::allocated(arg) } else { None };
        self.witness.borrow_mut().after(call, &done, allocated, status);
        status
    }
}

impl Kernel for &Watched<'_> {
    fn cpu(&self) -> usize {
        self.cpu.get()
    }

    fn now_us(&self) -> u64 {
        self.now_us.get()
    }
}
