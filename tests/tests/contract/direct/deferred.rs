//! Direct ranges where removals wait for their flush.

use pviommu_abi::ContextId;
use pviommu_hypervisor::platform::UnitFeatures;

use super::kit::{ALL, SECOND, check, direct, machine};
use crate::{
    batch_kit::{run_one, unmap_later},
    kit::{DEVICE, RW, with},
};

/// INV-31: what a unit has cached under the tag of the context is not what a device's firmware finds
/// when it comes.
#[test]
fn what_is_unmapped_and_not_yet_flushed_is_flushed_before_a_device_needs_it() {
    for features in [UnitFeatures::empty(), UnitFeatures::CACHES_NOT_PRESENT] {
        let range = direct(0x8000, 4, ALL);
        let mut config = machine(&[&[range], &[]]);
        config.units[0].features.insert(features);
        with(&config, |vm| {
            let context = vm.context();
            assert_eq!(vm.attach(SECOND, context), 0);
            assert_eq!(vm.map(context, 0x8000, 1, 4, RW), (0, 4));
            assert!((0..4).all(|i| vm.lands_in(SECOND, 0x8000 + i, 1 + i)), "now it is cached");
            assert_eq!(run_one(vm, context, unmap_later(0x8000, 4)), (0, 4));
            assert_eq!(vm.attach(DEVICE, context), 0);
            check(vm, DEVICE, &range);
            assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
            vm.end();
        });
    }
}

/// The other way round: what was there for the device is not what the guest's next page is.
#[test]
fn what_a_device_leaves_behind_is_flushed_before_a_guest_maps_there() {
    let range = direct(0x8000, 4, ALL);
    with(&machine(&[&[range], &[]]), |vm| {
        let context = vm.context();
        assert_eq!(vm.attach(SECOND, context), 0);
        assert_eq!(vm.attach(DEVICE, context), 0);
        check(vm, DEVICE, &range);
        check(vm, SECOND, &range);
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert!((0x8000..0x8004).all(|bfn| vm.hits_background(SECOND, bfn)));
        assert_eq!(vm.map(context, 0x8000, 1, 4, RW), (0, 4));
        assert!((0..4).all(|i| vm.lands_in(SECOND, 0x8000 + i, 1 + i)));
        vm.end();
    });
}
