//! What is announced, against what is served.

use pviommu_abi::{
    AllocContext, AllocFlags, CapabilityFlags, DeviceFlags, DeviceHandle, Errno, QueryDevice, Subop,
};
use pviommu_hypervisor::{DefaultMap, platform::UnitFeatures};
use pviommu_testbed::machine::Config;

use crate::kit::{DEVICE, err, with};

/// Each bit, and the subops that are served if it is set.
const SUBOPS: [(CapabilityFlags, &[Subop]); 11] = [
    (CapabilityFlags::NESTED, &[Subop::ALLOC_NESTED, Subop::FLUSH_NESTED]),
    (CapabilityFlags::PASID, &[Subop::ATTACH_PASID, Subop::DETACH_PASID]),
    (CapabilityFlags::DEFERRED_FLUSH, &[Subop::FLUSH_PAGES]),
    (CapabilityFlags::BATCH, &[Subop::BATCH]),
    (CapabilityFlags::QUERY_RESERVED, &[Subop::QUERY_RESERVED]),
    (CapabilityFlags::TAKE_OWNERSHIP, &[Subop::TAKE_OWNERSHIP]),
    (CapabilityFlags::LOOKUP, &[Subop::LOOKUP]),
    (CapabilityFlags::QUERY_DEVICE, &[Subop::QUERY_DEVICE]),
    (CapabilityFlags::READ_FAULTS, &[Subop::READ_FAULTS]),
    (CapabilityFlags::QUERY_LIMITS, &[Subop::QUERY_LIMITS]),
    (CapabilityFlags::ALLOC_CONTEXT_EXT, &[Subop::ALLOC_CONTEXT_EXT]),
];

/// INV-62: whatever the units can do, a bit is set if and only if what it stands for works.
#[test]
fn a_bit_is_set_if_and_only_if_what_it_stands_for_works() {
    let optional = [
        UnitFeatures::COHERENT,
        UnitFeatures::CACHES_NOT_PRESENT,
        UnitFeatures::WRITE_BUFFER,
        UnitFeatures::SNOOP_CONTROL,
        UnitFeatures::LEAF_2M,
    ];
    for set in 0..1u32 << optional.len() {
        let mut config = Config::one_guest(64);
        for (bit, feature) in optional.into_iter().enumerate() {
            config.units[0].features.set(feature, set & 1 << bit != 0);
        }
        let map = if set & 1 == 0 { DefaultMap::Blocked } else { DefaultMap::Guest };
        with(&config.with_default_map(map), |vm| {
            let announced = vm.capabilities().cap_flags;
            for (flag, subops) in SUBOPS {
                for subop in subops {
                    let served = vm.guest.call(u64::from(subop.0), u64::MAX);
                    let expected =
                        if announced.contains(flag) { Errno::EFAULT } else { Errno::EOPNOTSUPP };
                    assert_eq!(served, err(expected), "{subop:?} and {flag:?}");
                }
            }
            let starts = vm.lands_in(DEVICE, 5, 5);
            assert_eq!(announced.contains(CapabilityFlags::DEFAULT_IDENTITY), starts);
            let mut query =
                QueryDevice { device: DeviceHandle::pci(DEVICE), ..QueryDevice::default() };
            assert_eq!(vm.op(Subop::QUERY_DEVICE, &mut query), 0);
            let snooped = query.state.contains(DeviceFlags::COHERENT);
            assert_eq!(announced.contains(CapabilityFlags::CACHE), snooped);
            vm.context();
            let alloc_flags = AllocFlags::IDENTITY;
            let mut alloc = AllocContext { alloc_flags, ..AllocContext::default() };
            let identity = vm.op(Subop::ALLOC_CONTEXT, &mut alloc) == 0;
            assert_eq!(announced.contains(CapabilityFlags::IDENTITY), identity);
            vm.end();
        });
    }
}
