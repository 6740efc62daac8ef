//! INV-27: pages that leave a guest while it has them mapped.

use pviommu_abi::{ContextId, Errno, FreeFlags, Gfn, OwnershipMode};
use pviommu_hypervisor::{
    DefaultMap,
    addr::{Mfn, MfnRange},
    platform::UnitId,
};
use pviommu_testbed::machine::{DeviceConfig, FrameKind, Step, When, vtd_facts};

use super::kit::{BOTH, GRANTER, end, frame, frames, gfns, map_grant, three};
use crate::{
    batch_kit::{run_one, unmap_later},
    direct::kit::SECOND,
    kit::{DEVICE, GUEST, RW, Vm, err, with},
    switch::kit::take,
};

fn is_free(vm: &Vm<'_>, frame: Mfn) -> bool {
    vm.bed.board().memory().frames.info(frame).unwrap().kind == FrameKind::Free
}

/// Takes a page from the guest as a balloon does: it cannot be acquired any more.
fn balloon(vm: &Vm<'_>, gfn: u64) -> Mfn {
    vm.bed.balloon_out(GUEST, Gfn(gfn)).unwrap()
}

#[test]
fn a_page_goes_out_of_every_context_and_is_free_after_that() {
    with(&three(), |vm| {
        let contexts = [vm.attached_context(), vm.context(), vm.context()];
        for (context, bfn) in contexts.into_iter().zip([10, 0x4000, 1 << 35]) {
            assert_eq!(vm.map(context, bfn, 1, 4, RW), (0, 4));
            assert_eq!(vm.map(context, bfn + 100, 2, 1, RW), (0, 1));
        }
        assert!((10..14).all(|bfn| vm.writes(DEVICE, bfn)) && vm.writes(DEVICE, 110));
        let gone = balloon(vm, 2);
        assert!(!is_free(vm, gone), "the maps hold it");
        assert!(vm.writes(DEVICE, 11));
        assert_eq!(vm.bed.retarget(GUEST, &[MfnRange::single(gone)]), Ok(()));
        assert!(is_free(vm, gone));
        assert!(vm.hits_background(DEVICE, 11) && vm.hits_background(DEVICE, 110));
        assert!(vm.lands_in(DEVICE, 10, 1) && vm.lands_in(DEVICE, 12, 3));
        assert_eq!(vm.unmap(contexts[1], 0x4000, 4), (err(Errno::ENOENT), 1));
        assert_eq!(vm.map(contexts[0], 11, 2, 1, RW), (err(Errno::ENOENT), 0), "it is a hole");
        assert_eq!(vm.map(contexts[0], 11, 5, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 11, 5));
        assert_eq!(vm.bed.counters().references_live, 9);
        end(vm);
    });
}

/// A page by several names, several pages by one call, ranges that overlap and that meet nothing.
#[test]
fn frames_are_named_in_any_order_and_more_than_once() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 0, 64, RW), (0, 64));
        assert_eq!(vm.map(context, 100, 7, 1, RW), (0, 1));
        assert_eq!(vm.map(context, 200, 7, 1, RW), (0, 1));
        let gone: Vec<Mfn> = [7, 3, 60].map(|gfn| balloon(vm, gfn)).to_vec();
        let mut named: Vec<MfnRange> = gone.iter().map(|frame| MfnRange::single(*frame)).collect();
        named.push(MfnRange::single(Mfn(5)));
        named.push(MfnRange::single(gone[0]));
        assert_eq!(vm.bed.retarget(GUEST, &[]), Ok(()), "nothing is named");
        assert_eq!(vm.bed.counters().references_live, 66);
        assert_eq!(vm.bed.retarget(GUEST, &named), Ok(()));
        assert_eq!(vm.bed.counters().references_live, 66 - 5);
        assert!(gone.iter().all(|frame| is_free(vm, *frame)));
        for bfn in 0..64 {
            assert_eq!(vm.hits_background(DEVICE, bfn), [7, 3, 60].contains(&bfn), "{bfn}");
        }
        // All there are: nothing stays.
        let all = MfnRange::new(Mfn(0), Mfn(u64::MAX - 1)).unwrap();
        assert_eq!(vm.bed.retarget(GUEST, &[all]), Ok(()));
        assert_eq!(vm.bed.counters().references_live, 0);
        assert!((0..64).all(|bfn| vm.hits_background(DEVICE, bfn)));
        end(vm);
    });
}

/// What is unmapped and not flushed holds pages, too.
#[test]
fn a_removal_that_waits_is_flushed_and_given_back() {
    with(&three(), |vm| {
        let (context, other) = (vm.attached_context(), vm.context());
        for context in [context, other] {
            assert_eq!(vm.map(context, 10, 1, 8, RW), (0, 8));
        }
        assert!((10..18).all(|bfn| vm.writes(DEVICE, bfn)));
        for context in [context, other] {
            assert_eq!(run_one(vm, context, unmap_later(12, 4)), (0, 4));
        }
        let gone = balloon(vm, 4);
        assert!(!is_free(vm, gone));
        assert_eq!(vm.bed.retarget(GUEST, &[MfnRange::single(gone)]), Ok(()));
        assert!(is_free(vm, gone));
        assert!(vm.hits_background(DEVICE, 13));
        assert!(vm.lands_in(DEVICE, 11, 2));
        end(vm);
    });
}

/// The map it started with, and the one that is being built beside it.
#[test]
fn a_page_goes_out_of_the_default_context_whoever_has_it() {
    for (map, mode) in [
        (DefaultMap::Guest, None),
        (DefaultMap::Guest, Some(OwnershipMode::KEEP)),
        (DefaultMap::Guest, Some(OwnershipMode::CLEAR)),
        (DefaultMap::Blocked, Some(OwnershipMode::KEEP)),
    ] {
        with(&three().with_default_map(map), |vm| {
            let clear = mode == Some(OwnershipMode::CLEAR) || map == DefaultMap::Blocked;
            if let Some(mode) = mode {
                assert_eq!(take(vm, mode), 0);
            }
            if clear {
                assert_eq!(vm.map(ContextId::DEFAULT, 2, 2, 1, RW), (0, 1));
            }
            assert!(vm.lands_in(DEVICE, 2, 2));
            let gone = balloon(vm, 2);
            assert_eq!(vm.bed.retarget(GUEST, &[MfnRange::single(gone)]), Ok(()));
            assert!(is_free(vm, gone) && vm.hits_background(DEVICE, 2));
            assert_eq!(vm.bed.retarget(GUEST, &[MfnRange::single(gone)]), Ok(()), "twice");
            if mode.is_some() {
                assert_eq!(vm.map(ContextId::DEFAULT, 2, 5, 1, RW), (0, 1));
                assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
                assert!(!vm.reads(DEVICE, 2), "it is in no initial map any more");
            }
            end(vm);
        });
    }
}

/// One unit has failed: what it may reach is held for ever, and the others' mappings go (INV-15).
#[test]
fn a_failed_unit_keeps_no_page_in_the_contexts_of_other_units() {
    for first_fails in [true, false] {
        let mut config = three();
        config.units.push(vtd_facts());
        config.devices.push(DeviceConfig {
            function: SECOND,
            unit: UnitId(1),
            ..DeviceConfig::default()
        });
        with(&config, |vm| {
            let contexts = [vm.context(), vm.context()];
            let (broken, well) = if first_fails { (0, 1) } else { (1, 0) };
            assert_eq!(vm.attach(DEVICE, contexts[broken]), 0);
            assert_eq!(vm.attach(SECOND, contexts[well]), 0);
            for context in contexts {
                assert_eq!(vm.map(context, 10, 1, 2, RW), (0, 2));
            }
            assert!(vm.writes(DEVICE, 10) && vm.writes(SECOND, 10));
            vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
            assert_eq!(vm.unmap(contexts[broken], 11, 1).0, err(Errno::EIO));
            vm.bed.schedule().clear();
            let gone = balloon(vm, 1);
            assert_eq!(vm.bed.retarget(GUEST, &[MfnRange::single(gone)]), Err(Errno::EIO));
            assert!(vm.hits_background(SECOND, 10), "its unit is well");
            assert!(!is_free(vm, gone), "the failed one may reach it");
            assert_eq!(vm.bed.violations(), []);
        });
    }
}

/// INV-15: nor is anything given back of a domain that could not die for such a unit.
#[test]
fn what_a_failed_unit_walks_of_a_dead_domain_stays_whatever_page_leaves() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 2, RW), (0, 2));
        assert!(vm.writes(DEVICE, 10));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.bed.teardown(GUEST, 0), err(Errno::EIO));
        vm.bed.schedule().clear();
        let held = || (vm.bed.counters().references_live, vm.bed.domain(GUEST).stats());
        let before = held();
        assert_eq!(before.0, 2);
        let gone = frames(vm, GUEST, 1);
        assert_eq!(vm.bed.retarget(GUEST, &gone), Err(Errno::EIO));
        assert_eq!(held(), before, "nothing was taken out, and lost");
        assert_eq!(vm.bed.violations(), []);
    });
}

/// A context that is being freed, and was left half way.
#[test]
fn a_context_that_is_half_freed_gives_its_pages_back() {
    with(&three(), |vm| {
        let context = vm.context();
        for i in 0..40 {
            assert_eq!(vm.map(context, i * 64, 0, 64, RW), (0, 64));
        }
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        let at = vm.guest.argument_address();
        let free = pviommu_abi::FreeContext {
            ctx_no: context,
            free_flags: FreeFlags::empty(),
            ..pviommu_abi::FreeContext::default()
        };
        vm.bed.guest_write(GUEST, at, zerocopy::IntoBytes::as_bytes(&free));
        let subop = u64::from(pviommu_abi::Subop::FREE_CONTEXT.0);
        let once = vm.bed.hypercall(GUEST, 0, subop, at);
        assert_eq!(once, pviommu_hypervisor::Outcome::Continue);
        let gone = balloon(vm, 63);
        assert_eq!(vm.bed.retarget(GUEST, &[MfnRange::single(gone)]), Ok(()));
        assert!(is_free(vm, gone));
        vm.bed.schedule().clear();
        end(vm);
    });
}

/// A foreign mapping of the guest ends, and so does the page behind it.
#[test]
fn a_foreign_mapping_ends_after_a_retarget() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.bed.map_foreign(GUEST, Gfn(0x1000), (GRANTER, Gfn(5)), false), Ok(()));
        assert_eq!(vm.map(context, 10, 0x1000, 1, RW), (0, 1));
        assert_eq!(vm.map(context, 11, 0x1000, 1, RW), (0, 1));
        let granted = vm.bed.grant(GRANTER, Gfn(5), GUEST, false);
        assert_eq!(map_grant(vm, context, 12, granted, BOTH), 0);
        assert!((10..13).all(|bfn| vm.writes(DEVICE, bfn)));
        assert_eq!(vm.bed.unmap_foreign(GUEST, Gfn(0x1000)), Err(Errno::EBUSY));
        assert_eq!(vm.bed.retarget(GUEST, &frames(vm, GRANTER, 5)), Ok(()));
        assert_eq!(vm.bed.unmap_foreign(GUEST, Gfn(0x1000)), Ok(()));
        assert_eq!(vm.bed.end_grant(GRANTER, granted), Ok(()));
        assert!((10..13).all(|bfn| vm.hits_background(DEVICE, bfn)));
        let gone = frame(vm, GRANTER, 5);
        assert!(vm.bed.balloon_out(GRANTER, Gfn(5)).is_ok());
        assert!(is_free(vm, gone));
        end(vm);
    });
}

/// A direct range is not the guest's, whatever frames are named.
#[test]
fn a_direct_range_stays() {
    let range = crate::direct::kit::direct(0x8000, 4, crate::direct::kit::ALL);
    let mut config = crate::direct::kit::machine(&[&[range]]);
    config.domains[0].mmio = vec![gfns(0xf_0000, 4)];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 0xf_0000, 4, RW), (0, 4));
        let all = MfnRange::new(Mfn(0), Mfn(u64::MAX - 1)).unwrap();
        assert_eq!(vm.bed.retarget(GUEST, &[all]), Ok(()));
        crate::direct::kit::check(vm, DEVICE, &range);
        assert!((10..14).all(|bfn| vm.reads(DEVICE, bfn)));
        assert_eq!(vm.bed.revoke_mmio(GUEST, all), Ok(()));
        crate::direct::kit::check(vm, DEVICE, &range);
        assert!((10..14).all(|bfn| vm.hits_background(DEVICE, bfn)));
        vm.end();
    });
}
