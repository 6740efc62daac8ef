//! Who is behind which unit of VT-d, and who uses which memory.

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::Access,
    topology::{DirectRange, Window},
    unit::acpi::{Dmar, NoRoom},
};

use crate::kit::{Machine, dmar, drhd, function, rmrr, scope, told, vacant};

/// Bridges 1.0 to buses 1 to 3 and, on bus 1, 0.0 to 2 and 3; an endpoint behind each of them.
fn machine() -> Machine {
    Machine::default()
        .plain(function(0, 2, 0))
        .bridge(function(0, 1, 0), 1, 3)
        .bridge(function(1, 0, 0), 2, 3)
        .plain(function(2, 4, 5))
}

fn unit_of(structures: &[Vec<u8>], machine: &Machine, function: PciDevice) -> Option<u16> {
    let table = dmar(structures);
    let unit = Dmar::parse(&table).unwrap().unit_of(function, &|it| machine.find(it));
    unit.unwrap().map(|unit| unit.0)
}

#[test]
fn who_is_named_is_not_among_all_others() {
    let units = [
        drhd(1, 0, 0x1000, &[]),
        drhd(0, 0, 0x2000, &[scope(1, 0, 0, &[[2, 0]])]),
        drhd(1, 1, 0x3000, &[]),
    ];
    let machine = machine();
    assert_eq!(unit_of(&units, &machine, function(0, 2, 0)), Some(1));
    assert_eq!(unit_of(&units, &machine, function(0, 2, 1)), Some(0), "another function");
    assert_eq!(unit_of(&units, &machine, function(2, 4, 5)), Some(0));
    assert_eq!(unit_of(&units, &machine, PciDevice::new(1, 0, 2, 0)), Some(2), "segment 1");
    assert_eq!(unit_of(&units, &machine, PciDevice::new(2, 0, 2, 0)), None, "of none");
}

#[test]
fn a_path_leads_through_bridges() {
    let unit = |path: &[[u8; 2]]| [drhd(0, 0, 0x1000, &[scope(1, 0, 0, path)])];
    let whole = unit(&[[1, 0], [0, 0], [4, 5]]);
    let machine = machine();
    assert_eq!(unit_of(&whole, &machine, function(2, 4, 5)), Some(0));
    assert_eq!(unit_of(&whole, &machine, function(1, 0, 0)), None, "on the way");
    assert_eq!(unit_of(&unit(&[[1, 0], [0, 0]]), &machine, function(2, 4, 5)), None);
    let elsewhere = unit(&[[2, 0], [4, 5]]);
    assert_eq!(unit_of(&elsewhere, &machine, function(2, 4, 5)), None, "through no bridge");
    let begun = [drhd(0, 0, 0x1000, &[scope(1, 0, 1, &[[0, 0], [4, 5]])])];
    assert_eq!(unit_of(&begun, &machine, function(2, 4, 5)), Some(0), "from bus 1 on");
    let unset = Machine::default().bridge(function(0, 1, 0), 0, 0);
    assert_eq!(unit_of(&unit(&[[1, 0], [0, 0]]), &unset, function(0, 0, 0)), None);
}

#[test]
fn a_bridge_has_all_that_is_below_it() {
    let units = [drhd(0, 0, 0x1000, &[scope(2, 0, 0, &[[1, 0]])]), drhd(1, 0, 0x2000, &[])];
    let machine = machine();
    for (below, unit) in [
        (function(0, 1, 0), 0),
        (function(1, 0, 0), 0),
        (function(2, 4, 5), 0),
        (function(3, 0, 0), 0),
        (function(4, 0, 0), 1),
        (function(0, 2, 0), 1),
    ] {
        assert_eq!(unit_of(&units, &machine, below), Some(unit), "{below}");
    }
    let endpoint = [drhd(0, 0, 0x1000, &[scope(1, 0, 0, &[[1, 0]])])];
    assert_eq!(unit_of(&endpoint, &machine, function(0, 1, 0)), Some(0));
    assert_eq!(unit_of(&endpoint, &machine, function(2, 4, 5)), None, "itself, and no more");
}

#[test]
fn scopes_of_what_is_no_function_have_no_function() {
    for kind in [3, 4, 5, 6] {
        let units = [drhd(0, 0, 0x1000, &[scope(kind, 0, 0, &[[2, 0]])])];
        assert_eq!(unit_of(&units, &machine(), function(0, 2, 0)), None);
    }
}

#[test]
fn virtual_functions_are_where_their_physical_one_is() {
    let (pf, vf) = (function(2, 4, 5), function(9, 0, 1));
    let machine = machine().virtual_function(vf, pf);
    let units = [drhd(0, 0, 0x1000, &[scope(1, 0, 0, &[[1, 0], [0, 0], [4, 5]])])];
    assert_eq!(unit_of(&units, &machine, vf), Some(0));
    let other = [drhd(0, 0, 0x1000, &[scope(1, 0, 9, &[[0, 1]])]), drhd(1, 0, 0x2000, &[])];
    assert_eq!(unit_of(&other, &machine, vf), Some(1), "its own number says nothing");
}

#[test]
fn who_sends_in_anothers_name_is_where_that_is() {
    let child = PciDevice::new(0x100, 0, 1, 0);
    let machine = machine().sends_as(child, function(0, 2, 0));
    let units = [drhd(0, 0, 0x1000, &[scope(1, 0, 0, &[[2, 0]])]), drhd(1, 0x100, 0x2000, &[])];
    assert_eq!(unit_of(&units, &machine, child), Some(0));
}

#[test]
fn what_is_named_beside_a_bridge_above_it_has_two_units() {
    let units = [
        drhd(0, 0, 0x1000, &[scope(2, 0, 0, &[[1, 0]])]),
        drhd(0, 0, 0x2000, &[scope(1, 0, 2, &[[4, 5]])]),
    ];
    let table = dmar(&units);
    let machine = machine();
    let facts = |it| machine.find(it);
    let dmar = Dmar::parse(&table).unwrap();
    let error = dmar.unit_of(function(2, 4, 5), &facts).unwrap_err();
    let expected = "at byte 0x58: a second unit has 0000:02:04.5, or what it leads to";
    assert_eq!(told(error), expected);
    assert!(dmar.unit_of(function(2, 4, 4), &facts).is_ok());
}

#[test]
fn memory_is_listed_for_each_function_that_uses_it() {
    let table = dmar(&[
        rmrr(0, 0x8000, 0x8fff, &[scope(1, 0, 0, &[[2, 0]]), scope(2, 0, 0, &[[1, 0]])]),
        rmrr(0, 0x1000, 0x3fff, &[scope(1, 0, 0, &[[2, 0]]), scope(1, 0, 0, &[[2, 0]])]),
        rmrr(1, 0x5000, 0x5fff, &[scope(1, 0, 0, &[[2, 0]])]),
        rmrr(0, 0x6000, 0x6fff, &[scope(1, 0, 0, &[[30, 0]])]),
    ]);
    let machine = machine();
    let dmar = Dmar::parse(&table).unwrap();
    let list = |room: &mut [DirectRange]| {
        let relaxable = |it: &pviommu_hypervisor::topology::Function| it.address.bus == 2;
        dmar.direct_ranges(machine.0.iter(), &|it| machine.find(it), relaxable, room)
            .map(<[DirectRange]>::to_vec)
    };
    let range = |function, first, last, relaxable| DirectRange {
        function,
        bytes: Window { first, last },
        relaxable,
        access: Access::READ | Access::WRITE,
    };
    let mut found = list(&mut [vacant(); 9]).unwrap();
    assert!(found.is_sorted_by_key(|it| it.bytes.first));
    found.sort_by_key(|it| (it.bytes.first, it.function.sbdf()));
    let expected = [
        range(function(0, 2, 0), 0x1000, 0x3fff, false),
        range(function(0, 1, 0), 0x8000, 0x8fff, false),
        range(function(0, 2, 0), 0x8000, 0x8fff, false),
        range(function(1, 0, 0), 0x8000, 0x8fff, false),
        range(function(2, 4, 5), 0x8000, 0x8fff, true),
    ];
    assert_eq!(found, expected);
    assert_eq!(list(&mut [vacant(); 5]).unwrap().len(), 5);
    for room in 0..5 {
        assert_eq!(list(&mut [vacant(); 5][..room]), Err(NoRoom { needed: 5 }));
    }
    assert_eq!(NoRoom { needed: 5 }.to_string(), "room for 5 entries is needed");
}

#[test]
fn a_bridge_has_no_function_of_another_segment() {
    let table = dmar(&[rmrr(1, 0x1000, 0x1fff, &[scope(2, 0, 0, &[[1, 0]])])]);
    let machine = machine().bridge(PciDevice::new(1, 0, 1, 0), 2, 3);
    let machine = machine.plain(PciDevice::new(1, 2, 4, 5));
    let facts = |it| machine.find(it);
    let mut room = [vacant(); 9];
    let dmar = Dmar::parse(&table).unwrap();
    let found = dmar.direct_ranges(machine.0.iter(), &facts, |_| false, &mut room).unwrap();
    assert!(found.iter().all(|range| range.function.seg == 1), "{found:?}");
    assert_eq!(found.len(), 2);
}
