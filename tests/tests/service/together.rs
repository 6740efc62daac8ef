//! What comes together is done together: single pages of a batch, large leaves, table frames of a large map.

use pviommu_abi::{BatchElement, ContextId, Gfn};
use pviommu_hypervisor::{DefaultMap, Role, addr::GfnRange, platform::UnitFeatures};
use pviommu_testbed::machine::{Config, Work};

use crate::batch::kit::{RUN_ALL, map, run, unmap};
use crate::kit::{DEVICE, GUEST, RW, Vm, with, with_guest};

fn work_of(vm: &Vm<'_>, act: impl FnOnce()) -> impl Fn(Work) -> u64 {
    let all = vm.bed.board().work_of(act);
    move |work| all[work as usize]
}

/// Runs a batch, all of which succeeds.
fn batch(vm: &Vm<'_>, context: ContextId, of: impl Fn(u64) -> BatchElement) {
    let mut elements: Vec<_> = (0..100).map(of).collect();
    assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 100));
    assert!(elements.iter().all(|element| (element.status, element.done) == (0, 1)));
}

#[test]
fn single_pages_are_acquired_by_one_call_and_their_table_is_walked_to_once() {
    with_guest(2000, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 500, 0, 1, RW), (0, 1));
        let maps = work_of(vm, || batch(vm, context, |n| map(n * 2, 64 + n * 7, 1)));
        assert_eq!(maps(Work::Acquires), 1);
        let unmaps = work_of(vm, || batch(vm, context, |n| unmap(n * 2, 1)));
        assert!(maps(Work::Tables) < 10 && unmaps(Work::Tables) < 10);
        vm.end();
    });
}

/// Also where each takes a table first.
#[test]
fn single_pages_of_many_tables_are_acquired_by_one_call() {
    with_guest(2000, |vm| {
        let context = vm.attached_context();
        let maps = work_of(vm, || batch(vm, context, |n| map(n * 512, 64 + n * 7, 1)));
        assert_eq!((maps(Work::Acquires), maps(Work::Released)), (1, 0));
        vm.end();
    });
}

/// A guest whose memory from guest frame 0x1000 on is `blocks` of 2 MiB, in one piece or each by itself.
fn blocks(blocks: u64, is_one: bool) -> Config {
    let mut config = Config::one_guest(64);
    let domain = &mut config.domains[0];
    let pages = if is_one { blocks * 512 } else { 512 };
    let each = (0..blocks * 512 / pages).map(|n| Gfn(0x1000 + n * pages));
    domain.contiguous = each.filter_map(|first| GfnRange::of_pages(first, pages)).collect();
    domain.ram.extend(domain.contiguous.clone());
    // What follows is scattered.
    domain.ram.extend(GfnRange::of_pages(Gfn(0x1000 + blocks * 512), 512));
    config
}

#[test]
fn large_leaves_that_follow_each_other_are_put_in_and_taken_out_by_one_walk() {
    for is_one in [true, false] {
        let tables = [1, 8].map(|leaves: u32| {
            with(&blocks(8, is_one), |vm| {
                let (context, pages) = (vm.attached_context(), leaves * 512);
                assert_eq!(vm.map(context, 0, 0x1000, 1, RW), (0, 1));
                let map = || assert_eq!(vm.map(context, 0x4000, 0x1000, pages, RW), (0, pages));
                let maps = work_of(vm, map);
                assert_eq!(maps(Work::Released), 0, "nothing was acquired in vain");
                assert_eq!(maps(Work::Acquires), u64::from(pages) / 256);
                assert!(
                    (0..pages).step_by(511).all(|page| vm.writes(DEVICE, 0x4000 + u64::from(page)))
                );
                let unmaps =
                    work_of(vm, || assert_eq!(vm.unmap(context, 0x4000, pages), (0, pages)));
                vm.end();
                [maps(Work::Tables), unmaps(Work::Tables)]
            })
        });
        let [one, eight] = tables;
        assert!(eight[0] <= one[0] + 1 && eight[1] <= one[1] + 1, "{tables:?}");
    }
}

/// At most a piece of what does not make another one is acquired ahead.
#[test]
fn what_is_acquired_ahead_of_large_leaves_in_vain_is_little() {
    for is_one in [true, false] {
        with(&blocks(3, is_one), |vm| {
            let context = vm.attached_context();
            let map = || assert_eq!(vm.map(context, 0x4000, 0x1000, 4 * 512, RW), (0, 4 * 512));
            let maps = work_of(vm, map);
            assert!(maps(Work::Released) <= 256 && maps(Work::Acquires) <= 8 + 1);
            assert!((0..4 * 512).step_by(97).all(|page| vm.writes(DEVICE, 0x4000 + page)));
            vm.end();
        });
    }
}

/// Where no large leaf can be, none is looked for.
#[test]
fn pages_before_a_hole_are_acquired_by_one_call() {
    let mut config = Config::one_guest(64);
    let block = GfnRange::of_pages(Gfn(0x1000), 100).unwrap();
    config.domains[0].contiguous = vec![block];
    config.domains[0].ram.push(block);
    with(&config, |vm| {
        let context = vm.attached_context();
        let refused = || assert_eq!(vm.map(context, 0x4000, 0x1000, 1024, RW).1, 100);
        assert_eq!(work_of(vm, refused)(Work::Acquires), 1);
        vm.end();
    });
}

/// An embedder takes a lock for each call.
#[test]
fn table_frames_of_a_large_map_are_asked_for_some_at_a_time() {
    let pages = 100 * 512;
    let mut config = blocks(100, true).with_default_map(DefaultMap::Host);
    (config.domains[0].role, config.domains[0].default_map) = (Role::Hardware, DefaultMap::Blocked);
    config.units[0].features.remove(UnitFeatures::LEAF_1G | UnitFeatures::LEAF_2M);
    with(&config, |vm| {
        let set = || assert_eq!(vm.bed.set_default(GUEST, DefaultMap::Host), Ok(()));
        let frames = work_of(vm, set)(Work::Frames);
        assert!(frames < 40, "{frames} calls for the tables of {pages} pages");
        vm.end();
    });
}
