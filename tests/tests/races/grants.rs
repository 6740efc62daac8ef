//! Grants that end while they are mapped.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use pviommu_abi::{Errno, Gfn};

use crate::{
    explore::{explore, race, strike},
    foreign_kit::{BOTH, GRANTER, end, grant_of, three},
    kit::{DEVICE, GUEST, Vm, err},
};

/// Maps a grant by a batch of one; the status.
fn map_grant(vm: &Vm<'_>, context: pviommu_abi::ContextId, bfn: u64, reference: u64) -> i64 {
    crate::foreign_kit::run_one_of(vm, context, GRANTER, grant_of(bfn, reference, BOTH)).0
}

/// INV-25: a grant that has ended is mapped nowhere, and one that is mapped does not end.
#[test]
fn a_grant_ends_while_it_is_mapped() {
    explore(three, |vm| {
        let context = vm.attached_context();
        let reference = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        let (mapped, ended) = (AtomicI64::new(1), AtomicBool::new(false));
        let map =
            |vm: &Vm<'_>| mapped.store(map_grant(vm, context, 10, reference), Ordering::Relaxed);
        let stop = |vm: &Vm<'_>| {
            let end = vm.bed.end_grant(GRANTER, reference);
            ended.store(end.is_ok(), Ordering::Relaxed);
        };
        race(vm, &[&map, &stop, &|vm| strike(vm, DEVICE, &[10, 10])]);
        match (mapped.into_inner(), ended.into_inner()) {
            (0, false) => {
                assert_eq!(vm.bed.board().grant_pins(GRANTER, reference), 1);
                assert_eq!(vm.unmap(context, 10, 1), (0, 1));
                assert_eq!(vm.bed.end_grant(GRANTER, reference), Ok(()));
            }
            (status, true) => assert_eq!(status, err(Errno::ENOENT)),
            (status, false) => panic!("neither: {status}"),
        }
        end(vm);
    });
}

/// INV-25: two CPUs that unmap one grant give its handle back once, and after the flush.
#[test]
fn a_grant_ends_while_it_is_unmapped_twice() {
    explore(three, |vm| {
        let context = vm.attached_context();
        let reference = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        assert_eq!(map_grant(vm, context, 10, reference), 0);
        let unmapped = AtomicI64::new(0);
        let unmap = |vm: &Vm<'_>| {
            let (status, pages) = vm.unmap(context, 10, 1);
            assert!([0, err(Errno::ENOENT)].contains(&status), "unmap {status}");
            unmapped.fetch_add(i64::from(pages), Ordering::Relaxed);
        };
        let stop = |vm: &Vm<'_>| {
            while vm.bed.end_grant(GRANTER, reference).is_err() {
                strike(vm, DEVICE, &[10]);
                shuttle::thread::yield_now();
            }
        };
        race(vm, &[&unmap, &unmap, &stop]);
        assert_eq!(unmapped.into_inner(), 1);
        end(vm);
    });
}
