//! The forms of the ownership switch, from every map a domain can start with.

use pviommu_abi::{
    Background as Wire, CapabilityFlags, ContextId, DomId, Errno, Gfn, LimitFlags, MapFlags,
    OwnershipMode, Subop, TakeOwnership, TakeOwnershipFlags,
};
use pviommu_hypervisor::{DefaultMap, addr::GfnRange};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Config, Reach, Step, When},
};

use super::kit::{take, take_over};
use crate::{
    batch_kit::{header, lay, map, run_one, step as batch_step, unmap_later},
    kit::{DEVICE, GUEST, RW, Vm, err, over_scratch, with, with_hardware_domain},
    query::kit::{is_refused, limits},
};

const ZERO: ContextId = ContextId::DEFAULT;
const CLEAR: OwnershipMode = OwnershipMode::CLEAR;
const KEEP: OwnershipMode = OwnershipMode::KEEP;
const GIVE_BACK: OwnershipMode = OwnershipMode::GIVE_BACK;

fn starting_with(map: DefaultMap) -> Config {
    Config::one_guest(64).with_default_map(map)
}

/// INV-70: nobody but its owner edits it.
fn is_not_editable(vm: &Vm<'_>) {
    let refused = err(Errno::EINVAL);
    assert_eq!(vm.map(ZERO, 100, 1, 1, RW), (refused, 0));
    assert_eq!(vm.unmap(ZERO, 3, 1), (refused, 0));
    let mut flush = pviommu_abi::FlushPages { nr_pages: 1, ..pviommu_abi::FlushPages::default() };
    assert_eq!(vm.op(Subop::FLUSH_PAGES, &mut flush), refused);
    let batch = header(ZERO, pviommu_abi::BatchFlags::empty(), 1);
    lay(vm, &batch, &[map(100, 1, 1)]);
    assert_eq!(batch_step(vm), pviommu_hypervisor::Outcome::Done(err(Errno::EACCES)));
    assert!(!limits(vm, ZERO).state.contains(LimitFlags::OWNED));
}

fn is_editable(vm: &Vm<'_>) {
    assert_eq!(vm.map(ZERO, 100, 1, 2, RW), (0, 2));
    assert!(vm.lands_in(DEVICE, 101, 2));
    assert_eq!(vm.unmap(ZERO, 100, 1), (0, 1));
    assert_eq!(run_one(vm, ZERO, unmap_later(101, 1)), (0, 1));
    assert_eq!(run_one(vm, ZERO, crate::batch_kit::flush(0, 0)), (0, 0));
    assert!(vm.hits_background(DEVICE, 100) && vm.hits_background(DEVICE, 101));
    assert!(limits(vm, ZERO).state.contains(LimitFlags::OWNED));
}

/// True if the device finds the map the domain started with.
fn is_initial(vm: &Vm<'_>, map: DefaultMap) -> bool {
    let identity = |bfn| vm.lands_in(DEVICE, bfn, bfn);
    match map {
        DefaultMap::Blocked => {
            [0, 5, 63].into_iter().all(|bfn| vm.hits(DEVICE, bfn, Direction::Read).is_none())
        }
        _ => [0, 5, 63].into_iter().all(identity) && vm.hits_background(DEVICE, 64),
    }
}

#[test]
fn each_form_does_what_it_says_from_each_map_and_twice() {
    for every in [0, 1] {
        for map in [DefaultMap::Blocked, DefaultMap::Guest] {
            with(&starting_with(map), |vm| {
                if every > 0 {
                    vm.bed.schedule().set(Step::Yield, When::Every(every));
                }
                assert!(is_initial(vm, map));
                is_not_editable(vm);
                assert_eq!(take(vm, GIVE_BACK), 0, "nothing was taken");
                for mode in [CLEAR, KEEP, CLEAR] {
                    let before = vm.bed.board().device_entries(DEVICE);
                    assert_eq!(take(vm, mode), 0);
                    let kept = mode == KEEP && map == DefaultMap::Guest;
                    let after = vm.bed.board().device_entries(DEVICE);
                    assert_eq!(after == before, kept);
                    // A fault is a fault, by the background or because the device is blocked.
                    let alike = map == DefaultMap::Blocked && !over_scratch();
                    assert_eq!(is_initial(vm, map), kept || alike);
                    is_editable(vm);
                    assert_eq!(vm.map(ZERO, 7, 9, 1, RW), (0, 1));
                    for again in [CLEAR, KEEP] {
                        assert_eq!(take(vm, again), 0, "it is reached already");
                        assert_eq!(vm.bed.board().device_entries(DEVICE), after);
                        assert!(vm.lands_in(DEVICE, 7, 9), "nothing has changed");
                    }
                    assert_eq!(take(vm, GIVE_BACK), 0);
                    assert!(is_initial(vm, map));
                    assert!(
                        map == DefaultMap::Guest && vm.lands_in(DEVICE, 7, 7)
                            || !vm.reads(DEVICE, 7)
                    );
                    is_not_editable(vm);
                    let after = vm.bed.board().device_entries(DEVICE);
                    assert_eq!(take(vm, GIVE_BACK), 0);
                    assert_eq!(vm.bed.board().device_entries(DEVICE), after);
                    let held = if map == DefaultMap::Guest { 64 + 256 } else { 0 };
                    assert!(vm.bed.counters().references_live <= held);
                }
                vm.bed.schedule().clear();
                vm.end();
            });
        }
    }
}

/// What was there is the guest's to replace and to remove, page by page, and it is no conflict.
#[test]
fn what_is_kept_gives_way_to_maps_and_unmaps_of_any_shape() {
    let mut config = starting_with(DefaultMap::Guest);
    let block = |first, pages| GfnRange::of_pages(Gfn(first), pages).unwrap();
    config.domains[0].ram = vec![block(0, 2048)];
    config.domains[0].contiguous = vec![block(512, 512), block(1024, 512)];
    with(&config, |vm| {
        assert_eq!(take(vm, KEEP), 0);
        let held = vm.bed.counters().references_live;
        // A large one over small ones and the other way round; across both; a part of a large one.
        assert_eq!(vm.map(ZERO, 0, 1024, 512, RW), (0, 512));
        assert_eq!(vm.map(ZERO, 512, 3, 512, RW), (0, 512));
        assert_eq!(vm.map(ZERO, 1030, 20, 4, MapFlags::READABLE), (0, 4));
        assert_eq!(vm.bed.counters().references_live, held);
        assert!([0, 5, 511].into_iter().all(|bfn| vm.lands_in(DEVICE, bfn, 1024 + bfn)));
        assert!([512, 700, 1023].into_iter().all(|bfn| vm.lands_in(DEVICE, bfn, bfn - 509)));
        assert!(vm.lands_in(DEVICE, 1029, 1029) && vm.lands_in(DEVICE, 1034, 1034));
        assert!(vm.reads(DEVICE, 1030) && !vm.writes(DEVICE, 1030));
        // Its own are in its way.
        for bfn in [0, 511, 512, 1023, 1030, 1033] {
            assert_eq!(vm.map(ZERO, bfn, 1, 1, RW), (err(Errno::EADDRINUSE), 0));
        }
        assert_eq!(vm.map(ZERO, 1028, 1, 4, RW), (err(Errno::EADDRINUSE), 2));
        assert_eq!(vm.unmap(ZERO, 1000, 100), (0, 100));
        assert!((1000..1100).all(|bfn| vm.hits_background(DEVICE, bfn)));
        assert!(vm.lands_in(DEVICE, 1100, 1100));
        assert_eq!(vm.bed.counters().references_live, held - 100);
        assert_eq!(take(vm, GIVE_BACK), 0);
        assert!((0..2048).step_by(17).all(|bfn| vm.lands_in(DEVICE, bfn, bfn)));
        assert_eq!(vm.bed.counters().references_live, held);
        vm.end();
    });
}

/// INV-21: vacant bus frames and such that give way, in one run and in any order.
#[test]
fn pages_that_replace_some_and_not_others_are_each_where_they_belong() {
    // Frames that follow each other: they are stored as one run.
    let mut config = starting_with(DefaultMap::Guest);
    let block = GfnRange::of_pages(Gfn(512), 512).unwrap();
    config.domains[0].ram.push(block);
    config.domains[0].contiguous = vec![block];
    for holes in [&[0, 1, 2][..], &[3], &[1, 5], &[0, 2, 4, 6], &[6, 7], &[0, 1, 2, 3, 4, 5, 6, 7]]
    {
        with(&config, |vm| {
            assert_eq!(take(vm, KEEP), 0);
            let held = vm.bed.counters().references_live;
            for hole in holes {
                assert_eq!(vm.unmap(ZERO, 20 + hole, 1), (0, 1));
            }
            assert_eq!(vm.map(ZERO, 20, 600, 8, RW), (0, 8));
            for i in 0..8 {
                assert!(vm.lands_in(DEVICE, 20 + i, 600 + i), "{holes:?} {i}");
                assert_eq!(vm.bed.board().references(GUEST, Gfn(20 + i)), 0);
                assert_eq!(vm.bed.board().references(GUEST, Gfn(600 + i)), 2);
            }
            assert_eq!(vm.bed.counters().references_live, held);
            assert_eq!(vm.unmap(ZERO, 20, 8), (0, 8));
            assert!(vm.lands_in(DEVICE, 19, 19) && vm.lands_in(DEVICE, 28, 28));
            vm.end();
        });
    }
}

/// INV-72.
#[test]
fn the_background_is_the_one_that_was_asked_for() {
    for map in [DefaultMap::Blocked, DefaultMap::Guest] {
        for asked in [Wire::DEFAULT, Wire::FAULT, Wire::SCRATCH] {
            with(&starting_with(map), |vm| {
                assert_eq!(take_over(vm, CLEAR, asked), 0);
                let scratch = asked == Wire::SCRATCH || asked == Wire::DEFAULT && over_scratch();
                let finds = || vm.hits(DEVICE, 5, Direction::Write);
                let expected = scratch.then_some(Reach::Scratch);
                assert_eq!(finds(), expected);
                let told = if scratch { Wire::SCRATCH } else { Wire::FAULT };
                assert_eq!(limits(vm, ZERO).background, told);
                assert_eq!(vm.map(ZERO, 5, 6, 1, RW), (0, 1));
                assert!(vm.lands_in(DEVICE, 5, 6));
                assert_eq!(vm.unmap(ZERO, 5, 1), (0, 1));
                assert_eq!(finds(), expected, "it comes back");
                // Another one for who owns it already: it is reached, nothing changes.
                assert_eq!(take_over(vm, CLEAR, Wire::FAULT), 0);
                assert_eq!(take_over(vm, CLEAR, Wire::SCRATCH), 0);
                assert_eq!(finds(), expected);
                assert_eq!(take(vm, GIVE_BACK), 0);
                vm.end();
            });
        }
    }
}

/// INV-70: for ever.
#[test]
fn a_map_that_is_maintained_is_never_taken_over() {
    for map in [DefaultMap::IdentityGfn, DefaultMap::IdentityMfn] {
        with(&starting_with(map), |vm| {
            for mode in [CLEAR, KEEP, GIVE_BACK] {
                assert_eq!(take(vm, mode), err(Errno::EACCES));
                is_not_editable(vm);
                let told = limits(vm, ZERO);
                assert!(told.state.contains(LimitFlags::NEED_IOMMU));
            }
            // Other contexts are the guest's as ever.
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 5, 6, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, 5, 6));
            assert_eq!(vm.attach(DEVICE, ZERO), 0);
            if map == DefaultMap::IdentityGfn {
                assert!(is_initial(vm, map));
            }
            vm.end();
        });
    }
}

#[test]
fn limits_and_capabilities_tell_who_has_it() {
    for map in [DefaultMap::Blocked, DefaultMap::Guest] {
        with(&starting_with(map), |vm| {
            let identity = |vm: &Vm<'_>| {
                vm.capabilities().cap_flags.contains(CapabilityFlags::DEFAULT_IDENTITY)
            };
            let mapped = map == DefaultMap::Guest;
            let told =
                |vm: &Vm<'_>| limits(vm, ZERO).state & (LimitFlags::OWNED | LimitFlags::NEED_IOMMU);
            assert!(vm.capabilities().cap_flags.contains(CapabilityFlags::TAKE_OWNERSHIP));
            for mode in [KEEP, CLEAR] {
                let before = limits(vm, ZERO);
                assert_eq!((told(vm), identity(vm)), (LimitFlags::empty(), mapped));
                assert_eq!(take(vm, mode), 0);
                assert_eq!((told(vm), identity(vm)), (LimitFlags::OWNED, false));
                assert_eq!(take(vm, GIVE_BACK), 0);
                let after = limits(vm, ZERO);
                assert_eq!(before.table_frames_used, after.table_frames_used, "nothing is left");
                assert_eq!(before.background, after.background);
                assert_eq!(before.aperture_last, after.aperture_last);
            }
            vm.end();
        });
    }
}

#[test]
fn a_switch_that_is_wrong_changes_nothing() {
    let config = with_hardware_domain().with_default_map(DefaultMap::Guest);
    let mut config = config;
    config.domains[1].default_map = DefaultMap::Blocked;
    with(&config, |vm| {
        let good = TakeOwnership { mode: CLEAR, ..TakeOwnership::default() };
        let refuse = |argument, errno| {
            is_refused(vm, Subop::TAKE_OWNERSHIP, argument, errno);
            assert!(vm.lands_in(DEVICE, 5, 5));
        };
        for bit in 0..32 {
            let flags = TakeOwnershipFlags::from_bits_retain(1 << bit);
            refuse(TakeOwnership { flags, ..good }, Errno::EINVAL);
        }
        refuse(TakeOwnership { reserved0: 1, ..good }, Errno::EINVAL);
        refuse(TakeOwnership { reserved1: 1, ..good }, Errno::EINVAL);
        for mode in [0, 4, 0x1_0001, u32::MAX] {
            refuse(TakeOwnership { mode: OwnershipMode(mode), ..good }, Errno::EINVAL);
        }
        for mode in [KEEP, GIVE_BACK] {
            for background in [Wire::FAULT, Wire::SCRATCH] {
                refuse(TakeOwnership { mode, background, ..good }, Errno::EINVAL);
            }
        }
        refuse(TakeOwnership { background: Wire(77), ..good }, Errno::EOPNOTSUPP);
        refuse(TakeOwnership { domid: DomId(0), ..good }, Errno::EPERM);
        vm.bed.schedule().set(Step::Policy, When::From(1));
        refuse(good, Errno::EPERM);
        vm.bed.schedule().clear();
        // The hardware domain does it for another.
        let dom0 = Vm::new(vm.bed, DomId(0), 0);
        let mut for_another = TakeOwnership { domid: GUEST, ..good };
        assert_eq!(dom0.op(Subop::TAKE_OWNERSHIP, &mut for_another), 0);
        is_editable(vm);
        assert_eq!(vm.bed.teardown(DomId(0), 0), 0);
        vm.end();
    });
}
