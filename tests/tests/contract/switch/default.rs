//! Choosing the map that a domain starts with.

use pviommu_abi::{Errno, Gfn, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, Outcome, addr::GfnRange};
use pviommu_testbed::{
    iommu::DeviceEntry,
    machine::{Config, Step, When},
};

use super::kit::take;
use crate::kit::{DEVICE, GUEST, RW, Vm, with};

const MAPS: [DefaultMap; 5] = [
    DefaultMap::Blocked,
    DefaultMap::Host,
    DefaultMap::Guest,
    DefaultMap::IdentityMfn,
    DefaultMap::IdentityGfn,
];

/// No map yet, and table frames for one.
fn config() -> Config {
    let mut config = Config::one_guest(64).with_default_map(DefaultMap::Guest);
    config.domains[0].default_map = DefaultMap::Blocked;
    config
}

fn set(vm: &Vm<'_>, map: DefaultMap) -> Result<(), Errno> {
    vm.bed.set_default(GUEST, map)
}

#[test]
fn it_is_chosen_once_and_again_only_the_same() {
    for first in MAPS.into_iter().filter(|map| *map != DefaultMap::Host) {
        with(&config(), |vm| {
            assert_eq!(set(vm, first), Ok(()));
            let entries = vm.bed.board().device_entries(DEVICE);
            for other in MAPS.into_iter().filter(|map| *map != first) {
                let state = vm.bed.domain(GUEST);
                let refused = vm.bed.iommu().set_default(state, 1, other);
                assert_eq!(refused, Outcome::Done(Errno::EBUSY.to_ret()), "{first:?} {other:?}");
            }
            assert_eq!(vm.bed.board().device_entries(DEVICE), entries);
            assert_eq!(vm.bed.domain(GUEST).default_map(), first);
            assert_eq!(vm.bed.domain(GUEST).need_iommu(), first.need_iommu());
            let again = vm.bed.iommu().set_default(vm.bed.domain(GUEST), 1, first);
            assert_eq!(again, Outcome::Done(0));
            assert_eq!(vm.bed.board().device_entries(DEVICE), entries);
            vm.end();
        });
    }
}

#[test]
fn a_guest_gets_no_host_map_and_can_have_another_after_that() {
    with(&config(), |vm| {
        assert_eq!(set(vm, DefaultMap::Host), Err(Errno::EPERM));
        assert_eq!(vm.bed.domain(GUEST).default_map(), DefaultMap::Blocked);
        assert_eq!(vm.bed.board().device_entries(DEVICE), [DeviceEntry::Blocked]);
        assert_eq!(set(vm, DefaultMap::Guest), Ok(()));
        assert!(vm.lands_in(DEVICE, 5, 5));
        vm.end();
    });
}

/// A guest that was quicker: it has its default context, and keeps it.
#[test]
fn it_is_not_chosen_over_a_guest_that_has_taken_it() {
    with(&config(), |vm| {
        assert_eq!(take(vm, OwnershipMode::CLEAR), 0);
        assert_eq!(vm.map(pviommu_abi::ContextId::DEFAULT, 5, 6, 1, RW), (0, 1));
        for map in MAPS {
            let refused = vm.bed.iommu().set_default(vm.bed.domain(GUEST), 1, map);
            let expected = [Errno::EBUSY, Errno::EPERM].map(|it| Outcome::Done(it.to_ret()));
            assert!(expected.contains(&refused), "{map:?}: {refused:?}");
            assert!(vm.lands_in(DEVICE, 5, 6));
        }
        assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
        assert_eq!(set(vm, DefaultMap::Guest), Ok(()), "nothing was chosen before");
        assert!(vm.lands_in(DEVICE, 7, 7));
        vm.end();
    });
}

#[test]
fn no_such_cpu_and_a_domain_that_dies_are_refused() {
    with(&config(), |vm| {
        let state = vm.bed.domain(GUEST);
        for map in MAPS {
            let refused = vm.bed.iommu().set_default(state, 99, map);
            assert_eq!(refused, Outcome::Done(Errno::EINVAL.to_ret()));
        }
        assert_eq!(vm.bed.teardown(GUEST, 0), 0);
        for map in MAPS {
            assert_ne!(vm.bed.iommu().set_default(state, 1, map), Outcome::Done(0));
        }
        assert_eq!(vm.bed.counters().table_frames_live, 0);
        vm.end();
    });
}

/// At each frame, and for each share: nothing has changed, and with more it can be had.
#[test]
fn without_memory_nothing_has_changed() {
    for map in [DefaultMap::Guest, DefaultMap::IdentityGfn, DefaultMap::IdentityMfn] {
        let chosen = |vm: &Vm<'_>| loop {
            let made = vm.bed.iommu().set_default(vm.bed.domain(GUEST), 1, map);
            if let Outcome::Done(status) = made {
                break status;
            }
        };
        let calls = with(&config(), |vm| {
            vm.bed.schedule().set(Step::Alloc, When::Never);
            assert_eq!(chosen(vm), 0);
            vm.bed.schedule().calls(Step::Alloc)
        });
        assert!(calls > 0);
        for (step, calls) in [(Step::Alloc, calls), (Step::AttachRefused, 1)] {
            for n in 1..=calls {
                for every in [0, 1] {
                    with(&config(), |vm| {
                        let before = vm.bed.counters();
                        vm.bed.schedule().set(step, When::Nth(n));
                        if every > 0 {
                            vm.bed.schedule().set(Step::Yield, When::Every(every));
                        }
                        vm.bed.board().assume_default_map(GUEST, map);
                        assert_eq!(chosen(vm), Errno::ENOMEM.to_ret(), "{map:?} {step:?} {n}");
                        vm.bed.schedule().clear();
                        let after = vm.bed.counters();
                        assert_eq!(after.table_frames_live, before.table_frames_live);
                        assert_eq!(after.scratch_frames_live, before.scratch_frames_live);
                        assert_eq!(after.references_live, 0);
                        assert_eq!(vm.bed.domain(GUEST).default_map(), DefaultMap::Blocked);
                        assert_eq!(vm.bed.board().device_entries(DEVICE), [DeviceEntry::Blocked]);
                        assert_eq!(set(vm, DefaultMap::Guest), Ok(()), "any may be chosen now");
                        assert!(vm.lands_in(DEVICE, 5, 5));
                        vm.end();
                    });
                }
            }
        }
    }
}

/// INV-22, INV-23: pages that may not be mapped are left out, and no other. INV-54: they are looked
/// at a bounded number at a time, also when none of them is mapped.
#[test]
fn a_map_leaves_out_what_may_not_be_mapped_and_gives_way_while_it_does() {
    let pages = 4096u64;
    let mut config = config();
    config.domains[0].ram = vec![GfnRange::of_pages(Gfn(0), pages).unwrap()];
    with(&config, |vm| {
        for gfn in 16..pages - 16 {
            let kind = pviommu_testbed::machine::FrameKind::GuestTable;
            assert_eq!(vm.bed.board().set_page_kind(GUEST, Gfn(gfn), kind), Ok(()));
        }
        vm.bed.schedule().set(Step::Yield, When::Never);
        assert_eq!(set(vm, DefaultMap::Guest), Ok(()));
        let asked = vm.bed.schedule().calls(Step::Yield);
        assert!(asked >= pages / 256, "asked {asked} times");
        for gfn in [0, 15, pages - 16, pages - 1] {
            assert!(vm.lands_in(DEVICE, gfn, gfn), "{gfn}");
        }
        assert!([16, 17, 2000, pages - 17].into_iter().all(|gfn| vm.hits_background(DEVICE, gfn)));
        vm.end();
    });
}

/// A hole, a page that is not there for now, and registers of a device.
#[test]
fn a_map_that_cannot_be_made_for_now_can_be_made_later() {
    let mut config = config();
    config.domains[0].mmio = vec![GfnRange::of_pages(Gfn(0x1000), 4).unwrap()];
    with(&config, |vm| {
        assert!(vm.bed.balloon_out(GUEST, Gfn(30)).is_ok());
        vm.bed.schedule().acquire_fails_with(pviommu_hypervisor::platform::AcquireError::Retry);
        vm.bed.schedule().set(Step::AcquirePage, When::Nth(40));
        assert_eq!(set(vm, DefaultMap::Guest), Err(Errno::EAGAIN));
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.counters().references_live, 0);
        assert_eq!(set(vm, DefaultMap::Guest), Ok(()));
        assert!((0..64).filter(|bfn| *bfn != 30).all(|bfn| vm.lands_in(DEVICE, bfn, bfn)));
        assert!(vm.hits_background(DEVICE, 30));
        vm.end();
    });
}
