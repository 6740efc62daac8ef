//! A guest takes over its default context while a device works: what firmware needs is there at every
//! instant, and nothing but the guest's own pages and its scratch page is reached.

use core::cell::Cell;
use core::sync::atomic::Ordering;

use pviommu_hypervisor::{
    DefaultMap, OptIns,
    abi::{Background, Bfn, ContextId, Gfn, MapFlags, OwnershipMode},
    addr::{Mfn, PAGE_SHIFT},
};

use super::{Bench, Report, firmware_range};
use crate::{
    domains::DomainConfig,
    glue::Setup,
    machine::{
        edu::{Direction, Edu},
        frames::FREE,
        memory::words,
        pci,
    },
};

const READ_WRITE: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
const PATTERN: u64 = 0xc0de_cafe_0000_0000;
const BYTES: usize = 64;
/// The page that the device writes, by the same number on the bus.
const TARGET: Gfn = Gfn(9);

/// The first device has a page of firmware's.
pub(super) fn setup() -> Setup {
    let first = pci::functions().find(|function| Edu::find(*function).is_some());
    let direct = FREE.place(1, |_| firmware_range(first.expect("there is an edu device"), 1));
    Setup { direct, ..super::sabotage::setup() }
}

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    let before = bench.in_use();
    take_over(bench, (OwnershipMode::CLEAR, Background::SCRATCH), "clear", report);
    // What is kept keeps its background, too.
    take_over(bench, (OwnershipMode::KEEP, Background::default()), "keep", report);
    report.equal("nothing is left of the guests", bench.in_use(), before);
}

fn take_over(
    bench: &Bench<'_>,
    (mode, background): (OwnershipMode, Background),
    name: &str,
    report: &mut Report,
) {
    let usual = DomainConfig::default();
    let opt_ins = usual.opt_ins | OptIns::DIRECT_RANGES;
    let default_map = DefaultMap::Guest;
    let scratch = pviommu_hypervisor::Background::Scratch;
    let config = DomainConfig { default_map, background: scratch, opt_ins, pages: 512, ..usual };
    let edu = bench.edu(0);
    let guest = bench.guest_with(&config, edu);
    let stranger = bench.guest(&DomainConfig { pages: 512, ..usual });
    let work = Work::new(bench, edu);
    for page in guest.domain.gfns() {
        guest.poke(page, 0, page.0);
        stranger.poke(page, 0, page.0);
    }
    guest.fill(Gfn(8), PATTERN);
    bench.dma_read(edu, 8 << PAGE_SHIFT, BYTES);
    work.begin();

    let impatient = &bench.hypervisor.iommu.platform().impatient;
    impatient.store(true, Ordering::SeqCst);
    let between = || work.step();
    let iommu = guest.interrupted(&between).iommu();
    iommu.probe().expect("the service is there");
    let taken = iommu.take_ownership(mode, background);
    report.check(format_args!("{name}: the map is the guest's own"), taken);
    impatient.store(false, Ordering::SeqCst);
    (0..4).for_each(|_| work.step());
    work.end();
    report.holds(
        format_args!("{name}: {} copies to firmware's page land there", work.direct.get()),
        work.direct.get() > 2 && work.lost.get() == 0,
    );
    report.equal(format_args!("{name}: none of the copies faults"), work.faults.get(), 0);
    // The target and the arguments of calls are written on purpose.
    let touched = |page: &Gfn| *page != Gfn(8) && *page != TARGET && page.0 < 500;
    let whole = guest.domain.gfns().filter(touched).all(|page| guest.peek(page, 0) == page.0);
    report.holds(format_args!("{name}: no other page of the guest is written"), whole);
    let whole = stranger.domain.gfns().all(|page| stranger.peek(page, 0) == page.0);
    report.holds(format_args!("{name}: nor one of another domain"), whole);

    let free = Bfn(0x4_0000);
    let mapped = iommu.map(ContextId::DEFAULT, free, Gfn(10), 1, READ_WRITE).map(|_| ());
    report.check(format_args!("{name}: the guest maps what it likes"), mapped);
    bench.dma_write(edu, free.0 << PAGE_SHIFT, BYTES);
    let there = guest.is_filled(Gfn(10), PATTERN, BYTES / 8);
    report.holds(format_args!("{name}: and its device reaches it"), there);
    bench.end(guest.domain);
    bench.end(stranger.domain);
}

/// A device that copies to firmware's page and to a page of the guest, by turns.
struct Work<'b> {
    bench: &'b Bench<'b>,
    edu: &'b Edu,
    firmware: Mfn,
    to_firmware: Cell<bool>,
    direct: Cell<u32>,
    lost: Cell<u32>,
    faults: Cell<usize>,
}

impl<'b> Work<'b> {
    fn new(bench: &'b Bench<'b>, edu: &'b Edu) -> Self {
        let device = bench.hypervisor.devices.iter().find(|it| it.function() == edu.function);
        let direct = device.and_then(|it| it.direct().next()).expect("firmware has a page for it");
        let firmware = Mfn(direct.range.first().0);
        let (direct, lost) = (Cell::new(0), Cell::new(0));
        Self {
            bench,
            edu,
            firmware,
            to_firmware: Cell::new(true),
            direct,
            lost,
            faults: Cell::new(0),
        }
    }

    fn begin(&self) {
        words(self.firmware, 1).iter().for_each(|word| word.store(0, Ordering::SeqCst));
        let frame = if self.to_firmware.get() { self.firmware.0 } else { TARGET.0 };
        self.edu.start(Direction::ToMemory, frame << PAGE_SHIFT, BYTES);
    }

    /// The copy that is under way ends, and the next begins.
    fn step(&self) {
        self.end();
        self.to_firmware.set(!self.to_firmware.get());
        self.begin();
    }

    fn end(&self) {
        self.edu.finish().expect("the device copies");
        self.faults.set(self.faults.get() + self.bench.hypervisor.tell_faults());
        if self.to_firmware.get() {
            let first = words(self.firmware, 1).first().map(|word| word.load(Ordering::SeqCst));
            let count = if first == Some(PATTERN) { &self.direct } else { &self.lost };
            count.set(count.get() + 1);
        }
    }
}
