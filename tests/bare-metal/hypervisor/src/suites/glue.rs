//! What the hypervisor itself promises the service: frames, blocks, pages that leave, devices that change
//! hands, calls that give way, and several processors.

use core::sync::atomic::Ordering;

use pviommu_hypervisor::{
    DefaultMap, OptIns,
    abi::{AccessFlags, Background, Bfn, ContextId, Errno, Gfn, MapFlags, OwnershipMode},
    addr::{GfnRange, Mfn, PAGE_SHIFT},
    platform::Access,
};

use super::{Bench, Guest, Report, firmware_range};
use crate::{
    domains::{Block, DomainConfig},
    glue::Setup,
    machine::{
        edu::Edu,
        frames::FREE,
        memory::words,
        pci,
        processors::{self, both},
    },
};

const READ_WRITE: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
const PATTERN: u64 = 0xdead_f00d_0000_0000;
const BYTES: usize = 512;
const DEFAULT: ContextId = ContextId::DEFAULT;

/// The first device has a page of firmware's.
pub(super) fn setup() -> Setup {
    let first = pci::functions().find(|function| Edu::find(*function).is_some());
    let direct = FREE.place(1, |_| firmware_range(first.expect("there is an edu device"), 1));
    Setup { cpus: 2, direct, ..super::sabotage::setup() }
}

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) {
    let before = bench.in_use();
    memory_is_scrambled(bench, report);
    blocks_are_large_leaves(bench, report);
    pages_leave(bench, report);
    devices_change_hands(bench, report);
    registers_are_shown(bench, report);
    calls_give_way(bench, report);
    two_processors_call(bench, report);
    report.equal("all that was given out came back", bench.in_use(), before);
}

/// A guest whose device starts with a map of its memory, which knows that firmware uses the device.
fn config(default_map: DefaultMap) -> DomainConfig {
    let usual = DomainConfig::default();
    let opt_ins = usual.opt_ins | OptIns::DIRECT_RANGES;
    DomainConfig { default_map, opt_ins, pages: 512, ..usual }
}

/// The first word of the page of the guest at `gfn`, after the device has copied the page at `from` to it by
/// bus frames that are guest frames.
fn copy(bench: &Bench<'_>, guest: &Guest<'_>, from: Gfn, to: Bfn) {
    let edu = bench.edu(0);
    guest.fill(from, PATTERN);
    bench.dma_read(edu, from.0 << PAGE_SHIFT, BYTES);
    bench.dma_write(edu, to.0 << PAGE_SHIFT, BYTES);
}

fn memory_is_scrambled(bench: &Bench<'_>, report: &mut Report) {
    let guest = bench.guest(&config(DefaultMap::Blocked));
    let p2m = &guest.domain.p2m;
    let frame = |gfn: Gfn| p2m.frame(gfn).map_or(0, |frame| frame.0);
    let follows = |gfn: &Gfn| frame(*gfn) + 1 == frame(Gfn(gfn.0 + 1));
    report.equal(
        "no page follows on in the machine",
        guest.domain.gfns().filter(follows).count(),
        0,
    );
    let distinct = guest.domain.gfns().fold(0u128, |sum, gfn| sum + u128::from(frame(gfn)));
    let first = guest.domain.gfns().map(frame).min().unwrap_or_default();
    let should = (0..p2m.pages()).fold(0u128, |sum, page| sum + u128::from(first + page));
    report.equal("each frame is used once", distinct, should);
    bench.end(guest.domain);
}

fn blocks_are_large_leaves(bench: &Bench<'_>, report: &mut Report) {
    const BLOCKS: [(Block, usize, u32); 2] = [(Block::Large, 2048, 9), (Block::Huge, 1 << 18, 18)];
    for (block, pages, order) in BLOCKS {
        let large = DomainConfig { block, pages, ..config(DefaultMap::IdentityGfn) };
        // A whole GiB at a multiple of one there is with 2200 MiB of memory.
        let domain = match bench.hypervisor.create(&large) {
            Err(Errno::ENOMEM) => {
                log::info!("there is no memory for {block:?}");
                continue;
            }
            domain => domain.expect("a domain can be made"),
        };
        let guest = Guest::new(bench.hypervisor, domain, 0);
        bench.hypervisor.give(domain, bench.edu(0).function).expect("the device can be given away");
        let leaf = guest.iommu().lookup(DEFAULT, Bfn(600)).map(|found| found.order);
        report.equal(format_args!("{block:?}: a block is one leaf"), leaf, Ok(order));
        copy(bench, &guest, Gfn(700), Bfn(1900));
        let reached = guest.is_filled(Gfn(1900), PATTERN, BYTES / 8);
        report.holds(format_args!("{block:?}: a device reaches it"), reached);
        bench.hypervisor.replace(guest.domain, Gfn(1900)).expect("a page is replaced");
        copy(bench, &guest, Gfn(701), Bfn(1900));
        let reached = guest.is_filled(Gfn(1900), PATTERN, BYTES / 8);
        report.holds(format_args!("{block:?}: also where it was split"), reached);
        bench.end(guest.domain);
    }
}

fn pages_leave(bench: &Bench<'_>, report: &mut Report) {
    for map in [DefaultMap::IdentityGfn, DefaultMap::Guest] {
        let guest = bench.guest_with(&config(map), bench.edu(0));
        let old = guest.domain.p2m.frame(Gfn(9)).expect("it is memory");
        copy(bench, &guest, Gfn(8), Bfn(9));
        let there = guest.is_filled(Gfn(9), PATTERN, BYTES / 8);
        report.holds(format_args!("{map:?}: a device starts with the guest's memory"), there);
        let replaced = bench.hypervisor.replace(guest.domain, Gfn(9));
        report.check(format_args!("{map:?}: a page is replaced"), replaced);
        words(old, 1).iter().for_each(|word| word.store(0, Ordering::SeqCst));
        copy(bench, &guest, Gfn(8), Bfn(9));
        let untouched = words(old, 1).iter().all(|word| word.load(Ordering::SeqCst) == 0);
        report.holds(format_args!("{map:?}: the device does not reach the old one"), untouched);
        // A map that the guest is to take over is not kept in step.
        let reached = guest.is_filled(Gfn(9), PATTERN, BYTES / 8);
        report.equal(format_args!("{map:?}: it reaches the new one"), reached, map.need_iommu());
        bench.hypervisor.tell_faults();
        bench.end(guest.domain);
    }
}

fn devices_change_hands(bench: &Bench<'_>, report: &mut Report) {
    let edu = bench.edu(0);
    let (function, hypervisor) = (edu.function, bench.hypervisor);
    let device = hypervisor.devices.iter().find(|it| it.function() == function);
    let direct = device.and_then(|it| it.direct().next()).expect("firmware has a page for it");
    let page = words(Mfn(direct.range.first().0), 1);
    let reaches = || {
        page.iter().for_each(|word| word.store(u64::MAX, Ordering::SeqCst));
        pci::command(function, pci::BUS_MASTER, true);
        bench.dma_write(edu, direct.range.first().0 << PAGE_SHIFT, BYTES);
        page.first().is_some_and(|word| word.load(Ordering::SeqCst) != u64::MAX)
    };
    report.holds("a device that nobody has reaches firmware's page", reaches());
    let plain = bench.guest(&DomainConfig { pages: 512, ..DomainConfig::default() });
    let refused = hypervisor.give(plain.domain, function);
    report.equal("who does not know of firmware does not get it", refused, Err(Errno::EPERM));
    let guest = bench.guest_with(&config(DefaultMap::Guest), edu);
    report.holds("its owner's default map has the page", reaches());
    let refused = hypervisor.give(plain.domain, function);
    report.equal("nobody else gets it", refused, Err(Errno::EBUSY));
    report.check("it is taken away", hypervisor.take(guest.domain, function));
    guest.fill(Gfn(9), 1);
    pci::command(function, pci::BUS_MASTER, true);
    bench.dma_write(edu, 9 << PAGE_SHIFT, BYTES);
    report.holds("then it does not reach who had it", guest.is_filled(Gfn(9), 1, BYTES / 8));
    report.holds("but firmware's page", reaches());
    pci::command(function, pci::BUS_MASTER, false);
    hypervisor.tell_faults();
    bench.end(guest.domain);
    bench.end(plain.domain);
}

fn registers_are_shown(bench: &Bench<'_>, report: &mut Report) {
    let edu = bench.edu(0);
    let guest = bench.guest_with(&config(DefaultMap::Guest), edu);
    let frame = Mfn(edu.registers >> PAGE_SHIFT);
    // As the page with an MSI-X table is, which devices may read at most.
    let shown = GfnRange::of_pages(Gfn(0x1_0000), 4).expect("it is a range");
    report.holds("there is room", guest.domain.p2m.show(shown, frame, Access::READ));
    let iommu = guest.iommu();
    iommu.probe().expect("the service is there");
    iommu.take_ownership(OwnershipMode::CLEAR, Background::FAULT).expect("the map is its own");
    let mapped = iommu.map(DEFAULT, Bfn(0x2_0000), Gfn(0x1_0000), 4, READ_WRITE).map(|_| ());
    report.check("registers are mapped", mapped);
    let access = iommu.lookup(DEFAULT, Bfn(0x2_0003)).map(|found| found.access);
    report.equal("for what may be done with them, and no more", access, Ok(AccessFlags::READ));
    report.equal("and nothing is held for that", bench.in_use().references, 0);
    bench.end(guest.domain);
}

fn calls_give_way(bench: &Bench<'_>, report: &mut Report) {
    let guest = bench.guest_with(&config(DefaultMap::Guest), bench.edu(0));
    let impatient = &bench.hypervisor.iommu.platform().impatient;
    impatient.store(true, Ordering::SeqCst);
    let iommu = guest.iommu();
    report.check("the guest finds the service", iommu.probe().map(|_| ()));
    report.check(
        "it takes its map over",
        iommu.take_ownership(OwnershipMode::CLEAR, Background::FAULT),
    );
    let mapped = iommu.map(DEFAULT, Bfn(0x1000), Gfn(0), 400, READ_WRITE).map(|_| ());
    report.check("it maps, a little at a time", mapped);
    report.equal("as many pages are held", bench.in_use().references, 400);
    let unmapped = iommu.unmap(DEFAULT, Bfn(0x1000), 400).map(|_| ());
    report.check("it unmaps, a little at a time", unmapped);
    report.equal("and none is held any more", bench.in_use().references, 0);
    impatient.store(false, Ordering::SeqCst);
    bench.end(guest.domain);
}

fn two_processors_call(bench: &Bench<'_>, report: &mut Report) {
    // A clock that counts instructions knows one processor only.
    if processors::start() < 2 {
        log::info!("there is one processor");
        return;
    }
    let guest = bench.guest_with(&config(DefaultMap::Blocked), bench.edu(0));
    guest.iommu().probe().expect("the service is there");
    guest
        .iommu()
        .take_ownership(OwnershipMode::CLEAR, Background::FAULT)
        .expect("the map is its own");
    let rounds = bench.number("rounds").unwrap_or(200) as u64;
    let work = |cpu: usize| {
        let iommu = Guest::new(bench.hypervisor, guest.domain, cpu).iommu();
        for round in 0..rounds {
            let bfn = Bfn(0x4_0000 + 64 * (2 * (round % 7) + cpu as u64));
            iommu
                .map(DEFAULT, bfn, Gfn(100 * cpu as u64), 50, READ_WRITE)
                .expect("pages are mapped");
            iommu.unmap(DEFAULT, bfn, 50).expect("and unmapped");
        }
    };
    both(1, &|| work(1), || work(0));
    report.equal("two processors map and unmap, and nothing is held", bench.in_use().references, 0);
    bench.end(guest.domain);
}
