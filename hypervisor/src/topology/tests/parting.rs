use super::{at, bridge, build, endpoint, function, isolating, made_by, nodes, switch};
use crate::topology::{Acs, AcsBits, Firmware, Function, Kind, Mode, Remedy, Topology};

/// What would part `name`, each thing once.
fn remedies<'t>(topology: &'t Topology<'_>, name: &str) -> Vec<Remedy<'t>> {
    let mut found = Vec::new();
    topology.remedies(at(name), &mut |remedy| {
        if !found.contains(&remedy) {
            found.push(remedy);
        }
    });
    found
}

#[test]
fn of_one_that_is_alone_nothing_is_told() {
    let functions = switch();
    let mut room = nodes(&functions, 0);
    let topology = build(&mut room, functions.len());
    assert!(
        functions.iter().all(|it| remedies(&topology, &it.address.to_string()[5..]).is_empty())
    );
    // What is behind no unit gets no group of Linux's, whatever is above it.
    let functions =
        [bridge("00:01.0", Kind::RootPort, 1, 1), Function { unit: None, ..endpoint("01:00.0") }];
    let mut room = nodes(&functions, 0);
    let topology = Topology::build(&mut room, 2, Firmware::default(), Mode::AsLinux).unwrap();
    assert_eq!(remedies(&topology, "01:00.0"), []);
}

#[test]
fn a_card_inside_a_switch_is_no_matter_of_ids() {
    let mut functions = switch();
    functions.push(endpoint("02:02.0"));
    let mut room = nodes(&functions, 0);
    let topology = build(&mut room, functions.len());
    let inside = topology.function(at("02:02.0")).unwrap();
    assert_eq!(remedies(&topology, "04:00.0"), [Remedy::InsideSwitch(inside)]);
}

#[test]
fn what_is_to_be_switched_is_what_is_wrong() {
    let acs = |control| Acs::Present { capability: AcsBits::all(), control, at: 0x100 };
    let with = |name, kind, acs| Function { acs, ..function(name, kind) };
    let off = AcsBits::REQUEST_REDIRECT;
    let vector = AcsBits::ISOLATION | AcsBits::EGRESS_CONTROL;
    let functions = [
        isolating(bridge("00:01.0", Kind::RootPort, 1, 1)),
        with("01:00.0", Kind::Endpoint, acs(AcsBits::ISOLATION - off)),
        with("01:00.1", Kind::Endpoint, acs(vector)),
        with("01:00.2", Kind::EventCollector, acs(AcsBits::ISOLATION)),
        with("01:00.3", Kind::Endpoint, Acs::Absent),
        with("01:00.4", Kind::Endpoint, Acs::Unknown),
        isolating(endpoint("01:00.5")),
        with("01:00.6", Kind::Unknown, Acs::Absent),
        // It has none for certain.
        with("01:00.7", Kind::Conventional, Acs::Unknown),
    ];
    let mut room = nodes(&functions, 0);
    let topology = build(&mut room, functions.len());
    let of = |name| topology.function(at(name)).unwrap();
    let expected = [
        Remedy::SwitchOn(of("01:00.0"), off),
        Remedy::SwitchEgressControlOff(of("01:00.1")),
        Remedy::AskVendor(of("01:00.2")),
        Remedy::AskVendor(of("01:00.3")),
        Remedy::ReadAll(of("01:00.4")),
        Remedy::ReadAll(of("01:00.6")),
        Remedy::AskVendor(of("01:00.7")),
    ];
    assert_eq!(remedies(&topology, "01:00.5"), expected, "all of it");
}

#[test]
fn a_port_of_a_chipset_needs_its_registers_and_no_word_of_its_vendor() {
    let port = made_by((0x8086, 0x1c10), bridge("00:1c.0", Kind::RootPort, 1, 1));
    let mut room = nodes(&[port, endpoint("01:00.0")], 0);
    let topology = build(&mut room, 2);
    assert_eq!(remedies(&topology, "01:00.0"), [Remedy::ReachChipset(&port)]);
}
