//! Who is behind which unit of AMD-Vi, which ids requests carry, and who uses which memory.

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::{Access, SourceId},
    topology::{DirectRange, IdAlias, Window},
    unit::acpi::{Ivrs, NoRoom},
};

use crate::kit::{Machine, function, ivhd, ivmd, ivrs, vacant};

/// A unit with the id 2 for ids 0x100 to 0x1ff, and one with the id 3 for all others.
fn two() -> [Vec<u8>; 3] {
    [
        ivhd(0x10, 0, 3, 0x4000, &[&[1, 0, 0, 0]]),
        ivhd(0x11, 0, 2, 0x8000, &[&[3, 0, 1, 0], &[4, 0xff, 1, 0]]),
        ivhd(0x11, 1, 2, 0xc000, &[&[2, 8, 0, 0], &[0x48, 0, 0, 0, 0, 0xa0, 0, 1]]),
    ]
}

fn unit_of(blocks: &[Vec<u8>], machine: &Machine, function: PciDevice) -> Option<u16> {
    let table = ivrs(blocks);
    let unit = Ivrs::parse(&table).unwrap().unit_of(function, &|it| machine.find(it));
    unit.map(|unit| unit.0)
}

#[test]
fn who_is_named_is_not_among_all_others() {
    let machine = Machine::default();
    for (function, unit) in [
        (function(1, 0, 0), Some(1)),
        (function(1, 31, 7), Some(1)),
        (function(2, 0, 0), Some(0)),
        (function(0, 0, 0), Some(0)),
        (PciDevice::new(1, 0, 1, 0), Some(2)),
        (PciDevice::new(1, 0, 2, 0), None),
        (PciDevice::new(1, 0, 0x14, 0), None),
        (PciDevice::new(2, 0, 1, 0), None),
    ] {
        assert_eq!(unit_of(&two(), &machine, function), unit, "{function}");
    }
}

#[test]
fn a_unit_is_behind_none() {
    let machine = Machine::default();
    for unit in [function(0, 0, 2), function(0, 0, 3), PciDevice::new(1, 0, 0, 2)] {
        assert_eq!(unit_of(&two(), &machine, unit), None);
    }
    let named = [ivhd(0x10, 0, 2, 0x4000, &[&[2, 2, 0, 0], &[2, 3, 0, 0]])];
    assert_eq!(unit_of(&named, &machine, function(0, 0, 2)), None, "although an entry names it");
    assert_eq!(unit_of(&named, &machine, function(0, 0, 3)), Some(0));
}

#[test]
fn a_unit_that_sends_in_the_name_of_another_is_behind_none() {
    let (unit, other) = (function(0, 0, 2), function(0, 0, 4));
    let all = [ivhd(0x10, 0, 2, 0x4000, &[&[1, 0, 0, 0]])];
    let machine = Machine::default().sends_as(unit, other).sends_as(function(0, 0, 5), unit);
    assert_eq!(unit_of(&all, &machine, other), Some(0));
    assert_eq!(unit_of(&all, &machine, unit), None);
    assert_eq!(unit_of(&all, &machine, function(0, 0, 5)), None, "nor who sends in a unit's");
}

#[test]
fn what_a_lower_type_says_of_a_unit_does_not_count() {
    let blocks = [
        ivhd(0x10, 0, 2, 0x4000, &[&[2, 8, 0, 0], &[1, 0, 0, 0]]),
        ivhd(0x11, 0, 2, 0x4000, &[&[2, 16, 0, 0]]),
        ivhd(0x11, 0, 3, 0x8000, &[&[2, 8, 0, 0]]),
    ];
    let machine = Machine::default();
    assert_eq!(unit_of(&blocks, &machine, function(0, 1, 0)), Some(1));
    assert_eq!(unit_of(&blocks, &machine, function(0, 2, 0)), Some(0));
    assert_eq!(unit_of(&blocks, &machine, function(0, 3, 0)), None, "as all others");
}

#[test]
fn virtual_functions_are_where_their_physical_one_is_if_no_entry_names_them() {
    let pf = function(1, 0, 0);
    let vf = function(9, 0, 1);
    let machine = Machine::default().plain(pf).virtual_function(vf, pf);
    assert_eq!(unit_of(&two(), &machine, vf), Some(1));
    let mut named = two().to_vec();
    named.push(ivhd(0x10, 0, 0x402, 0x1_0000, &[&[2, 1, 9, 0]]));
    assert_eq!(unit_of(&named, &machine, vf), Some(3));
}

#[test]
fn who_sends_in_anothers_name_is_where_that_is() {
    let child = PciDevice::new(0x100, 0, 1, 0);
    let machine = Machine::default().sends_as(child, function(1, 0, 0));
    assert_eq!(unit_of(&two(), &machine, child), Some(1));
}

#[test]
fn what_requests_carry_is_listed_for_each_function() {
    let table = ivrs(&[
        ivhd(0x10, 0, 2, 0x4000, &[&[0x42, 0, 9, 0, 0, 8, 9, 0]]),
        ivhd(
            0x11,
            0,
            2,
            0x4000,
            &[
                &[0x43, 0, 3, 0, 0, 0, 3, 0],
                &[4, 0xff, 3, 0],
                &[0x42, 0x10, 3, 0, 0, 0, 2, 0],
                &[2, 0x10, 3, 0],
                &[2, 0, 1, 0],
            ],
        ),
    ]);
    let mut machine = Machine::default();
    for (bus, device) in [(9, 0), (3, 0), (3, 1), (3, 2), (1, 0)] {
        machine = machine.plain(function(bus, device, 0));
    }
    machine = machine.plain(PciDevice::new(1, 3, 1, 0));
    let ivrs = Ivrs::parse(&table).unwrap();
    let alias = |device, bus| IdAlias {
        function: function(3, device, 0),
        id: SourceId(function(bus, 0, 0)),
    };
    let mut room = [alias(0, 0); 4];
    let found = ivrs.aliases(machine.0.iter(), &mut room).unwrap();
    assert_eq!(found, [alias(2, 2), alias(1, 3)], "in order; none is its own");
    assert_eq!(ivrs.aliases(machine.0.iter(), &mut room[..1]), Err(NoRoom { needed: 2 }));
}

#[test]
fn memory_is_listed_for_each_function_that_uses_it() {
    let mut blocks = two().to_vec();
    blocks.push(ivmd(0x22, 0x03, [0x100, 0x10f], 0x8000, 0x1000));
    blocks.push(ivmd(0x20, 0x07, [0, 0], 0x4000, 0x2000));
    blocks.push(ivmd(0x21, 0x01, [0x100, 0], 0x1000, 0x1000));
    blocks.push(ivmd(0x21, 0x08, [0x110, 0], 0x2000, 0x1000));
    let table = ivrs(&blocks);
    let machine = Machine::default()
        .plain(function(0, 0, 2))
        .plain(function(1, 0, 0))
        .plain(function(1, 2, 0))
        .plain(PciDevice::new(1, 1, 0, 0));
    let ivrs = Ivrs::parse(&table).unwrap();
    let range = |device, first, last, access| DirectRange {
        function: function(1, device, 0),
        bytes: Window { first, last },
        relaxable: false,
        access,
    };
    let both = Access::READ | Access::WRITE;
    let mut room = [vacant(); 5];
    let mut found = ivrs.direct_ranges(machine.0.iter(), &mut room).unwrap().to_vec();
    assert!(found.is_sorted_by_key(|it| it.bytes.first));
    found.sort_by_key(|it| (it.bytes.first, it.function.sbdf()));
    let expected = [
        range(2, 0x2000, 0x2fff, both),
        range(0, 0x4000, 0x5fff, both),
        range(2, 0x4000, 0x5fff, both),
        range(0, 0x8000, 0x8fff, Access::READ),
    ];
    assert_eq!(found, expected, "what does nothing anywhere, and units, have none");
    let none = ivrs.direct_ranges(machine.0.iter(), &mut []);
    assert_eq!(none, Err(NoRoom { needed: 4 }));
}
