//! A unit that is brought up while it is on, as firmware may leave it; that slept; and that was left to the
//! next kernel after a crash.

use pviommu_hypervisor::{
    abi::{AllocFlags, Bfn, Gfn, MapFlags},
    addr::PAGE_SHIFT,
    format::FormatKind,
    platform::RegisterBlock,
};

use super::{Bench, Guest, Report};
use crate::{
    domains::DomainConfig,
    machine::{
        edu::{Direction, Edu},
        memory::PAGE,
        mmio,
    },
};

const READ_WRITE: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
const BFN: Bfn = Bfn(0x6_0000);
const BUS: u64 = BFN.0 << PAGE_SHIFT;
const PATTERN: u64 = 0x0ddb_a115_0000_0000;
const BYTES: usize = 128;

/// A guest and its device, with one page mapped.
struct Bed<'b> {
    bench: &'b Bench<'b>,
    edu: &'b Edu,
    guest: Guest<'b>,
}

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    let edu = bench.edu(0);
    let guest = bench.guest_with(&DomainConfig::default(), edu);
    let iommu = guest.iommu();
    iommu.probe().expect("the service is there");
    let context = iommu.alloc_context(AllocFlags::empty()).expect("there is a context");
    guest.fill(Gfn(3), PATTERN);
    iommu.map(context, Bfn(1), Gfn(3), 1, MapFlags::READABLE).expect("a page is mapped");
    iommu.map(context, BFN, Gfn(4), 1, READ_WRITE).expect("a page is mapped");
    iommu.reattach_device(edu.function, context).expect("the device moves");
    bench.dma_read(edu, 1 << PAGE_SHIFT, BYTES);
    let bed = Bed { bench, edu, guest };
    let unit = bench.unit();

    report.holds("a device works", bed.lands());
    bed.begin();
    report.check("the unit is brought up once more while it is on", unit.resume());
    report.holds("what was under way was translated", bed.ends());
    report.holds("what comes after it, too", bed.lands());
    report.holds("and nothing else is reached", bed.is_kept_in());

    report.check("the unit is about to sleep", unit.suspend());
    report.holds("it still translates", bed.lands());
    lose_registers(bench);
    report.holds("while it sleeps, its registers say nothing", bed.is_let_through());
    report.check("it wakes up", unit.resume());
    report.holds("what was mapped is mapped", bed.lands());
    report.holds("what was not is not", bed.is_kept_in());
    let iommu = bed.guest.iommu();
    report.check("a page is unmapped", iommu.unmap(context, BFN, 1).map(|_| ()));
    report.holds("and out of reach", !bed.lands());
    bench.hypervisor.tell_faults();
    unit.crash_shutdown();
    report.holds("a unit that is left to the next kernel is off", bed.is_let_through());
    report.check("which can bring it up", unit.resume());
    report.holds("and then nothing is reached that is not mapped", bed.is_kept_in());
    bench.end(bed.guest.domain);
}

/// As a unit does that was without power: nothing is left of what it was told.
fn lose_registers(bench: &Bench<'_>) {
    // Where QEMU has the registers of its units. Control comes first: the unit is off then.
    let (base, control, others) = match bench.unit().facts().format {
        FormatKind::VtdSecondStage => (0xfed9_0000, 0x18, [0x20, 0x88, 0x90]),
        FormatKind::AmdV1 => (0xfed8_0000, 0x18, [0x00, 0x08, 0x10]),
    };
    let registers = mmio(base, PAGE).expect("registers are where nothing is cached");
    registers.write32(control, 0);
    others.iter().for_each(|register| registers.write64(*register, 0));
}

impl Bed<'_> {
    fn begin(&self) {
        self.guest.fill(Gfn(4), 0);
        self.edu.start(Direction::ToMemory, BUS, BYTES);
    }

    fn ends(&self) -> bool {
        self.edu.finish().expect("the device copies");
        self.guest.is_filled(Gfn(4), PATTERN, BYTES / 8)
    }

    fn lands(&self) -> bool {
        self.begin();
        self.ends()
    }

    /// True if the number of a frame is what the device reaches it by.
    fn is_let_through(&self) -> bool {
        self.guest.fill(Gfn(4), 0);
        let frame = self.guest.domain.p2m.frame(Gfn(4)).expect("it is memory");
        self.bench.dma_write(self.edu, frame.0 << PAGE_SHIFT, BYTES);
        self.guest.is_filled(Gfn(4), PATTERN, BYTES / 8)
    }

    /// True if what is not mapped is not reached, by the number of the frame least of all.
    fn is_kept_in(&self) -> bool {
        self.guest.fill(Gfn(5), 0);
        let frame = self.guest.domain.p2m.frame(Gfn(5)).expect("it is memory");
        for page in [frame.0, 5, BFN.0 + 1] {
            self.bench.dma_write(self.edu, page << PAGE_SHIFT, BYTES);
        }
        self.bench.hypervisor.tell_faults();
        self.guest.is_filled(Gfn(5), 0, BYTES / 8)
    }
}
