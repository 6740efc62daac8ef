//! What Linux makes of machines, where it takes more than one step to find it.

use super::{at, bridge, endpoint, groups_in, isolating, made_by};
use crate::topology::{Function, Kind, Mode, Traits};

fn linux(functions: &[Function]) -> Vec<String> {
    groups_in(functions, Mode::AsLinux)
}

fn first_of_several(name: &str) -> Function {
    Function { traits: Traits::MULTIFUNCTION, ..endpoint(name) }
}

#[test]
fn functions_below_ports_of_every_root_bus_are_found() {
    let port = |name, bus| bridge(name, Kind::RootPort, bus, bus);
    let functions = [
        port("00:01.0", 1),
        endpoint("01:00.0"),
        port("80:01.0", 0x81),
        endpoint("81:00.0"),
        // The next one on its bus, below which nothing is, and one more.
        port("80:02.0", 0x82),
        port("80:03.0", 0x83),
        endpoint("83:00.0"),
    ];
    assert_eq!(linux(&functions), ["00:01.0 01:00.0", "80:01.0 81:00.0", "80:03.0 83:00.0"]);
}

/// Its physical function is on the bus before.
#[test]
fn functions_of_a_root_bus_are_found_behind_a_virtual_one() {
    let (physical, traits) = (Some(at("00:10.0")), Traits::VIRTUAL);
    let functions = [
        endpoint("00:10.0"),
        Function { physical, traits, ..endpoint("01:00.0") },
        first_of_several("01:02.0"),
        endpoint("01:02.1"),
    ];
    assert_eq!(linux(&functions), ["01:02.0 01:02.1"]);
}

#[test]
fn a_function_with_a_number_is_one_of_several_whatever_its_header_says() {
    let functions = [first_of_several("00:02.0"), endpoint("00:02.1"), endpoint("00:03.0")];
    assert_eq!(linux(&functions), ["00:02.0 00:02.1"]);
}

/// It is not open itself, and the one whose id it may use has no group yet.
#[test]
fn who_may_use_an_id_is_with_the_open_functions_of_that_ones_slot() {
    let may_use_12_3 = made_by((0x8086, 0x2260), isolating(endpoint("00:12.1")));
    let functions = [first_of_several("00:12.0"), may_use_12_3, endpoint("00:12.3")];
    assert_eq!(linux(&functions), ["00:12.0 00:12.1 00:12.3"]);
}
