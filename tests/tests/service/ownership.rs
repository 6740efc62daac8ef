//! Pages a guest may not map, and pages that leave it while they are mapped.

use pviommu_abi::{Errno, Gfn, Subop};
use pviommu_hypervisor::platform::UnitFeatures;
use pviommu_testbed::machine::{Config, FrameKind};

use crate::kit::{DEVICE, GUEST, RW, err, with, with_guest};
use pviommu_abi::MapFlags;
use pviommu_testbed::vm::{map_argument, unmap_argument};

/// INV-23: what the hypervisor keeps for itself is never a device's to write.
#[test]
fn a_page_of_a_protected_type_is_refused() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        vm.bed.board().set_page_kind(GUEST, Gfn(5), FrameKind::GuestTable).unwrap();
        assert_eq!(vm.map(context, 10, 4, 4, RW), (err(Errno::EPERM), 1));
        assert_eq!(vm.map(context, 20, 5, 1, MapFlags::WRITEABLE), (err(Errno::EPERM), 0));
        assert!(!vm.writes(DEVICE, 11));
        vm.bed.board().set_page_kind(GUEST, Gfn(5), FrameKind::Ram).unwrap();
        assert_eq!(vm.map(context, 11, 5, 1, RW), (0, 1));
        vm.end();
    });
}

/// INV-27: a page that is mapped does not leave the guest before its unmap is flushed.
#[test]
fn a_mapped_page_cannot_be_freed_until_it_is_unmapped() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        let board = vm.bed.board();
        assert_eq!(vm.map(context, 10, 3, 1, RW), (0, 1));
        assert_eq!(vm.map(context, 11, 3, 1, RW), (0, 1));
        assert!(board.free_page(GUEST, Gfn(3)).is_err());
        assert_eq!(vm.unmap(context, 10, 1), (0, 1));
        assert!(board.free_page(GUEST, Gfn(3)).is_err(), "it is mapped a second time");
        assert_eq!(vm.unmap(context, 11, 1), (0, 1));
        assert!(board.free_page(GUEST, Gfn(3)).is_ok());
        assert_eq!(vm.map(context, 10, 3, 1, RW), (err(Errno::ENOENT), 0));
        vm.end();
    });
}

/// Frames that no device may reach are refused, whatever the embedder says of their owner.
#[test]
fn a_frame_beyond_the_units_width_is_refused() {
    let mut config = Config::one_guest(1 << 16);
    config.units[0].host_address_bits = 29;
    with(&config, |vm| {
        let context = vm.attached_context();
        let reachable = |gfn: u64| {
            let frame = vm.bed.board().machine_frame(GUEST, Gfn(gfn)).unwrap();
            frame.0 < 1 << 17
        };
        let beyond = (0..1 << 16).find(|gfn| !reachable(*gfn)).unwrap();
        assert_eq!(vm.map(context, 10, beyond, 1, RW), (err(Errno::EPERM), 0));
        let run = (0..beyond).rev().take_while(|gfn| reachable(*gfn)).count() as u64;
        let pages = u32::try_from(run + 1).unwrap();
        if run > 0 {
            let mapped = vm.map(context, 100, beyond - run, pages, RW);
            assert_eq!(mapped, (err(Errno::EPERM), pages - 1));
        }
        assert_eq!(vm.bed.counters().references_live, run);
        vm.end();
    });
}

/// INV-50: each byte of an argument is read once.
#[test]
fn every_argument_is_read_exactly_once() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        let mut map = map_argument(context, 10, 1, 4, RW);
        let mut unmap = unmap_argument(context, 10, 4);
        let board = vm.bed.board();
        board.record_copies(true);
        assert_eq!(vm.op(Subop::MAP_PAGES, &mut map), 0);
        assert_eq!(vm.op(Subop::UNMAP_PAGES, &mut unmap), 0);
        board.record_copies(false);
        let copies = board.take_copies();
        let seen: Vec<_> = copies.iter().map(|copy| (copy.bytes, copy.out)).collect();
        assert_eq!(seen, [(40, false), (40, true), (32, false), (32, true)]);
        vm.end();
    });
}

/// INV-02: a unit that does not snoop sees a table only after it was published.
#[test]
fn units_that_do_not_snoop_see_every_change() {
    let mut config = Config::one_guest(2048);
    config.units[0].features.remove(UnitFeatures::COHERENT);
    with(&config, |vm| {
        let context = vm.attached_context();
        for round in 0..3 {
            assert_eq!(vm.map(context, 500 + round * 512, 0, 100, RW), (0, 100));
            assert!((0..100).all(|i| vm.lands_in(DEVICE, 500 + round * 512 + i, i)));
            assert_eq!(vm.unmap(context, 500 + round * 512, 50), (0, 50));
            assert!((0..50).all(|i| !vm.reads(DEVICE, 500 + round * 512 + i)));
            assert!((50..100).all(|i| vm.lands_in(DEVICE, 500 + round * 512 + i, i)));
        }
        vm.end();
    });
}

/// A platform method that finds one of its own locks held would deadlock: the testbed's takes one
/// and the same lock in each, and stops the test if a call comes from inside another.
#[test]
fn no_method_of_the_platform_is_called_from_inside_another() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 1, 1, 40, RW), (0, 40));
        // As an embedder that changes its P2M does.
        let freed = vm.bed.board().under_platform_lock(|| vm.bed.counters().references_live);
        assert_eq!(freed, 40);
        vm.end();
    });
}
