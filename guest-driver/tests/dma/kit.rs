//! Spaces on the fake, buffers that tell if they are dropped, and what is mapped.

use std::cell::Cell;

use pviommu_abi::{ContextId, DeviceFlags, MapFlags, PciDevice};
use pviommu_guest::dma::{Buffer, DmaError, DmaSpace, DmaStorage, Piece};

use crate::fake::machine::Peer;
use crate::fake::{Call, Here, Page, machine};

/// A second device, once the machine [`has`](add_other) it.
pub(crate) const OTHER: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
/// The mask of a device with 32 address bits.
pub(crate) use crate::fake::{DEVICE, REACH_32 as LOW};

thread_local! {
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

/// Lets time pass.
pub(crate) fn pass(microseconds: u64) {
    machine(|machine| machine.now_us += microseconds);
}

/// Has the next calls made by this CPU.
pub(crate) fn run_on(cpu: usize) {
    Here::get().enter(cpu);
}

/// Gives the machine a second device.
pub(crate) fn add_other() {
    machine(|machine| {
        machine.devices.push(Peer {
            name: OTHER,
            context: ContextId::DEFAULT,
            state: DeviceFlags::BEHIND_IOMMU,
            group: 2,
            reserved: vec![],
        });
    });
}

/// The context that a device is in.
pub(crate) fn context_of(device: PciDevice) -> ContextId {
    machine(|machine| machine.devices.iter().find(|peer| peer.name == device).unwrap().context)
}

pub(crate) fn has_context(context: ContextId) -> bool {
    machine(|machine| machine.contexts.contains_key(&context))
}

pub(crate) fn space<const N: usize, const C: usize>(
    storage: &DmaStorage<N, C>,
) -> Result<DmaSpace<'_, Call>, DmaError> {
    DmaSpace::open(Call, storage)
}

pub(crate) fn open<const N: usize, const C: usize>(
    storage: &DmaStorage<N, C>,
) -> DmaSpace<'_, Call> {
    space(storage).unwrap()
}

/// One page, at this frame.
pub(crate) fn page(frame: u64) -> Piece {
    Piece { address: frame << 12, length: 0x1000 }
}

pub(crate) fn pages(frames: &[u64]) -> Vec<Piece> {
    frames.iter().copied().map(page).collect()
}

/// Pages of which it is known whether they were dropped.
#[derive(Debug)]
pub(crate) struct Memory(Vec<Piece>);

impl Memory {
    pub(crate) fn new(frames: &[u64]) -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self(pages(frames))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

impl Buffer for Memory {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        self.0.iter().copied()
    }
}

/// How many [`Memory`]s were not dropped.
pub(crate) fn alive() -> usize {
    ALIVE.get()
}

/// What is mapped in all contexts, as bus frame and the domain's own frame.
pub(crate) fn entries() -> Vec<(u64, u64)> {
    machine(|machine| machine.contexts.values().flat_map(|context| context.frames()).collect())
}

/// How many bus frames are mapped, whosever pages are there.
pub(crate) fn mapped() -> usize {
    machine(|machine| machine.contexts.values().map(|context| context.entries.len()).sum())
}

/// What devices may do with what is mapped.
pub(crate) fn granted() -> Vec<MapFlags> {
    machine(|machine| {
        let all = machine.contexts.values().flat_map(|context| context.entries.values());
        all.map(|entry| entry.access).collect()
    })
}

/// Whether this bus address leads to this page.
pub(crate) fn leads(address: u64, page: Page) -> bool {
    machine(|machine| {
        let bfn = pviommu_abi::Bfn::containing(address);
        let mut all = machine.contexts.values().filter_map(|context| context.reach(bfn));
        all.any(|entry| entry.page == page)
    })
}

/// Whether this bus address leads to the domain's page of this frame.
pub(crate) fn leads_to(address: u64, frame: u64) -> bool {
    leads(address, Page::Own(pviommu_abi::Gfn(frame)))
}

/// Hypercalls so far.
pub(crate) fn calls() -> u64 {
    machine(|machine| machine.counts.hypercalls.into())
}

/// Flushes so far.
pub(crate) fn flushes() -> u64 {
    machine(|machine| machine.counts.flushes.into())
}
