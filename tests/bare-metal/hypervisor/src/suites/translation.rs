//! What a guest maps is what its devices reach, and nothing else.

use pviommu_hypervisor::{
    abi::{AccessFlags, AllocFlags, Bfn, ContextId, FaultRecord, FreeFlags, Gfn, MapFlags},
    addr::PAGE_SHIFT,
};

use super::{Bench, Break, Guest, Report, SABOTAGE};
use crate::{
    domains::DomainConfig,
    machine::{edu::Edu, memory::WORDS},
};

const READ_WRITE: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
/// A bus frame that is no guest frame and no frame of memory.
const BFN: Bfn = Bfn(0x1_2345_6789);
const PATTERN: u64 = 0x5ca1_ab1e_0000_0000;
const BYTES: usize = 1024;

/// A guest with a device in a context of its own.
struct Bed<'b> {
    bench: &'b Bench<'b>,
    edu: &'b Edu,
    guest: Guest<'b>,
    context: ContextId,
}

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    let before = bench.in_use();
    let edu = bench.edu(0);
    let guest = bench.guest_with(&DomainConfig::default(), edu);
    let iommu = guest.iommu();
    report.check("the guest finds the service", iommu.probe().map(|_| ()));
    let context = iommu.alloc_context(AllocFlags::empty()).expect("there is a context");
    report.check("its device moves to a context", iommu.reattach_device(edu.function, context));

    let bed = Bed { bench, edu, guest, context };
    bed.what_is_mapped_is_reached(report);
    bed.access_is_what_was_asked_for(report);
    bed.pages_are_taken_one_by_one(report);
    bed.what_is_not_is_blocked_and_told(report);
    // So that no table goes with the page: the flush for that is of far more.
    let neighbour = Bfn(BFN.0 + 1);
    iommu.map(context, neighbour, Gfn(6), 1, READ_WRITE).expect("a page is mapped");
    for what in [Break::NoInvalidation, Break::OtherTag, Break::OtherPages] {
        bed.a_missing_invalidation_is_seen(what, report);
    }

    let freed = iommu.free_context(context, FreeFlags::REATTACH_DEFAULT);
    report.check("the context is freed", freed);
    bench.end(guest.domain);
    report.equal("nothing is left of the guest", bench.in_use(), before);
}

impl Bed<'_> {
    /// Fills the device's buffer with what is in `gfn`, through a mapping of its own.
    fn load(&self, gfn: Gfn) {
        let iommu = self.guest.iommu();
        iommu.map(self.context, Bfn(1), gfn, 1, MapFlags::READABLE).expect("a page is mapped");
        self.bench.dma_read(self.edu, 1 << PAGE_SHIFT, BYTES);
        iommu.unmap(self.context, Bfn(1), 1).expect("and unmapped");
    }

    fn write(&self, bfn: Bfn) {
        self.bench.dma_write(self.edu, bfn.0 << PAGE_SHIFT, BYTES);
    }

    /// How many pages of the guest's memory hold the pattern from their begin on.
    fn copies(&self) -> usize {
        self.guest
            .domain
            .gfns()
            .filter(|gfn| self.guest.is_filled(*gfn, PATTERN, BYTES / 8))
            .count()
    }

    fn what_is_mapped_is_reached(&self, report: &mut Report) {
        let (source, target) = (Gfn(3), Gfn(4));
        self.guest.fill(source, PATTERN);
        self.load(source);
        let mapped = self.guest.iommu().map(self.context, BFN, target, 1, READ_WRITE);
        report.check("a page is mapped", mapped.map(|_| ()));
        self.write(BFN);
        let there = self.guest.is_filled(target, PATTERN, BYTES / 8);
        report.holds("what the device writes is in the page", there);
        report.equal("and nowhere else", self.copies(), 2);
        report.equal("nothing was refused", self.bench.hypervisor.tell_faults(), 0);
    }

    /// On pages that the unit has not seen: it records no access to one that it has cached.
    fn access_is_what_was_asked_for(&self, report: &mut Report) {
        let iommu = self.guest.iommu();
        let (read_only, write_only) = (Bfn(BFN.0 + 0x100), Bfn(BFN.0 + 0x101));
        let pages =
            [(read_only, Gfn(20), MapFlags::READABLE), (write_only, Gfn(21), MapFlags::WRITEABLE)];
        for (bfn, gfn, access) in pages {
            iommu.map(self.context, bfn, gfn, 1, access).expect("a page is mapped");
        }
        self.guest.fill(Gfn(20), 7);
        self.write(read_only);
        report.holds(
            "a page that may be read only is not written",
            self.guest.is_filled(Gfn(20), 7, BYTES / 8),
        );
        self.write(write_only);
        let there = self.guest.is_filled(Gfn(21), PATTERN, BYTES / 8);
        report.holds("one that may be written is", there);
        // What is read of it is nothing: the device has zeros then.
        self.bench.dma_read(self.edu, write_only.0 << PAGE_SHIFT, BYTES);
        iommu.map(self.context, Bfn(2), Gfn(22), 1, READ_WRITE).expect("a page is mapped");
        self.write(Bfn(2));
        let secret = self.guest.is_filled(Gfn(22), PATTERN, 1);
        report.holds("one that may be written only is not read", !secret);
        let faults = self.bench.hypervisor.tell_faults();
        if self.bench.tells_faults() {
            report.holds("the unit tells of either", faults > 0);
            let mut room = [FaultRecord::default(); 4];
            iommu.read_faults(&mut room).expect("faults can be read");
        }
        for (bfn, ..) in pages {
            iommu.unmap(self.context, bfn, 1).expect("and unmapped");
        }
        iommu.unmap(self.context, Bfn(2), 1).expect("and unmapped");
        [20, 21, 22].into_iter().for_each(|gfn| self.guest.fill(Gfn(gfn), 0));
        self.load(Gfn(3));
    }

    /// A copy that crosses pages whose frames are no neighbours, of which one is not mapped.
    fn pages_are_taken_one_by_one(&self, report: &mut Report) {
        let iommu = self.guest.iommu();
        let (bfn, half) = (Bfn(BFN.0 + 0x200), (BYTES / 2) as u64);
        iommu.map(self.context, bfn, Gfn(30), 2, READ_WRITE).expect("two pages are mapped");
        let across = ((bfn.0 + 1) << PAGE_SHIFT) - half;
        let halves = || {
            let words = BYTES / 16;
            let first = (0..words).all(|word| {
                self.guest.peek(Gfn(30), WORDS - words + word) == PATTERN ^ word as u64
            });
            let second = (0..words)
                .all(|word| self.guest.peek(Gfn(31), word) == PATTERN ^ (words + word) as u64);
            (first, second)
        };
        self.bench.dma_write(self.edu, across, BYTES);
        report.equal("a copy across two pages lands in both", halves(), (true, true));
        [30, 31].into_iter().for_each(|gfn| self.guest.fill(Gfn(gfn), 0));
        iommu.unmap(self.context, Bfn(bfn.0 + 1), 1).expect("one is unmapped");
        self.bench.dma_write(self.edu, across, BYTES);
        report.equal("and in none that is not mapped", halves().1, false);
        self.bench.hypervisor.tell_faults();
        let mut room = [FaultRecord::default(); 4];
        iommu.read_faults(&mut room).expect("faults can be read");
        iommu.unmap(self.context, bfn, 1).expect("and unmapped");
        [30, 31].into_iter().for_each(|gfn| self.guest.fill(Gfn(gfn), 0));
    }

    fn what_is_not_is_blocked_and_told(&self, report: &mut Report) {
        let iommu = self.guest.iommu();
        self.guest.fill(Gfn(4), 0);
        report.check("a page is unmapped", iommu.unmap(self.context, BFN, 1).map(|_| ()));
        self.write(BFN);
        report.equal("what the device writes there is nowhere", self.copies(), 1);
        if self.bench.tells_faults() {
            report.equal("the unit tells of it", self.bench.hypervisor.tell_faults(), 1);
            let mut room = [FaultRecord::default(); 4];
            let faults = iommu.read_faults(&mut room).expect("faults can be read");
            let told = faults
                .records
                .first()
                .map(|it| (it.device.id, it.address >> PAGE_SHIFT, it.access));
            let should = (u64::from(self.edu.function.sbdf()), BFN.0, AccessFlags::WRITE);
            report.equal("and the guest reads of it", told, Some(should));
        }
    }

    /// What a device has used lately it still reaches if the unit is not told: else this suite proves nothing.
    fn a_missing_invalidation_is_seen(&self, what: Break, report: &mut Report) {
        if what == Break::OtherPages && !self.bench.tells_pages_apart() {
            return;
        }
        let iommu = self.guest.iommu();
        iommu.map(self.context, BFN, Gfn(4), 1, READ_WRITE).expect("a page is mapped");
        self.write(BFN);
        self.guest.fill(Gfn(4), 0);
        SABOTAGE.set(what);
        iommu.unmap(self.context, BFN, 1).expect("and unmapped");
        SABOTAGE.set(Break::Nothing);
        self.write(BFN);
        let seen = self.guest.is_filled(Gfn(4), PATTERN, BYTES / 8);
        report.holds(format_args!("{what:?} is seen: the old page is still reached"), seen);
        self.guest.fill(Gfn(4), 0);
        // The same once more, with nothing left out, makes the unit forget it.
        iommu.map(self.context, BFN, Gfn(5), 1, READ_WRITE).expect("a page is mapped");
        iommu.unmap(self.context, BFN, 1).expect("and unmapped");
        self.write(BFN);
        report.equal(format_args!("{what:?} is made good for"), self.copies(), 1);
        self.bench.hypervisor.tell_faults();
    }
}
