//! Pages that leave a guest while it maps them.

use pviommu_abi::{Errno, Gfn};
use pviommu_testbed::machine::Config;

use crate::{
    explore::{clear, explore, race, strike},
    kit::{DEVICE, GUEST, RW, Vm, err},
};

/// INV-20, INV-22: a page that has left is mapped by nobody anew, and freed when its last reference goes.
#[test]
fn a_page_leaves_while_it_is_mapped_and_unmapped() {
    explore(
        || Config::one_guest(64),
        |vm| {
            let context = vm.attached_context();
            let edit = |vm: &Vm<'_>| {
                for bfn in [10, 11] {
                    let (status, _) = vm.map(context, bfn, 1, 1, RW);
                    let gone = [err(Errno::ENOENT), err(Errno::EPERM)];
                    assert!(status == 0 || gone.contains(&status), "map {status}");
                }
                let _ = vm.unmap(context, 10, 1);
            };
            let leave = |vm: &Vm<'_>| {
                let frame = vm.bed.balloon_out(GUEST, Gfn(1)).unwrap();
                let frames = [pviommu_hypervisor::addr::MfnRange::single(frame)];
                assert_eq!(vm.bed.retarget(GUEST, &frames), Ok(()));
            };
            race(vm, &[&edit, &leave, &|vm| strike(vm, DEVICE, &[10, 11, 11])]);
            assert!(vm.hits_background(DEVICE, 11), "it was taken out, or never mapped");
            clear(vm, context, 10..12);
            vm.end();
        },
    );
}
