//! The ids that requests carry, and what has to move together because of them.

use super::{
    RICOH, at, bridge, build, endpoint, function, groups, isolating, made_by, nodes, switch,
};
use crate::{
    platform::SourceId,
    topology::{Firmware, Function, IdAlias, Kind, Mode, Topology},
};

/// A bridge that is one from PCI Express, and has no capability to say so.
const TUNDRA: (u16, u16) = (0x10e3, 0x8113);

/// The ids of `name`, in the order in which they are told.
fn ids(functions: &[Function], firmware: Firmware<'_>, name: &str) -> Vec<String> {
    let mut room = nodes(functions, 0);
    let topology = Topology::build(&mut room, functions.len(), firmware, Mode::Safe).unwrap();
    let mut ids = Vec::new();
    topology.ids_of(at(name), &mut |id| ids.push(id.0.to_string()[5..].to_owned()));
    ids
}

#[test]
fn a_bridge_puts_ids_in_place_of_those_below_it_by_what_it_is() {
    let below = |above: Function, bridge: Function| {
        let functions = [above, bridge, function("02:03.0", Kind::Conventional)];
        let mut ids = ids(&functions, Firmware::default(), "02:03.0");
        assert_eq!(ids.remove(0), "02:03.0", "its own comes first");
        ids
    };
    let (own, of_bus) = ("01:04.0", "02:00.0");
    let of = |kind| bridge(own, kind, 2, 2);
    let hidden = made_by(TUNDRA, of(Kind::Conventional));
    let top = |kind| bridge("00:01.0", kind, 1, 2);
    for (bridge, expected) in [
        (of(Kind::UpstreamPort), &[][..]),
        (of(Kind::Conventional), &[own]),
        (of(Kind::PciToPcieBridge), &[own]),
        (of(Kind::PcieToPciBridge), &[of_bus]),
        (hidden, &[of_bus]),
        (of(Kind::Unknown), &[own, of_bus]),
    ] {
        assert_eq!(below(top(Kind::RootPort), bridge), expected, "{:?}", bridge.kind);
    }
    // There has to be PCI Express above it.
    assert_eq!(below(top(Kind::Conventional), hidden), [own, "00:01.0"]);
    assert_eq!(below(top(Kind::PcieToPciBridge), hidden), [own, "01:00.0"]);
    let on_root_bus = made_by(TUNDRA, bridge("00:01.0", Kind::Conventional, 2, 2));
    assert_eq!(below(endpoint("00:02.0"), on_root_bus), ["00:01.0"]);
}

#[test]
fn firmware_gives_a_function_its_ids_and_no_others() {
    let alias = |function, id| IdAlias { function: at(function), id: SourceId(at(id)) };
    let aliases = [alias("00:02.0", "00:1f.6"), alias("00:03.0", "00:1f.7")];
    let firmware = Firmware { aliases: &aliases, ..Firmware::default() };
    let functions = [endpoint("00:02.0"), endpoint("00:03.0")];
    assert_eq!(ids(&functions, firmware, "00:03.0"), ["00:03.0", "00:1f.7"]);
}

#[test]
fn functions_that_may_use_one_id_are_together_though_it_is_nobodys_own() {
    let ricoh = |name| isolating(made_by(RICOH, endpoint(name)));
    let functions = [ricoh("00:07.1"), ricoh("00:07.2"), ricoh("00:08.1")];
    let mut room = nodes(&functions, 0);
    let topology = build(&mut room, functions.len());
    assert_eq!(groups(&topology), ["00:07.1 00:07.2"]);
    assert_eq!(topology.moves_with(at("00:07.2")), Some(at("00:07.1")));
}

#[test]
fn ids_that_nobody_else_uses_tie_a_port_to_nothing() {
    let mut functions = switch();
    functions.first_mut().unwrap().phantom_bits = 1;
    let mut room = nodes(&functions, 0);
    let topology = build(&mut room, functions.len());
    assert!(groups(&topology).is_empty());
}
