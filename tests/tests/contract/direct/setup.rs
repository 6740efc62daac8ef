//! INV-34: a machine whose firmware tells nonsense is not served.

use pviommu_abi::Bfn;
use pviommu_hypervisor::{
    OptIns, Reserved, ReservedKind, SetupError,
    addr::BfnRange,
    platform::{Access, SourceId},
};
use pviommu_testbed::machine::{Config, reserved, try_run};

use super::kit::{ALL, READ_ONLY, SECOND, direct, machine};
use crate::kit::DEVICE;

fn refusal(config: &Config) -> Option<SetupError> {
    try_run(config, |_| ()).err()
}

#[test]
fn a_range_that_allows_nothing_or_overlaps_another_is_refused() {
    let good = direct(0x8000, 8, ALL);
    assert_eq!(refusal(&machine(&[&[good, direct(0x8008, 1, READ_ONLY)]])), None, "neighbours");
    let nothing = direct(0x9000, 2, Access::empty());
    let wrong = Some(SetupError::DirectConflict(DEVICE, nothing.range));
    assert_eq!(refusal(&machine(&[&[good, nothing]])), wrong);
    for other in [
        direct(0x8000, 8, READ_ONLY),
        direct(0x8000, 4, ALL),
        direct(0x7ffe, 3, ALL),
        direct(0x8007, 1, ALL),
        reserved(BfnRange::of_pages(Bfn(0x8003), 1).unwrap(), ReservedKind::Reserved),
        reserved(BfnRange::of_pages(Bfn(0x8007), 9).unwrap(), ReservedKind::BridgeWindow),
    ] {
        for ranges in [[good, other], [other, good]] {
            let found = refusal(&machine(&[&[], &ranges]));
            let about_second = matches!(found, Some(SetupError::DirectConflict(SECOND, _)));
            assert!(about_second, "{other:?}: {found:?}");
        }
    }
    let told = Reserved { kind: ReservedKind::DirectRelaxable, ..direct(0x8004, 9, READ_ONLY) };
    assert_eq!(refusal(&machine(&[&[good, told]])), None, "that one is only told");
}

/// The interrupt range, bus frames that are nobody's, what no unit puts out or translates.
#[test]
fn a_range_that_cannot_be_mapped_one_to_one_is_refused() {
    for range in [
        direct(0xfee00, 1, ALL),
        direct(0xfedff, 2, ALL),
        direct(0xfeeff, 2, ALL),
        direct(0x7000, 0x10, ALL),
        direct(0x700f, 1, ALL),
        direct(0x6ff0, 0x11, ALL),
    ] {
        let mut config = machine(&[&[range]]);
        let nobodys = BfnRange::of_pages(Bfn(0x7000), 0x10).unwrap();
        config.reserved.push(reserved(nobodys, ReservedKind::Reserved));
        let wrong = Some(SetupError::DirectUnreachable(DEVICE, range.range));
        assert_eq!(refusal(&config), wrong, "{range:?}");
    }
    for (bus, host) in [(30, 46), (48, 30)] {
        let range = direct(0x3_ffff, 2, ALL);
        let mut config = machine(&[&[range]]);
        (config.units[0].bus_address_bits, config.units[0].host_address_bits) = (bus, host);
        let wrong = Some(SetupError::DirectUnreachable(DEVICE, range.range));
        assert_eq!(refusal(&config), wrong, "{bus} {host}");
    }
    let last = BfnRange::new(Bfn(0x9000), Bfn(u64::MAX)).unwrap();
    let range = Reserved { range: last, ..direct(0, 1, ALL) };
    let wrong = Some(SetupError::DirectUnreachable(DEVICE, last));
    assert_eq!(refusal(&machine(&[&[range]])), wrong);
}

/// Frames that are memory, or page tables: the machine's lie from 4 GiB on.
#[test]
fn a_range_that_is_memory_is_refused() {
    for first in [1 << 20, (1 << 20) + 0x4000, 1 << 21] {
        let range = direct(first, 2, ALL);
        let found = refusal(&machine(&[&[range]]));
        let refused = [
            Some(SetupError::DirectIsMemory(DEVICE, range.range)),
            Some(SetupError::DirectUnreachable(DEVICE, range.range)),
        ];
        assert!(refused.contains(&found), "{range:?}: {found:?}");
    }
}

#[test]
fn a_device_with_direct_ranges_needs_quarantine_and_room_in_a_context() {
    let range = direct(0x8000, 2, ALL);
    let mut config = machine(&[&[], &[range]]);
    config.quarantine = None;
    assert_eq!(refusal(&config), Some(SetupError::NoQuarantine(SECOND)));
    config.domains[0].opt_ins = OptIns::empty();
    assert_eq!(refusal(&config), Some(SetupError::NoQuarantine(SECOND)));
    let many: Vec<Reserved> = (0..33).map(|i| direct(0x8000 + i, 1, ALL)).collect();
    assert_eq!(refusal(&machine(&[&many])), Some(SetupError::TooManyRanges(DEVICE)));
    assert_eq!(refusal(&machine(&[&many[..32]])), None);
}

/// INV-40: no unit could tell them apart.
#[test]
fn a_source_id_that_two_devices_share_is_refused() {
    let phantom = pviommu_abi::PciDevice { seg: 0, bus: 7, devfn: 9 };
    for (first, second, shared) in [
        (vec![phantom], vec![phantom], phantom),
        (vec![phantom], vec![SECOND, phantom], SECOND),
        (vec![SECOND], vec![], SECOND),
        (vec![], vec![DEVICE], DEVICE),
        (vec![DEVICE], vec![], DEVICE),
    ] {
        let mut config = machine(&[&[], &[], &[]]);
        config.devices[0].aliases = first;
        config.devices[1].aliases = second;
        let found = refusal(&config);
        let names = matches!(found, Some(SetupError::SharedSource(_, id)) if
            id == SourceId(shared) || id == SourceId(phantom));
        assert!(names, "{found:?}");
    }
    let mut config = machine(&[&[], &[], &[]]);
    config.devices[2].aliases = vec![phantom];
    assert_eq!(refusal(&config), None);
    config.devices[2].function = DEVICE;
    assert!(matches!(refusal(&config), Some(SetupError::DevicesNotSorted(DEVICE))));
}
