//! INV-34: whatever ranges a firmware's table has for a device, either the machine is not served, or
//! the device finds each of them with its own access, and nothing beside it.

use proptest::prelude::*;
use pviommu_abi::Bfn;
use pviommu_hypervisor::{Reserved, ReservedKind, addr::BfnRange, platform::Access};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Reach, try_run},
};

use super::kit::{check, machine};
use crate::{
    kinds,
    kit::{DEVICE, Vm, with},
};

/// Where all ranges begin: neighbours and overlaps are likely.
const FIRST: u64 = 0x8000;

fn any_range() -> impl Strategy<Value = Reserved> {
    let kind = prop_oneof![
        4 => Just(ReservedKind::Direct),
        1 => Just(ReservedKind::Reserved),
    ];
    (0u64..24, 1u64..5, kind, 0u8..10).prop_map(|(first, pages, kind, access)| {
        let range = BfnRange::of_pages(Bfn(FIRST + first), pages).unwrap();
        let access = match access {
            0 => Access::empty(),
            1..4 => Access::READ,
            _ => Access::all(),
        };
        Reserved { range, kind, access }
    })
}

fn is_direct(range: &Reserved) -> bool {
    range.kind == ReservedKind::Direct
}

/// A direct range that allows nothing, or on which another does not agree. The same one twice is one.
fn is_nonsense(ranges: &[Reserved]) -> bool {
    ranges.iter().enumerate().any(|(index, range)| {
        let meets =
            |other: &Reserved| other != range && range.range.intersection(other.range).is_some();
        let others = ranges.iter().skip(index + 1);
        let conflict = others.filter(|other| is_direct(range) || is_direct(other)).any(meets);
        conflict || is_direct(range) && range.access.is_empty()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_list_of_ranges_is_refused_or_is_what_the_device_finds(
        ranges in proptest::collection::vec(any_range(), 0..5),
    ) {
        let config = machine(&[&ranges]);
        let served = try_run(&kinds::of_this_kind(&config), |_| ());
        prop_assert_eq!(served.is_err(), is_nonsense(&ranges));
        if served.is_ok() {
            with(&config, |vm| is_found(vm, &ranges));
        }
    }
}

/// Checks that the device finds each of `ranges` that is direct, and nothing of the kind beside them.
fn is_found(vm: &Vm<'_>, ranges: &[Reserved]) {
    let direct = || ranges.iter().filter(|range| is_direct(range));
    vm.attached_context();
    for range in direct() {
        check(vm, DEVICE, range);
    }
    for bfn in FIRST - 1..FIRST + 30 {
        let is_inside = |range: &Reserved| range.range.intersection(BfnRange::single(Bfn(bfn)));
        let inside = direct().any(|range| is_inside(range).is_some());
        let hit = vm.hits(DEVICE, bfn, Direction::Read);
        assert_eq!(hit == Some(Reach::Mmio), inside, "{bfn:#x}");
    }
    vm.end();
}
