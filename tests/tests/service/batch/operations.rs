//! What the operations of a batch do, one by one.

use pviommu_abi::{BatchElement, BatchOp, Bfn, ElementFlags, Errno, Gfn};
use pviommu_hypervisor::{addr::GfnRange, platform::UnitFeatures};
use pviommu_testbed::machine::{Config, Step};

use crate::batch::kit::{
    READ_WRITE, RUN_ALL, STOP, element, flush, lookup, map, run, run_one, skip_holes, statuses,
    unmap, unmap_later,
};
use crate::kit::{DEVICE, GUEST, RW, err, with, with_guest};

#[test]
fn a_lookup_tells_the_guest_frame_and_the_access() {
    let mut config = Config::one_guest(2048);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        let only = |flags| element(BatchOp::MAP, flags, 0x10, 3, 2);
        let read = BatchElement { bfn: Bfn(0x20), ..only(ElementFlags::READ) };
        let write =
            BatchElement { bfn: Bfn(0x30), ..only(ElementFlags::WRITE | ElementFlags::CACHE) };
        let mut elements = [
            only(READ_WRITE | ElementFlags::NOEXEC),
            read,
            write,
            map(0x400, 512, 512),
            lookup(0x11),
            lookup(0x21),
            lookup(0x31),
            // Inside a large leaf.
            lookup(0x4ab),
            lookup(0x12),
            // The interrupt range, and the last bus frame there is.
            lookup(0xfee00),
            lookup((1 << 36) - 1),
            lookup(1 << 36),
        ];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 12));
        let found =
            |i: usize| (elements[i].status, elements[i].page, elements[i].flags, elements[i].done);
        assert_eq!(found(4), (0, 4, READ_WRITE, 1));
        assert_eq!(found(5), (0, 4, ElementFlags::READ, 1));
        assert_eq!(found(6), (0, 4, ElementFlags::WRITE, 1));
        assert_eq!(found(7), (0, 512 + 0xab, READ_WRITE, 1));
        let nothing = Err(Errno::ENOENT);
        assert_eq!(statuses(&elements[8..]), [nothing, nothing, nothing, Err(Errno::EINVAL)]);
        for failed in &elements[8..] {
            assert_eq!((failed.page, failed.flags, failed.done), (0, ElementFlags::empty(), 0));
        }
        vm.end();
    });
}

#[test]
fn with_mmio_only_registers_are_mapped() {
    let mut config = Config::one_guest(64);
    config.domains[0].mmio = vec![GfnRange::of_pages(Gfn(0xf_0000), 8).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        let registers = READ_WRITE | ElementFlags::MMIO;
        let mmio = |bfn, gfn, nr| element(BatchOp::MAP, registers, bfn, gfn, nr);
        assert_eq!(run_one(vm, context, mmio(100, 0xf_0000, 8)), (0, 8));
        assert!(vm.writes(DEVICE, 107));
        assert_eq!(run_one(vm, context, mmio(200, 5, 1)), (err(Errno::EPERM), 0));
        assert_eq!(run_one(vm, context, mmio(200, 0x1000, 1)), (err(Errno::ENOENT), 0));
        assert_eq!(vm.bed.counters().references_live, 0, "what is no register is not kept");
        assert!(vm.hits_background(DEVICE, 200));
        assert_eq!(run_one(vm, context, unmap(100, 8)), (0, 8));
        assert!(vm.hits_background(DEVICE, 100));
        vm.end();
    });
}

/// No entry tells privileged requests from others: asked for, it must not be left out.
#[test]
fn a_page_for_privileged_requests_only_is_refused() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let flags = READ_WRITE | ElementFlags::PRIVILEGED;
        for op in [BatchOp::MAP, BatchOp::MAP_LIST] {
            let (status, done) = run_one(vm, context, element(op, flags, 100, 1, 1));
            assert_eq!((status, done), (err(Errno::EOPNOTSUPP), 0));
        }
        assert!(vm.hits_background(DEVICE, 100));
        vm.end();
    });
}

/// Sparse ranges are passed over by the tables: quickly, and with looks whether to give way.
#[test]
fn holes_are_passed_over_however_many_there_are() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        // 2^32 pages that are all memory, as far as the machine goes.
        let first = 1u64 << 28;
        let all = u32::MAX;
        let places = [0, 511, 512, 1 << 18, (1 << 30) + 7, u64::from(all) - 1];
        for (i, place) in (0u64..).zip(places) {
            assert_eq!(vm.map(context, first + place, i, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, first + place, i));
        }
        assert_eq!(vm.map(context, first + u64::from(all), 7, 1, RW), (0, 1));
        let looks = vm.bed.schedule().calls(Step::Yield);
        assert_eq!(run_one(vm, context, skip_holes(first, all)), (0, all));
        let looks = vm.bed.schedule().calls(Step::Yield) - looks;
        assert!((1..4096).contains(&looks), "{looks} looks");
        assert!(places.iter().all(|place| vm.hits_background(DEVICE, first + place)));
        assert!(vm.lands_in(DEVICE, first + u64::from(all), 7), "the page behind is left alone");
        assert_eq!(vm.bed.counters().references_live, 1);
        // Nothing at all, and up to the end of the aperture.
        assert_eq!(run_one(vm, context, skip_holes(first, all)), (0, all));
        assert_eq!(run_one(vm, context, skip_holes((1 << 36) - 5, 5)), (0, 5));
        vm.end();
    });
}

#[test]
fn holes_are_passed_over_at_every_place_of_a_range() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        for pattern in 0u64..64 {
            // Over the end of a leaf table.
            let bfns = |mapped: bool| (0..6).filter(move |i| (pattern >> i & 1 == 1) == mapped);
            for i in bfns(true) {
                assert_eq!(vm.map(context, 509 + i, i, 1, RW), (0, 1));
                assert!(vm.lands_in(DEVICE, 509 + i, i));
            }
            assert_eq!(run_one(vm, context, skip_holes(509, 6)), (0, 6), "{pattern:#b}");
            assert!((0..6).all(|i| vm.hits_background(DEVICE, 509 + i)));
            assert_eq!(vm.bed.counters().references_live, 0);
        }
        vm.end();
    });
}

/// A unit that caches what is not mapped: a map without a flush is seen after the flush.
#[test]
fn a_map_that_is_not_flushed_is_seen_after_a_flush() {
    for whole in [false, true] {
        let mut config = Config::one_guest(64);
        config.units[0].features.insert(UnitFeatures::CACHES_NOT_PRESENT);
        with(&config, |vm| {
            let context = vm.attached_context();
            assert!(vm.hits_background(DEVICE, 100));
            let later = element(BatchOp::MAP, READ_WRITE | ElementFlags::NO_FLUSH, 100, 3, 2);
            assert_eq!(run_one(vm, context, later), (0, 2));
            let flushed = if whole { flush(0, 0) } else { flush(100, 2) };
            assert_eq!(run_one(vm, context, flushed), (0, if whole { 0 } else { 2 }));
            assert!(vm.lands_in(DEVICE, 100, 3) && vm.lands_in(DEVICE, 101, 4));
            vm.end();
        });
    }
}

#[test]
fn an_unmap_and_its_flush_fit_one_batch() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 100, 3, 4, RW), (0, 4));
        assert!((0..4).all(|i| vm.lands_in(DEVICE, 100 + i, 3 + i)));
        let mut elements =
            [unmap_later(100, 2), unmap_later(102, 2), flush(100, 4), map(101, 9, 1)];
        assert_eq!(run(vm, context, STOP, &mut elements), (0, 4));
        assert_eq!(
            elements.map(|element| (element.status, element.done)),
            [(0, 2), (0, 2), (0, 4), (0, 1)]
        );
        assert!(vm.hits_background(DEVICE, 100) && vm.lands_in(DEVICE, 101, 9));
        assert_eq!(vm.bed.counters().references_live, 1);
        vm.end();
    });
}

/// A guest that leaves flushes for later and finds nothing there leaves nothing behind.
#[test]
fn an_unmap_for_later_that_finds_only_holes_leaves_nothing() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let flags = ElementFlags::NO_FLUSH | ElementFlags::SKIP_HOLES;
        let later = element(BatchOp::UNMAP, flags, 100, 0, 700);
        assert_eq!(run_one(vm, context, later), (0, 700));
        assert_eq!(run_one(vm, context, unmap_later(100, 1)), (err(Errno::ENOENT), 0));
        assert_eq!(vm.bed.domain(GUEST).stats().deferred_pages, 0);
        vm.end();
    });
}
