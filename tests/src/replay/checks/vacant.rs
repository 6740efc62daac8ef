//! What nobody mapped, and what is on its way there.
//!
//! | state of a bus frame | with scratch pages | without |
//! |---|---|---|
//! | not mapped | the scratch page | a fault |
//! | unmapped, not flushed | the former page, or as above | the former page, or a fault |
//! | reserved, or above the aperture | a fault | a fault |
//! | direct range of a device of the address space | itself | itself |

use pviommu_hypervisor::{Background, platform::Access};

use super::{BYTES, PAGE, Place, Probe, UNTOUCHED, page};
use crate::iommu::Direction;
use crate::machine::frames::Reach;
use crate::replay::sample::Chance;
use crate::replay::shadow::Extent;
use crate::replay::summary::Summary;

/// Both ways data can go, with the access that permits each.
const WAYS: [(Direction, Access); 2] =
    [(Direction::Read, Access::READ), (Direction::Write, Access::WRITE)];

impl Probe<'_, '_> {
    /// What was mapped and is not any more: nothing of its memory may be reached.
    pub(in crate::replay) fn gone(&self, extent: &Extent, chance: &mut Chance, sum: &mut Summary) {
        for offset in chance.pages(extent.bfn, extent.pages) {
            self.vacant(page(extent, offset, chance), chance, sum);
        }
    }

    /// One page of what is not mapped in the address space of this function.
    pub(in crate::replay) fn one_gone(
        &self,
        extent: &Extent,
        chance: &mut Chance,
        sum: &mut Summary,
    ) {
        let offset = chance.below(extent.pages);
        self.vacant(page(extent, offset, chance), chance, sum);
    }

    /// What was unmapped and is not flushed yet.
    pub(in crate::replay) fn stale(&self, extent: &Extent, chance: &mut Chance, sum: &mut Summary) {
        for offset in chance.pages(extent.bfn, extent.pages) {
            self.former_or_vacant(page(extent, offset, chance), extent.access, sum);
        }
    }

    /// One page of that.
    pub(in crate::replay) fn one_stale(
        &self,
        extent: &Extent,
        chance: &mut Chance,
        sum: &mut Summary,
    ) {
        let offset = chance.below(extent.pages);
        self.former_or_vacant(page(extent, offset, chance), extent.access, sum);
    }

    /// A bus frame that was never mapped.
    pub(in crate::replay) fn never_mapped(&self, bfn: u64, sum: &mut Summary) {
        let bus = bfn * PAGE;
        for (way, _) in WAYS {
            match self.background {
                Background::Scratch => _ = self.hits_scratch(bus, way, sum),
                Background::Fault => self.faults(bus, way, sum),
            }
        }
    }

    /// A bus frame that is refused whatever the background.
    pub(in crate::replay) fn off_limits(&self, bfn: u64, sum: &mut Summary) {
        for (way, _) in WAYS {
            self.faults(bfn * PAGE, way, sum);
        }
    }

    fn vacant(&self, place: Place, chance: &mut Chance, sum: &mut Summary) {
        match self.background {
            Background::Scratch => self.scratch(place, chance, sum),
            Background::Fault => self.refused(place, Access::all(), chance, sum),
        }
    }

    /// Both directions must hit the scratch page: it keeps what is written, and the memory that
    /// was mapped there does not see it.
    fn scratch(&self, place: Place, chance: &mut Chance, sum: &mut Summary) {
        if !WAYS.iter().all(|(way, _)| self.hits_scratch(place.bus, *way, sum)) {
            return;
        }
        let (mut before, mut after, mut pattern) = ([0; BYTES], [0; BYTES], [0; BYTES]);
        let mut seen = UNTOUCHED;
        chance.fill(&mut pattern);
        self.cpu_read(place, &mut before);
        sum.dma_checked += 2;
        let moved = self.bed.dma_write(self.device, place.bus, &pattern);
        match moved.and_then(|()| self.bed.dma_read(self.device, place.bus, &mut seen)) {
            Ok(()) if seen == pattern => sum.scratch_hits += 2,
            Ok(()) => sum.mismatch(|| self.tell(place, "the scratch page lost what was written")),
            Err(fault) => sum.fault(|| self.tell(place, &format!("scratch: {:?}", fault.reason))),
        }
        self.cpu_read(place, &mut after);
        if before != after {
            sum.mismatch(|| self.tell(place, "changed memory it may not reach"));
        }
    }

    fn hits_scratch(&self, bus: u64, way: Direction, sum: &mut Summary) -> bool {
        sum.dma_checked += 1;
        let hit = self.bed.dma_probe(self.device, bus, way);
        match hit {
            Ok(hit) if hit.reach == Reach::Scratch => sum.scratch_hits += 1,
            Ok(hit) => sum.mismatch(|| {
                self.tell_bus(bus, &format!("{way:?} hit {hit:?} instead of the scratch page"))
            }),
            Err(fault) => sum.fault(|| {
                self.tell_bus(bus, &format!("{way:?} not mapped, no scratch: {:?}", fault.reason))
            }),
        }
        hit.is_ok_and(|hit| hit.reach == Reach::Scratch)
    }

    fn faults(&self, bus: u64, way: Direction, sum: &mut Summary) {
        sum.dma_checked += 1;
        match self.bed.dma_probe(self.device, bus, way) {
            // What firmware needs is mapped one to one; the machine knows for whom.
            Ok(hit) if hit.frame.0 == bus / PAGE && self.bed.board().is_firmware(hit.frame) => {}
            Ok(hit) => sum.mismatch(|| {
                self.tell_bus(bus, &format!("{way:?} hit {hit:?} instead of being refused"))
            }),
            Err(_) => sum.faults_expected += 1,
        }
    }

    /// Until the flush a direction may go on to the former page, which is held as long, and
    /// nowhere else but to the background.
    fn former_or_vacant(&self, place: Place, access: Access, sum: &mut Summary) {
        let (former, _) = self.frame(place.memory);
        for (way, right) in WAYS {
            sum.dma_checked += 1;
            let scratch = self.background == Background::Scratch;
            match self.bed.dma_probe(self.device, place.bus, way) {
                Ok(hit) if hit.reach == Reach::Scratch && scratch => sum.scratch_hits += 1,
                Ok(hit)
                    if hit.frame == former
                        && access.contains(right)
                        && matches!(hit.reach, Reach::Held | Reach::Mmio) =>
                {
                    sum.stale_hits += 1;
                }
                Ok(hit) => sum.mismatch(|| {
                    let what = "which is neither its former page nor the background";
                    self.tell(place, &format!("{way:?} before the flush hit {hit:?}, {what}"))
                }),
                // What is cached may lack the right.
                Err(_) if !scratch || !access.contains(right) => sum.faults_expected += 1,
                Err(fault) => sum.fault(|| {
                    self.tell(place, &format!("{way:?} before the flush: {:?}", fault.reason))
                }),
            }
        }
    }

    fn tell_bus(&self, bus: u64, what: &str) -> String {
        format!("line {}: {} at {bus:#x}: {what}", self.line, self.device)
    }
}
