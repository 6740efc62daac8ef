//! Devices behind a conventional bridge carry the bridge's id: they are one device, whoever asks.

use pviommu_hypervisor::{
    abi::{AllocFlags, Bfn, Errno, FaultRecord, Gfn, MapFlags},
    addr::PAGE_SHIFT,
};

use super::{Bench, Report};
use crate::{domains::DomainConfig, machine::edu::Edu};

const READ_WRITE: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
const BFN: Bfn = Bfn(0x5_0000);
const PATTERN: u64 = 0xb00b_1e00_0000_0000;
const BYTES: usize = 512;

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    const NAME: &str = "devices behind a conventional bridge are one";
    if !bench.tells_faults() {
        report.leave_out(NAME, "QEMU has their requests carry an id of bus 0 with this unit");
    }
    let before = bench.in_use();
    let behind = |edu: &&Edu| {
        let device = bench.hypervisor.devices.iter();
        let mut device = device.filter(|it| it.functions().any(|it| it == edu.function));
        device.next().is_some_and(|it| it.functions().any(|other| other != edu.function))
    };
    let mut pair = bench.edus().filter(behind);
    let (Some(one), Some(other)) = (pair.next(), pair.next()) else {
        report.check(NAME, Err::<(), _>("no two are"));
        return;
    };
    let guest = bench.guest_with(&DomainConfig::default(), one);
    report.holds("who is given one has both", guest.domain.has(other.function));
    let stranger = bench.guest(&DomainConfig { pages: 512, ..DomainConfig::default() });
    let refused = bench.hypervisor.give(stranger.domain, other.function);
    report.equal("and nobody else gets the other", refused, Err(Errno::EBUSY));
    let iommu = guest.iommu();
    iommu.probe().expect("the service is there");
    let context = iommu.alloc_context(AllocFlags::empty()).expect("there is a context");
    report.check("one moves to a context", iommu.reattach_device(one.function, context));
    if bench.tells_faults() {
        guest.fill(Gfn(3), PATTERN);
        iommu.map(context, Bfn(1), Gfn(3), 1, MapFlags::READABLE).expect("a page is mapped");
        iommu.map(context, BFN, Gfn(4), 1, READ_WRITE).expect("a page is mapped");
        for (edu, name) in [(one, "it"), (other, "the other, too")] {
            bench.dma_read(edu, 1 << PAGE_SHIFT, BYTES);
            guest.fill(Gfn(4), 0);
            bench.dma_write(edu, BFN.0 << PAGE_SHIFT, BYTES);
            let there = guest.is_filled(Gfn(4), PATTERN, BYTES / 8);
            report.holds(format_args!("{name} reaches what is mapped there"), there);
        }
        report.equal("nothing was refused", bench.hypervisor.tell_faults(), 0);
        bench.dma_write(other, (BFN.0 + 1) << PAGE_SHIFT, BYTES);
        report.equal("what is not mapped is refused", bench.hypervisor.tell_faults(), 1);
        let mut room = [FaultRecord::default(); 2];
        let faults = iommu.read_faults(&mut room).expect("faults can be read");
        let page = faults.records.first().map(|it| it.address >> PAGE_SHIFT);
        report.equal(
            "and their owner is told, by an id that is no function's",
            page,
            Some(BFN.0 + 1),
        );
    }
    bench.end(guest.domain);
    bench.end(stranger.domain);
    report.equal("nothing is left of the guests", bench.in_use(), before);
}
