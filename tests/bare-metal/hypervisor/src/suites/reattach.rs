//! Devices move between contexts, and into quarantine and out of it, while they work.

use pviommu_hypervisor::{
    Background,
    abi::{AllocFlags, Bfn, ContextId, Gfn, MapFlags},
    addr::PAGE_SHIFT,
};

use super::{Bench, Report};
use crate::{
    domains::DomainConfig,
    glue::Setup,
    machine::{edu::Direction, pci},
};

const READ_WRITE: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
const BFN: Bfn = Bfn(0x3_0000_1000);
const BUS: u64 = BFN.0 << PAGE_SHIFT;
const BYTES: usize = 512;
const PATTERNS: [u64; 2] = [0xaaaa_0000_0000_0000, 0xbbbb_0000_0000_0000];

/// A device that nobody has hits a page that is nobody's.
pub(super) fn setup() -> Setup {
    Setup { quarantine: Background::Scratch, ..super::sabotage::setup() }
}

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    let before = bench.in_use();
    between_contexts(bench, report);
    quarantine(bench, report);
    report.equal("nothing is left of the guests", bench.in_use(), before);
}

fn between_contexts(bench: &Bench<'_>, report: &mut Report) {
    let edus = [bench.edu(0), bench.edu(1)];
    let guest = bench.guest_with(&DomainConfig::default(), edus[0]);
    bench.hypervisor.give(guest.domain, edus[1].function).expect("the device can be given away");
    let iommu = guest.iommu();
    iommu.probe().expect("the service is there");
    // The same bus frame in two contexts, and each device with data of its own.
    let contexts = [0, 1].map(|_| iommu.alloc_context(AllocFlags::empty()).expect("a context"));
    for (index, context) in contexts.into_iter().enumerate() {
        guest.fill(Gfn(2 + index as u64), PATTERNS[index]);
        let source = iommu.map(context, Bfn(1), Gfn(2 + index as u64), 1, MapFlags::READABLE);
        source.expect("a page is mapped");
        iommu.map(context, BFN, Gfn(4 + index as u64), 1, READ_WRITE).expect("a page is mapped");
        let moved = iommu.reattach_device(edus[index].function, context);
        report.check(format_args!("device {index} moves to a context"), moved);
        bench.dma_read(edus[index], 1 << PAGE_SHIFT, BYTES);
    }
    edus.iter().for_each(|edu| edu.start(Direction::ToMemory, BUS, BYTES));
    edus.iter().for_each(|edu| edu.finish().expect("the device copies"));
    let own = |index: usize| guest.is_filled(Gfn(4 + index as u64), PATTERNS[index], BYTES / 8);
    report.holds("one bus frame of two devices in two contexts is two pages", own(0) && own(1));

    for turn in 0..8 {
        let (from, to) = (turn % 2, (turn + 1) % 2);
        guest.fill(Gfn(4), 0);
        guest.fill(Gfn(5), 0);
        edus[0].start(Direction::ToMemory, BUS, BYTES);
        let moved = iommu.reattach_device(edus[0].function, contexts[to]);
        moved.expect("the device moves");
        edus[0].finish().expect("the device copies");
        let lands = |index: usize| guest.is_filled(Gfn(4 + index as u64), PATTERNS[0], BYTES / 8);
        if !lands(to) || lands(from) {
            report.check("what is under way goes where the device is", Err::<(), _>((turn, from)));
        }
    }
    report.equal("what is under way goes where the device is", bench.hypervisor.tell_faults(), 0);
    let back = iommu.reattach_device(edus[1].function, ContextId::DEFAULT);
    report.check("a device goes back to the default context", back);
    guest.fill(Gfn(5), 0);
    bench.dma_write(edus[1], BUS, BYTES);
    report.holds("where it reaches nothing", !own(1));
    bench.hypervisor.tell_faults();
    bench.end(guest.domain);
}

fn quarantine(bench: &Bench<'_>, report: &mut Report) {
    let edu = bench.edu(0);
    let first = bench.guest_with(&DomainConfig::default(), edu);
    let iommu = first.iommu();
    iommu.probe().expect("the service is there");
    let context = iommu.alloc_context(AllocFlags::empty()).expect("there is a context");
    first.fill(Gfn(3), PATTERNS[0]);
    iommu.map(context, BFN, Gfn(3), 1, READ_WRITE).expect("a page is mapped");
    iommu.reattach_device(edu.function, context).expect("the device moves");
    bench.dma_read(edu, BUS, BYTES);
    bench.dma_write(edu, BUS, BYTES);
    first.fill(Gfn(3), 0);
    edu.start(Direction::ToMemory, BUS, BYTES);
    report.check("a device is taken away", bench.hypervisor.take(first.domain, edu.function));
    // As a device that does not obey: it may send what it likes.
    pci::command(edu.function, pci::BUS_MASTER, true);
    edu.finish().expect("the device copies");
    bench.dma_write(edu, BUS, BYTES);
    report.holds("then it does not reach who had it", !first.is_filled(Gfn(3), PATTERNS[0], 1));
    report.equal(
        "and hits a page that is nobody's, without a fault",
        bench.hypervisor.tell_faults(),
        0,
    );
    pci::command(edu.function, pci::BUS_MASTER, false);
    bench.end(first.domain);

    let second = bench.guest_with(&DomainConfig::default(), edu);
    let iommu = second.iommu();
    iommu.probe().expect("the service is there");
    let context = iommu.alloc_context(AllocFlags::empty()).expect("there is a context");
    iommu.map(context, BFN, Gfn(7), 1, READ_WRITE).expect("a page is mapped");
    iommu.reattach_device(edu.function, context).expect("the device moves");
    bench.dma_write(edu, BUS, BYTES);
    let has = second.is_filled(Gfn(7), PATTERNS[0], BYTES / 8);
    report.holds("the next owner's pages are what it reaches then", has);
    bench.end(second.domain);
}
