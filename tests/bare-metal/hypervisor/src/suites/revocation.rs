//! What was unmapped is out of reach, also of a copy that was begun before: and a unit that is not told lets
//! it through, so that this would be seen.

use pviommu_hypervisor::{
    abi::{AllocFlags, Bfn, ContextId, Gfn, MapFlags},
    addr::PAGE_SHIFT,
};

use super::{Bench, Break, Guest, Report, SABOTAGE};
use crate::{
    domains::DomainConfig,
    machine::edu::{Direction, Edu},
};

const READ_WRITE: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
const BFN: Bfn = Bfn(0x7_6543_2100);
const SOURCE: Gfn = Gfn(3);
const TARGET: Gfn = Gfn(4);
const OTHER: Gfn = Gfn(5);
const PATTERN: u64 = 0xfeed_beef_0000_0000;
const BYTES: usize = 256;

/// A guest, its device in a context of its own, and what the device has in its buffer.
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
    iommu.probe().expect("the service is there");
    let context = iommu.alloc_context(AllocFlags::empty()).expect("there is a context");
    iommu.reattach_device(edu.function, context).expect("the device moves");
    // So that no table goes with a page: a flush of tables is of far more.
    iommu.map(context, Bfn(BFN.0 + 1), Gfn(6), 1, READ_WRITE).expect("a page is mapped");
    guest.fill(SOURCE, PATTERN);

    let bed = Bed { bench, edu, guest, context };
    bed.load();
    report.holds("a copy that is under way lands", bed.lands_in(TARGET, |_| {}));
    let unmapped = |bed: &Bed<'_>| bed.unmap();
    report.holds("not after an unmap meanwhile", !bed.lands_in(TARGET, unmapped));
    report.holds("nor anywhere else", !bed.guest.is_filled(OTHER, PATTERN, BYTES / 8));
    let moved = |bed: &Bed<'_>| {
        bed.unmap();
        bed.map(OTHER);
    };
    report.holds("the old page is untouched where another is mapped", !bed.lands_in(TARGET, moved));
    report.holds("and the new one has it all", bed.guest.is_filled(OTHER, PATTERN, BYTES / 8));
    bed.unmap();
    for what in [Break::NoInvalidation, Break::OtherTag, Break::OtherPages] {
        let name = format_args!("{what:?}: the copy under way hits the old page, and is seen");
        if what == Break::OtherPages && !bench.tells_pages_apart() {
            report.leave_out(name, "this unit forgets the whole domain");
            continue;
        }
        bed.load();
        let broken = |bed: &Bed<'_>| {
            SABOTAGE.set(what);
            bed.unmap();
            SABOTAGE.set(Break::Nothing);
        };
        report.holds(name, bed.lands_in(TARGET, broken));
        // What the unit was not told it is told now.
        bed.map(OTHER);
        bed.unmap();
    }
    bench.end(guest.domain);
    report.equal("nothing is left of the guest", bench.in_use(), before);
}

impl Bed<'_> {
    fn map(&self, gfn: Gfn) {
        let mapped = self.guest.iommu().map(self.context, BFN, gfn, 1, READ_WRITE);
        mapped.expect("a page is mapped");
    }

    fn unmap(&self) {
        self.guest.iommu().unmap(self.context, BFN, 1).expect("a page is unmapped");
    }

    /// Fills the device's buffer.
    fn load(&self) {
        self.map(SOURCE);
        self.bench.dma_read(self.edu, BFN.0 << PAGE_SHIFT, BYTES);
        self.unmap();
    }

    /// Maps the target, which the unit then has cached, begins a copy to it, and does something meanwhile; true
    /// if it lands in `gfn`. What is mapped in the end stays.
    fn lands_in(&self, gfn: Gfn, meanwhile: impl Fn(&Self)) -> bool {
        let bus = BFN.0 << PAGE_SHIFT;
        // Perhaps something else is mapped still.
        let _ = self.guest.iommu().unmap(self.context, BFN, 1);
        self.map(TARGET);
        self.bench.dma_write(self.edu, bus, BYTES);
        self.guest.fill(TARGET, 0);
        self.guest.fill(OTHER, 0);
        self.edu.start(Direction::ToMemory, bus, BYTES);
        assert!(self.edu.is_busy(), "the copy is over before anything can happen meanwhile");
        meanwhile(self);
        assert!(self.edu.is_busy(), "the copy was over too soon: it shows nothing");
        self.edu.finish().expect("the device copies");
        self.bench.hypervisor.tell_faults();
        self.guest.is_filled(gfn, PATTERN, BYTES / 8)
    }
}
