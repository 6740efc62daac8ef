//! Large leaves: when they form, that they are split for part of them, and what that costs.

use pviommu_abi::{Errno, Gfn};
use pviommu_hypervisor::{addr::GfnRange, platform::UnitFeatures};
use pviommu_testbed::machine::{Config, Step, When};

use crate::kit::{DEVICE, GUEST, RW, Vm, background_tables, err, over_scratch, with, with_guest};

const M2: u32 = 512;
const G1: u32 = 512 * 512;

/// A guest of 2 GiB whose second GiB is contiguous in the machine.
fn config() -> Config {
    let mut config = Config::one_guest(u64::from(2 * G1));
    config.domains[0].contiguous =
        vec![GfnRange::of_pages(Gfn(u64::from(G1)), u64::from(G1)).unwrap()];
    config
}

fn tables(vm: &Vm<'_>) -> u32 {
    vm.bed.counters().table_frames_live
}

fn reserved(vm: &Vm<'_>) -> u32 {
    vm.bed.counters().table_frames_reserved
}

#[test]
fn an_aligned_2_mib_map_of_contiguous_frames_is_one_leaf_with_its_split_paid() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        let gfn = u64::from(G1);
        assert_eq!(vm.map(context, 0x400, gfn, M2, RW), (0, M2));
        // Root and two tables below; no leaf table.
        assert_eq!((tables(vm), reserved(vm)), (3 + background_tables(), 1));
        assert!([0, 1, 255, 511].iter().all(|i| vm.lands_in(DEVICE, 0x400 + i, gfn + i)));
        assert_eq!(vm.unmap(context, 0x400, M2), (0, M2));
        assert_eq!(reserved(vm), 0);
        assert!(!vm.reads(DEVICE, 0x400) && !vm.reads(DEVICE, 0x5ff));
        vm.end();
    });
}

#[test]
fn an_aligned_1_gib_map_is_one_leaf_and_a_part_of_it_can_go() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        let (bfn, gfn) = (u64::from(G1), u64::from(G1));
        assert_eq!(vm.map(context, bfn, gfn, G1, RW), (0, G1));
        assert_eq!((tables(vm), reserved(vm)), (2 + background_tables(), 513));
        let end = u64::from(G1) - 1;
        assert!([0, 12345, end].iter().all(|i| vm.lands_in(DEVICE, bfn + i, gfn + i)));
        // One page out of the middle: all others stay, and no memory is asked for.
        vm.bed.schedule().set(Step::Alloc, When::From(1));
        assert_eq!(vm.unmap(context, bfn + 1000, 1), (0, 1));
        assert!(!vm.reads(DEVICE, bfn + 1000));
        assert!([0, 999, 1001, end].iter().all(|i| vm.lands_in(DEVICE, bfn + i, gfn + i)));
        assert_eq!((tables(vm), reserved(vm)), (4 + background_tables(), 511));
        assert_eq!(vm.unmap(context, bfn, 1000), (0, 1000));
        assert_eq!(vm.unmap(context, bfn + 1001, G1 - 1001), (0, G1 - 1001));
        assert_eq!((reserved(vm), vm.bed.counters().references_live), (0, 0));
        vm.bed.schedule().clear();
        vm.end();
    });
}

#[test]
fn scattered_frames_or_unaligned_bus_frames_make_small_leaves() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        // Scattered: the first GiB.
        assert_eq!(vm.map(context, 0x400, 0, M2, RW), (0, M2));
        // Contiguous, but not aligned with the bus frames.
        assert_eq!(vm.map(context, 0x801, u64::from(G1), M2, RW), (0, M2));
        assert_eq!(reserved(vm), 0);
        assert!((0..512).all(|i| vm.lands_in(DEVICE, 0x400 + i, i)));
        assert!((0..512).all(|i| vm.lands_in(DEVICE, 0x801 + i, u64::from(G1) + i)));
        vm.end();
    });
}

/// INV-15: no unit can reach what was only put aside.
#[test]
fn what_a_split_would_have_taken_is_given_back_though_the_flush_fails() {
    let mut config = Config::one_guest(1024);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 512, 512, 512, RW), (0, 512));
        assert_eq!(reserved(vm), 1);
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.unmap(context, 512, 512).0, err(Errno::EIO));
        vm.bed.schedule().clear();
        assert_eq!((reserved(vm), vm.bed.counters().references_live), (0, 512));
        let stats = vm.bed.domain(GUEST).stats();
        assert_eq!((stats.leaked_pages, stats.pinned_pages), (512, 512));
        assert_eq!(vm.bed.violations(), []);
    });
}

#[test]
fn without_memory_for_the_split_leaves_stay_small() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        vm.bed.schedule().set(Step::Reserve, When::From(1));
        assert_eq!(vm.map(context, 0x400, u64::from(G1), M2, RW), (0, M2));
        assert_eq!((tables(vm), reserved(vm)), (4 + background_tables(), 0));
        vm.bed.schedule().clear();
        vm.end();
    });
}

#[test]
fn a_unit_without_large_leaves_gets_none() {
    let mut config = config();
    config.units[0].features.remove(UnitFeatures::LEAF_1G | UnitFeatures::LEAF_2M);
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x400, u64::from(G1), M2, RW), (0, M2));
        assert_eq!((tables(vm), reserved(vm)), (4 + background_tables(), 0));
        vm.end();
    });
}

#[test]
fn a_map_over_a_part_of_a_large_leaf_is_refused() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x400, u64::from(G1), M2, RW), (0, M2));
        assert_eq!(vm.map(context, 0x3ff, 5, 2, RW), (err(Errno::EADDRINUSE), 1));
        assert_eq!(vm.map(context, 0x400, u64::from(G1), M2, RW), (err(Errno::EADDRINUSE), 0));
        assert!(vm.lands_in(DEVICE, 0x400, u64::from(G1)));
        assert_eq!(vm.bed.counters().references_live, 513);
        vm.end();
    });
}

#[test]
fn a_large_map_over_tables_that_are_there_uses_them() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x500, 7, 1, RW), (0, 1));
        let gfn = u64::from(G1);
        assert_eq!(vm.map(context, 0x400, gfn, M2, RW), (err(Errno::EADDRINUSE), 0x100));
        assert!(vm.lands_in(DEVICE, 0x4ff, gfn + 0xff) && vm.lands_in(DEVICE, 0x500, 7));
        vm.end();
    });
}

/// INV-06: an invalidation of leaves only would leave a split leaf's table unknown to the unit.
#[test]
fn a_split_invalidates_more_than_leaves() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        let gfn = u64::from(G1);
        assert_eq!(vm.map(context, 0x400, gfn, M2, RW), (0, M2));
        assert!(vm.lands_in(DEVICE, 0x400, gfn));
        let leaves = vm.bed.counters().leaf_flushes;
        assert_eq!(vm.unmap(context, 0x410, 1), (0, 1));
        assert_eq!(vm.bed.counters().leaf_flushes, leaves);
        assert!(!vm.writes(DEVICE, 0x410) && vm.lands_in(DEVICE, 0x411, gfn + 0x11));
        assert_eq!(vm.unmap(context, 0x411, 1), (0, 1));
        assert_eq!(vm.bed.counters().leaf_flushes, leaves + 1);
        vm.end();
    });
}

#[test]
fn mmio_is_mapped_without_references() {
    let mut config = Config::one_guest(16);
    config.domains[0].mmio = vec![GfnRange::of_pages(Gfn(0x1000), 8).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 50, 0x1000, 8, RW), (0, 8));
        assert_eq!(vm.bed.counters().references_live, 0);
        assert!(vm.writes(DEVICE, 57));
        assert_eq!(vm.unmap(context, 50, 8), (0, 8));
        assert!(!vm.writes(DEVICE, 57));
        vm.end();
    });
}

#[test]
fn the_domain_pays_for_tables_and_reservations_alike() {
    with_guest(16, |vm| {
        let order = if over_scratch() { 4 } else { 3 };
        assert_eq!(vm.init(4, order), 0);
        let context = vm.alloc().unwrap();
        // The root, 2 tables, what the background takes, a scratch page, and leaf tables of 2 MiB.
        let frames = 1 << order;
        let leaf_tables = frames - 3 - background_tables() - u32::from(over_scratch());
        let mapped = (0..16).filter(|i| vm.map(context, i * 512, 0, 1, RW) == (0, 1)).count();
        assert_eq!(mapped, leaf_tables as usize);
        assert_eq!(vm.map(context, 16 * 512, 0, 1, RW), (err(Errno::ENOMEM), 0));
        assert_eq!(vm.bed.domain(GUEST).stats().table_frames, frames);
        assert_eq!(vm.alloc(), Err(err(Errno::ENOMEM)));
        // Empty tables are given back when frames run out, however often the search gives way.
        assert_eq!(vm.unmap(context, 0, 1), (0, 1));
        assert_eq!(vm.bed.domain(GUEST).stats().table_frames, frames);
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        assert_eq!(vm.map(context, 16 * 512, 0, 1, RW), (0, 1));
        assert_eq!(vm.map(context, 17 * 512, 0, 1, RW), (err(Errno::ENOMEM), 0));
        vm.bed.schedule().clear();
        vm.end();
    });
}
