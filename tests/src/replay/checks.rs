//! The DMA that shows whether a map is right: what must move data does, and what must not does
//! not. What nobody mapped is in [`vacant`].

mod buffer;
mod vacant;

use pviommu_abi::{DomId, Gfn, PciDevice};
use pviommu_hypervisor::{Background, addr::Mfn, platform::Access};

use super::sample::Chance;
use super::shadow::Extent;
use super::summary::Summary;
use crate::machine::Bed;

pub(super) use buffer::Stretch;

/// Bytes of one access.
const BYTES: usize = 64;
/// Bytes of a page.
const PAGE: u64 = 4096;
/// What a buffer holds that nothing was read into.
const UNTOUCHED: [u8; BYTES] = [0xa5; BYTES];

/// A function that does DMA, and the memory to compare with.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a, 'b> {
    pub(super) bed: &'a Bed<'b>,
    pub(super) domain: DomId,
    pub(super) device: PciDevice,
    /// What bus addresses hit that nobody mapped.
    pub(super) background: Background,
    /// The line of the trace that gives rise to the checks.
    pub(super) line: u64,
}

/// Where one access goes, on both sides.
#[derive(Clone, Copy)]
struct Place {
    bus: u64,
    memory: u64,
    /// Bytes of the access, at most [`BYTES`].
    bytes: usize,
}

impl Place {
    fn new(bus: u64, memory: u64) -> Self {
        Self { bus, memory, bytes: BYTES }
    }

    /// Bytes of an access before the end of the page; all of them if it does not reach it.
    fn before_boundary(self) -> usize {
        ((PAGE - self.memory % PAGE) as usize).min(self.bytes)
    }

    fn next_page(self) -> u64 {
        (self.memory / PAGE + 1) * PAGE
    }
}

impl Probe<'_, '_> {
    /// A live map: tries pages of it in both directions, and one access across a page boundary.
    pub(super) fn live(&self, extent: &Extent, chance: &mut Chance, sum: &mut Summary) {
        for offset in chance.pages(extent.bfn, extent.pages) {
            let place = page(extent, offset, chance);
            self.directions(place, extent.access, chance, sum);
        }
        if extent.pages > 1 {
            let start = page_start(extent, 0);
            let across = PAGE - BYTES as u64 / 2;
            let place = Place::new(start.bus + across, start.memory + across);
            self.allowed(place, extent.access, chance, sum);
        }
    }

    /// One page of a live map, chosen by chance.
    pub(super) fn one_live(&self, extent: &Extent, chance: &mut Chance, sum: &mut Summary) {
        let offset = chance.below(extent.pages);
        self.directions(page(extent, offset, chance), extent.access, chance, sum);
    }

    /// One page of what a function that is blocked could reach before.
    pub(super) fn one_blocked(&self, extent: &Extent, chance: &mut Chance, sum: &mut Summary) {
        let offset = chance.below(extent.pages);
        self.refused(page(extent, offset, chance), Access::all(), chance, sum);
    }

    fn directions(&self, place: Place, access: Access, chance: &mut Chance, sum: &mut Summary) {
        self.allowed(place, access, chance, sum);
        self.refused(place, !access, chance, sum);
    }

    /// Each direction of `access` must move the right bytes.
    fn allowed(&self, place: Place, access: Access, chance: &mut Chance, sum: &mut Summary) {
        let (mut pattern, mut seen) = ([0; BYTES], UNTOUCHED);
        let (pattern, seen) = (&mut pattern[..place.bytes], &mut seen[..place.bytes]);
        if access.contains(Access::READ) {
            chance.fill(pattern);
            self.cpu_write(place, pattern);
            sum.dma_checked += 1;
            match self.bed.dma_read(self.device, place.bus, seen) {
                Ok(()) if seen == pattern => {}
                Ok(()) => sum.mismatch(|| self.tell(place, "read other bytes than memory holds")),
                Err(fault) => sum.fault(|| self.tell(place, &format!("read: {:?}", fault.reason))),
            }
        }
        if access.contains(Access::WRITE) {
            chance.fill(pattern);
            sum.dma_checked += 1;
            match self.bed.dma_write(self.device, place.bus, pattern) {
                Ok(()) => {
                    self.cpu_read(place, seen);
                    if seen != pattern {
                        sum.mismatch(|| self.tell(place, "wrote bytes that memory does not hold"));
                    }
                }
                Err(fault) => sum.fault(|| self.tell(place, &format!("write: {:?}", fault.reason))),
            }
        }
    }

    /// Each direction of `access` must fault and move nothing.
    fn refused(&self, place: Place, access: Access, chance: &mut Chance, sum: &mut Summary) {
        if access.contains(Access::READ) {
            let mut seen = UNTOUCHED;
            let seen = &mut seen[..place.bytes];
            sum.dma_checked += 1;
            match self.bed.dma_read(self.device, place.bus, seen) {
                Ok(()) => sum.mismatch(|| self.tell(place, "read what it may not")),
                Err(_) => sum.faults_expected += 1,
            }
            if seen != &UNTOUCHED[..place.bytes] {
                sum.mismatch(|| self.tell(place, "was refused a read and got data"));
            }
        }
        if access.contains(Access::WRITE) {
            let (mut before, mut after, mut pattern) = ([0; BYTES], [0; BYTES], [0; BYTES]);
            let before = &mut before[..place.bytes];
            let after = &mut after[..place.bytes];
            let pattern = &mut pattern[..place.bytes];
            chance.fill(pattern);
            self.cpu_read(place, before);
            sum.dma_checked += 1;
            match self.bed.dma_write(self.device, place.bus, pattern) {
                Ok(()) => sum.mismatch(|| self.tell(place, "wrote what it may not")),
                Err(_) => sum.faults_expected += 1,
            }
            self.cpu_read(place, after);
            if before != after {
                sum.mismatch(|| self.tell(place, "changed memory it may not reach"));
            }
        }
    }

    /// Reads memory or registers as the guest's CPU does.
    fn cpu_read(&self, place: Place, to: &mut [u8]) {
        let (head, tail) = to.split_at_mut(place.before_boundary());
        for (address, part) in [(place.memory, head), (place.next_page(), tail)] {
            if !part.is_empty() {
                let (frame, offset) = self.frame(address);
                let read = self.bed.board().memory().frames.read(frame, offset, part);
                read.expect("what the trace maps is memory or registers");
            }
        }
    }

    /// Writes memory or registers as the guest's CPU does.
    fn cpu_write(&self, place: Place, from: &[u8]) {
        let (head, tail) = from.split_at(place.before_boundary());
        for (address, part) in [(place.memory, head), (place.next_page(), tail)] {
            if !part.is_empty() {
                let (frame, offset) = self.frame(address);
                let written = self.bed.board().memory().frames.write(frame, offset, part);
                written.expect("what the trace maps is memory or registers");
            }
        }
    }

    /// The machine frame behind a guest physical address, and the offset in it.
    fn frame(&self, address: u64) -> (Mfn, usize) {
        let frame = self.bed.board().machine_frame(self.domain, Gfn(address / PAGE));
        let frame = frame.expect("the machine has every frame the trace maps");
        (frame, (address % PAGE) as usize)
    }

    fn tell(&self, place: Place, what: &str) -> String {
        let Place { bus, memory, .. } = place;
        format!("line {}: {} at {bus:#x} (memory {memory:#x}): {what}", self.line, self.device)
    }
}

/// The first byte of a page of an extent.
fn page_start(extent: &Extent, offset: u64) -> Place {
    Place::new((extent.bfn + offset) * PAGE, (extent.gfn + offset) * PAGE)
}

/// A place in a page of an extent: its beginning, its end, or anywhere between.
fn page(extent: &Extent, offset: u64, chance: &mut Chance) -> Place {
    let last = PAGE - BYTES as u64;
    let within = match chance.below(4) {
        0 => 0,
        1 => last,
        _ => chance.below(last + 1),
    };
    let start = page_start(extent, offset);
    Place::new(start.bus + within, start.memory + within)
}
