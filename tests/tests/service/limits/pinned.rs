//! Pages that mappings hold.

use pviommu_abi::{Errno, FreeFlags, Gfn};
use pviommu_hypervisor::{DefaultMap, Outcome, addr::GfnRange};
use pviommu_testbed::machine::{Config, Step, When};

use super::told;
use crate::{
    batch::kit::{LIST, RUN_ALL, lay_list, map, map_list, run, run_one, statuses, unmap_later},
    kit::{DEVICE, GUEST, OTHER, RW, Vm, err, two_guests, with},
};

const ALLOWED: u32 = 600;

fn config() -> Config {
    let mut config = two_guests(2048);
    for domain in &mut config.domains {
        domain.limits.max_pinned_pages = u64::from(ALLOWED);
    }
    config
}

fn pinned(vm: &Vm<'_>) -> (u64, u64) {
    let limits = told(vm);
    assert_eq!(limits.pinned_pages_used, vm.bed.domain(GUEST).stats().pinned_pages);
    (limits.pinned_pages_used, limits.pinned_pages_allowed)
}

/// INV-57.
#[test]
fn as_many_pages_are_held_as_are_allowed_and_another_domain_has_its_own() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 0, 900, RW), (err(Errno::ENOSPC), ALLOWED));
        assert_eq!(pinned(vm), (u64::from(ALLOWED), u64::from(ALLOWED)));
        assert_eq!(vm.map(context, 5000, 0, 1, RW), (err(Errno::ENOSPC), 0));
        assert!(vm.lands_in(DEVICE, 599, 599) && vm.hits_background(DEVICE, 600));

        let other = Vm::new(vm.bed, OTHER, 0);
        let theirs = other.context();
        assert_eq!(other.map(theirs, 0, 0, ALLOWED, RW), (0, ALLOWED));

        assert_eq!(vm.unmap(context, 100, 50), (0, 50));
        assert_eq!(pinned(vm).0, 550);
        assert_eq!(vm.map(context, 5000, 0, 51, RW), (err(Errno::ENOSPC), 50));
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        assert_eq!(pinned(vm).0, 0);
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

#[test]
fn a_page_counts_as_often_as_it_is_mapped_and_registers_do_not() {
    let mut config = config();
    config.domains[0].mmio = vec![GfnRange::of_pages(Gfn(0x8_0000), 16).unwrap()];
    with(&config, |vm| {
        let contexts = [vm.attached_context(), vm.context()];
        for (context, bfn) in [(contexts[0], 7), (contexts[0], 9), (contexts[1], 7)] {
            assert_eq!(vm.map(context, bfn, 3, 1, RW), (0, 1));
        }
        assert_eq!(pinned(vm).0, 3);
        assert_eq!(vm.map(contexts[0], 100, 0x8_0000, 16, RW), (0, 16));
        assert_eq!(pinned(vm).0, 3);
        assert_eq!(vm.map(contexts[0], 1000, 0, 597, RW), (0, 597));
        assert_eq!(vm.map(contexts[1], 100, 0x8_0000, 16, RW), (0, 16), "they need no room");
        assert_eq!(vm.unmap(contexts[0], 100, 16), (0, 16));
        assert_eq!(pinned(vm).0, 600);
        vm.end();
    });
}

/// A large leaf holds all of its pages; where there is no room for that, small ones go as far as they can.
#[test]
fn a_large_leaf_is_charged_as_a_whole() {
    let mut config = config();
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 1024).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 512, 512, 1024, RW), (err(Errno::ENOSPC), ALLOWED));
        assert!(vm.lands_in(DEVICE, 512 + 599, 512 + 599));
        assert_eq!(vm.unmap(context, 700, 8), (0, 8));
        assert_eq!(pinned(vm).0, 592);
        assert_eq!(vm.unmap(context, 512, 188), (0, 188));
        assert_eq!(vm.unmap(context, 708, 404), (0, 404));
        assert_eq!(pinned(vm).0, 0);
        vm.end();
    });
}

/// INV-20: until a device cannot reach a page any more it is held, and counts.
#[test]
fn what_waits_for_its_flush_is_held_and_counts() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 0, ALLOWED, RW), (0, ALLOWED));
        assert_eq!(run_one(vm, context, unmap_later(0, 200)), (0, 200));
        assert_eq!(pinned(vm).0, 600);
        assert_eq!(vm.map(context, 3000, 0, 1, RW), (err(Errno::ENOSPC), 0));
        assert_eq!(vm.bed.iommu().flush_deferred(vm.bed.domain(GUEST), 0), Outcome::Done(0));
        assert_eq!(pinned(vm).0, 400);
        vm.end();
    });
}

#[test]
fn an_element_that_finds_no_room_says_so_and_the_others_go_on() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        let list: Vec<u64> = (0..400).map(|i| i * 3).collect();
        lay_list(vm, &list);
        let mut elements = [map(0, 0, 500), map_list(1000, LIST, 400), map(2000, 0, 1)];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements).1, 3);
        let refused = Err(Errno::ENOSPC);
        assert_eq!(statuses(&elements), [Ok(()), refused, refused]);
        assert_eq!(elements.map(|element| element.done), [500, 100, 0]);
        assert_eq!(pinned(vm).0, 600);
        vm.end();
    });
}

/// INV-21: whatever goes wrong, what was charged is given back with the pages.
#[test]
fn what_was_charged_for_pages_that_did_not_go_in_is_given_back() {
    let steps = [Step::Acquire, Step::AcquirePage, Step::Alloc, Step::Reserve, Step::Yield];
    let mut config = config();
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    for (step, n) in steps.into_iter().flat_map(|step| (1..6).map(move |n| (step, n))) {
        with(&config, |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 300, 3, 1, RW), (0, 1));
            vm.bed.schedule().set(step, When::Nth(n));
            // Over a page that is mapped already, and over a large leaf.
            let (_, first) = vm.map(context, 290, 0, 20, RW);
            let (_, second) = vm.map(context, 512, 512, 512, RW);
            vm.bed.schedule().clear();
            assert_eq!(pinned(vm).0, u64::from(1 + first + second), "{step:?} {n}");
            vm.end();
        });
    }
}

#[test]
fn a_guest_map_that_finds_no_room_is_not_made() {
    let mut config = config();
    config.domains[0].limits.default_map_frames = 512;
    with(&config, |vm| {
        let made = vm.bed.set_default(GUEST, DefaultMap::Guest);
        assert_eq!(made, Err(Errno::ENOSPC));
        assert_eq!(pinned(vm).0, 0);
        vm.end();
    });
}
