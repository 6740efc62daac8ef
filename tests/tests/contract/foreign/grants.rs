//! INV-25: a grant is in use from its map to the flush after its unmap.

use pviommu_abi::{BatchOp, Bfn, ContextId, ElementFlags, Errno, FreeFlags, Gfn};
use pviommu_hypervisor::platform::UnitFeatures;
use pviommu_testbed::machine::{Step, When};

use super::kit::{BOTH, GRANTER, READ, end, frame, frames, grant_of, map_grant, run_one_of, three};
use crate::{
    batch_kit::{flush, run_one, unmap, unmap_later},
    kit::{DEVICE, DOM0, GUEST, RW, Vm, err, with},
};

fn pins(vm: &Vm<'_>, reference: u64) -> u32 {
    vm.bed.board().grant_pins(GRANTER, reference)
}

/// What the device reads at a bus frame.
fn reads(vm: &Vm<'_>, bfn: u64) -> Option<u8> {
    let mut byte = [0];
    vm.bed.dma_read(DEVICE, bfn << 12, &mut byte).ok().map(|()| byte[0])
}

#[test]
fn a_grant_is_mapped_and_cannot_end_before_it_is_unmapped_and_flushed() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        vm.bed.guest_write(GRANTER, 3 << 12, &[0x77]);
        let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        assert_eq!(map_grant(vm, context, 10, granted, BOTH), 0);
        assert_eq!(map_grant(vm, context, 11, granted, READ), 0);
        assert_eq!((reads(vm, 10), reads(vm, 11)), (Some(0x77), Some(0x77)));
        assert!(vm.writes(DEVICE, 10) && !vm.writes(DEVICE, 11));
        for (bfn, left) in [(10, 1), (11, 0)] {
            assert_eq!(vm.bed.end_grant(GRANTER, granted), Err(Errno::EBUSY));
            assert_eq!(pins(vm, granted), left + 1);
            assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
            assert_eq!(pins(vm, granted), left);
            assert!(vm.hits_background(DEVICE, bfn));
        }
        assert_eq!(vm.bed.end_grant(GRANTER, granted), Ok(()));
        assert_eq!(map_grant(vm, context, 10, granted, READ), err(Errno::ENOENT));
        end(vm);
    });
}

/// At each step of the service the device uses it: the machine tells if it is released before that.
#[test]
fn a_removal_that_waits_keeps_its_grant_until_the_flush() {
    for features in [UnitFeatures::empty(), UnitFeatures::CACHES_NOT_PRESENT] {
        let mut config = three();
        config.units[0].features.insert(features);
        with(&config, |vm| {
            let context = vm.attached_context();
            let granted: Vec<u64> =
                (0..4).map(|gfn| vm.bed.grant(GRANTER, Gfn(gfn), GUEST, false)).collect();
            for (bfn, grant) in (10..).zip(&granted) {
                assert_eq!(map_grant(vm, context, bfn, *grant, BOTH), 0);
            }
            // Memory of its own on both sides, in the same call.
            assert_eq!(vm.map(context, 8, 1, 2, RW), (0, 2));
            assert_eq!(vm.map(context, 14, 3, 2, RW), (0, 2));
            assert!((8..16).all(|bfn| vm.writes(DEVICE, bfn)));
            assert_eq!(run_one(vm, context, unmap_later(8, 8)), (0, 8));
            for (bfn, grant) in (10..).zip(&granted) {
                // Either it has been flushed, or the grant is in use still.
                let ended = vm.bed.end_grant(GRANTER, *grant).is_ok();
                assert!(!ended || vm.hits_background(DEVICE, bfn), "{bfn}");
            }
            assert_eq!(run_one(vm, context, flush(0, 0)), (0, 0));
            assert!((8..16).all(|bfn| vm.hits_background(DEVICE, bfn)));
            assert!(granted.iter().all(|grant| pins(vm, *grant) == 0));
            assert_eq!(vm.bed.counters().references_live, 0);
            end(vm);
        });
    }
}

/// INV-25, INV-22: a wrong reference, another's grant, a grant to another.
#[test]
fn nothing_is_mapped_without_a_grant_to_the_domain() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let good = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        let to_another = vm.bed.grant(GRANTER, Gfn(4), DOM0, false);
        let refused =
            |owner, reference| run_one_of(vm, context, owner, grant_of(10, reference, BOTH)).0;
        for reference in [0, good ^ 0x100, good + 1000, good | 1 << 32, u64::MAX, u64::MAX - 1] {
            assert_eq!(refused(GRANTER, reference), err(Errno::ENOENT), "{reference:#x}");
        }
        assert_eq!(refused(GRANTER, to_another), err(Errno::EPERM));
        assert_eq!(refused(DOM0, good), err(Errno::ENOENT));
        assert_eq!(refused(GUEST, good), err(Errno::ENOENT));
        assert_eq!(refused(pviommu_abi::DomId(77), good), err(Errno::ENOENT));
        assert_eq!(refused(pviommu_abi::DomId::SELF, good), err(Errno::ENOENT));
        assert_eq!(pins(vm, good) + pins(vm, to_another), 0);
        assert!(vm.hits_background(DEVICE, 10));
        // Fields that mean nothing.
        for nr in [0, 2, u32::MAX] {
            let element = pviommu_abi::BatchElement { nr, ..grant_of(10, good, BOTH) };
            assert_eq!(run_one_of(vm, context, GRANTER, element).0, err(Errno::EINVAL));
        }
        assert_eq!(map_grant(vm, context, 10, good, ElementFlags::empty()), err(Errno::EINVAL));
        assert_eq!(map_grant(vm, context, 1 << 36, good, BOTH), err(Errno::EINVAL));
        assert_eq!(map_grant(vm, context, 0xfee00, good, BOTH), err(Errno::EADDRNOTAVAIL));
        // Not registers, whatever the element says.
        let mmio = map_grant(vm, context, 10, good, BOTH | ElementFlags::MMIO);
        assert_eq!(mmio, err(Errno::EPERM));
        assert_eq!(pins(vm, good), 0);
        assert_eq!(vm.bed.end_grant(GRANTER, good), Ok(()));
        end(vm);
    });
}

/// INV-21: whatever fails, it is pinned as often as it is mapped.
#[test]
fn a_grant_that_cannot_be_mapped_is_not_pinned() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert_eq!(map_grant(vm, context, 10, granted, BOTH), err(Errno::EADDRINUSE));
        assert_eq!(pins(vm, granted), 0);
        assert!(vm.lands_in(DEVICE, 10, 1));
        vm.bed.schedule().set(Step::Alloc, When::Never);
        assert_eq!(map_grant(vm, context, 0x4000_0000, granted, BOTH), 0);
        let calls = vm.bed.schedule().calls(Step::Alloc);
        assert!(calls >= 4, "tables of the context, and of handles");
        assert_eq!(vm.unmap(context, 0x4000_0000, 1), (0, 1));
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        for n in 1..=calls {
            vm.bed.schedule().set(Step::Alloc, When::From(n));
            let status = map_grant(vm, context, 0x4000_0000, granted, BOTH);
            assert_eq!(status, err(Errno::ENOMEM), "{n}");
            vm.bed.schedule().clear();
            assert_eq!(pins(vm, granted), 0);
            assert!(vm.hits_background(DEVICE, 0x4000_0000));
            assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        }
        end(vm);
    });
}

/// A flush that fails holds the grant for ever (INV-15).
#[test]
fn a_grant_behind_a_unit_that_failed_is_never_given_back() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        assert_eq!(map_grant(vm, context, 10, granted, BOTH), 0);
        assert!(vm.writes(DEVICE, 10));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.unmap(context, 10, 1).0, err(Errno::EIO));
        vm.bed.schedule().clear();
        vm.bed.teardown(GUEST, 0);
        assert_eq!(pins(vm, granted), 1);
        assert_eq!(vm.bed.end_grant(GRANTER, granted), Err(Errno::EBUSY));
        assert_eq!(vm.bed.domain(GUEST).stats().leaked_pages, 1);
        assert_eq!(vm.bed.violations(), []);
    });
}

/// INV-25, INV-27: no zombie. Nobody can pin it, then it is taken out, then it ends.
#[test]
fn a_granter_that_dies_gets_its_pages_back_at_once() {
    with(&three(), |vm| {
        let (context, other) = (vm.attached_context(), vm.context());
        let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        let another = vm.bed.grant(GRANTER, Gfn(4), GUEST, true);
        assert_eq!(map_grant(vm, context, 10, granted, BOTH), 0);
        assert_eq!(map_grant(vm, other, 20, granted, READ), 0);
        assert_eq!(map_grant(vm, context, 11, another, READ), 0);
        assert_eq!(vm.map(context, 12, 1, 1, RW), (0, 1));
        assert!(vm.writes(DEVICE, 10) && vm.reads(DEVICE, 11));
        let gone = frame(vm, GRANTER, 3);
        assert_eq!(vm.bed.close_grant(GRANTER, granted), Ok(()));
        assert_eq!(map_grant(vm, context, 13, granted, READ), err(Errno::EPERM));
        assert_eq!(vm.bed.end_grant(GRANTER, granted), Err(Errno::EBUSY));
        assert_eq!(vm.bed.retarget(GUEST, &frames(vm, GRANTER, 3)), Ok(()));
        assert_eq!(vm.bed.end_grant(GRANTER, granted), Ok(()));
        assert_eq!(vm.bed.balloon_out(GRANTER, Gfn(3)), Ok(gone));
        assert_eq!(vm.bed.board().memory().frames.info(gone).unwrap().references, 0);
        assert!(vm.hits_background(DEVICE, 10));
        assert!(vm.reads(DEVICE, 11) && vm.lands_in(DEVICE, 12, 1), "nothing else has gone");
        assert_eq!(vm.unmap(context, 10, 1), (err(Errno::ENOENT), 0));
        assert_eq!(vm.unmap(other, 20, 1), (err(Errno::ENOENT), 0));
        assert_eq!(vm.map(context, 10, 2, 1, RW), (0, 1), "it can be used again");
        assert!(vm.lands_in(DEVICE, 10, 2));
        end(vm);
    });
}

/// The granter dies, and the guest with it, in any order.
#[test]
fn grants_end_with_the_context_and_with_the_domain() {
    for free in [false, true] {
        with(&three(), |vm| {
            let context = vm.attached_context();
            let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
            for bfn in [10, 0x1000, 0x4000_0000, 1 << 35] {
                assert_eq!(map_grant(vm, context, bfn, granted, BOTH), 0);
                assert!(vm.writes(DEVICE, bfn));
            }
            if free {
                assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
            } else {
                assert_eq!(vm.bed.teardown(GUEST, 0), 0);
            }
            assert_eq!(pins(vm, granted), 0);
            assert_eq!(vm.bed.end_grant(GRANTER, granted), Ok(()));
            end(vm);
        });
    }
}

/// One batch, many kinds; the order counts.
#[test]
fn a_batch_maps_and_unmaps_the_same_grant_as_often_as_it_says() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, true);
        let mut elements: Vec<_> = (0..60)
            .flat_map(|i| {
                [
                    grant_of(i, granted, READ),
                    unmap(i, 1),
                    grant_of(i, granted, READ),
                    unmap_later(i, 1),
                ]
            })
            .chain((0..60).map(|i| grant_of(i, granted, READ)))
            .map(|element| pviommu_abi::BatchElement { done: 0, ..element })
            .collect();
        let header = pviommu_abi::Batch {
            ctx_id: u32::from(context.0),
            owner: GRANTER,
            ..pviommu_abi::Batch::default()
        };
        assert_eq!(super::kit::run_as(vm, header, &mut elements), 0);
        assert!(elements.iter().all(|element| element.status == 0));
        assert_eq!(pins(vm, granted), 60);
        assert!((0..60).all(|bfn| vm.reads(DEVICE, bfn) && !vm.writes(DEVICE, bfn)));
        assert_eq!(vm.unmap(context, 0, 60), (0, 60));
        assert_eq!(pins(vm, granted), 0);
        let lookup = pviommu_abi::BatchElement {
            op: BatchOp::LOOKUP,
            bfn: Bfn(5),
            nr: 1,
            ..pviommu_abi::BatchElement::default()
        };
        assert_eq!(run_one(vm, context, lookup).0, err(Errno::ENOENT));
        assert_eq!(vm.map(ContextId(context.0), 5, 5, 1, RW), (0, 1));
        end(vm);
    });
}
