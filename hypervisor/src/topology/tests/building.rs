use super::{
    RICOH, SWITCHTEC, at, bridge, build, endpoint, function, groups, isolating, made_by, nodes,
    switch,
};
use crate::{
    platform::{Access, SourceId},
    topology::{
        Contradiction, DirectRange, Firmware, Function, IdAlias, Kind, Mode, Reason, Topology,
        Traits, Window,
    },
};

fn refused(functions: &[Function]) -> Contradiction {
    let mut nodes = nodes(functions, 0);
    let built = Topology::build(&mut nodes, functions.len(), Firmware::default(), Mode::Safe);
    built.map(|_| ()).unwrap_err()
}

#[test]
fn what_cannot_be_is_refused_with_the_functions_that_say_so() {
    let port = |name, first, last| bridge(name, Kind::RootPort, first, last);
    let buses = |function: Function| function.buses.unwrap();
    assert_eq!(
        refused(&[endpoint("00:02.0"), endpoint("00:02.0")]),
        Contradiction::Twice(at("00:02.0"))
    );
    let back = bridge("02:00.0", Kind::RootPort, 1, 1);
    assert_eq!(refused(&[back]), Contradiction::Loop(at("02:00.0"), buses(back)));
    let own = bridge("02:00.0", Kind::RootPort, 2, 3);
    assert_eq!(refused(&[own]), Contradiction::Loop(at("02:00.0"), buses(own)));
    let none = port("00:01.0", 4, 3);
    assert_eq!(refused(&[none]), Contradiction::Backwards(at("00:01.0"), buses(none)));
    let two = [port("00:01.0", 1, 3), port("00:02.0", 3, 4)];
    assert_eq!(refused(&two), Contradiction::Overlap(at("00:01.0"), at("00:02.0"), 3));
    let same = [port("00:01.0", 1, 1), port("00:02.0", 1, 1)];
    assert_eq!(refused(&same), Contradiction::Overlap(at("00:01.0"), at("00:02.0"), 1));
    let below = [
        port("00:01.0", 1, 3),
        bridge("01:00.0", Kind::UpstreamPort, 2, 3),
        bridge("01:01.0", Kind::UpstreamPort, 3, 3),
    ];
    assert_eq!(refused(&below), Contradiction::Overlap(at("01:00.0"), at("01:01.0"), 3));
    let outside = [port("00:01.0", 1, 2), bridge("01:00.0", Kind::UpstreamPort, 2, 3)];
    assert_eq!(refused(&outside), Contradiction::Outside(at("01:00.0"), at("00:01.0")));
    let elsewhere =
        [port("00:01.0", 1, 1), port("00:02.0", 2, 2), bridge("01:00.0", Kind::UpstreamPort, 2, 2)];
    assert_eq!(refused(&elsewhere), Contradiction::Outside(at("01:00.0"), at("00:01.0")));
    let hidden = [port("00:01.0", 1, 3), endpoint("02:00.0")];
    assert_eq!(refused(&hidden), Contradiction::Unconnected(at("02:00.0"), at("00:01.0")));
    let virtual_function = Function { traits: Traits::VIRTUAL, ..endpoint("01:00.1") };
    assert_eq!(refused(&[virtual_function]), Contradiction::NoPhysical(at("01:00.1")));
    let of_another = Function { physical: Some(at("01:00.2")), ..virtual_function };
    let other =
        Function { physical: Some(at("01:00.1")), traits: Traits::VIRTUAL, ..endpoint("01:00.2") };
    assert_eq!(refused(&[of_another, other]), Contradiction::NoPhysical(at("01:00.1")));
    let child = Function { requests_as: Some(at("00:0e.0")), ..endpoint("01:00.0") };
    assert_eq!(refused(&[child]), Contradiction::NoSender(at("01:00.0"), at("00:0e.0")));
    let mut few = nodes(&[endpoint("00:02.0")], 0);
    let more = Topology::build(&mut few, 2, Firmware::default(), Mode::Safe);
    assert_eq!(more.map(|_| ()).unwrap_err(), Contradiction::TooMany(1));
}

/// It could be taken for what the other bridge sends, and would be tied to nothing there.
#[test]
fn a_virtual_function_on_a_bus_of_another_bridge_is_refused() {
    let ports = [
        bridge("00:01.0", Kind::RootPort, 1, 2),
        bridge("00:02.0", Kind::PcieToPciBridge, 3, 3),
        endpoint("01:00.0"),
    ];
    let of = |name| {
        let (physical, traits) = (Some(at("01:00.0")), Traits::VIRTUAL);
        let virtual_function = Function { physical, traits, ..endpoint(name) };
        ports.into_iter().chain([virtual_function]).collect::<Vec<_>>()
    };
    for elsewhere in ["03:00.0", "00:03.0", "04:00.0"] {
        let error = Contradiction::NotBeside(at(elsewhere), at("01:00.0"));
        assert_eq!(refused(&of(elsewhere)), error);
    }
    for beside in ["01:00.1", "02:00.0"] {
        let mut room = nodes(&of(beside), 0);
        let topology = build(&mut room, 4);
        assert_eq!(topology.above(at(beside)).unwrap().address, at("00:01.0"));
    }
}

#[test]
fn functions_may_come_in_any_order() {
    let mut functions = switch();
    let mut expected = None;
    for _ in 0..functions.len() {
        functions.rotate_left(1);
        for functions in [functions.clone(), functions.iter().rev().copied().collect()] {
            let mut nodes = nodes(&functions, 0);
            let topology = build(&mut nodes, functions.len());
            let found: Vec<_> =
                topology.groups().map(|group| (group.number(), group.size())).collect();
            assert_eq!(found.len(), 6);
            assert_eq!(*expected.get_or_insert(found.clone()), found);
        }
    }
}

/// 65 536 functions: each number of a segment.
#[test]
fn a_whole_segment_of_functions_is_grouped() {
    let functions: Vec<_> = (0..65536)
        .map(|id| Function {
            kind: Kind::RootComplexEndpoint,
            ..Function::new(pviommu_abi::PciDevice::from_sbdf(id))
        })
        .collect();
    let mut nodes = nodes(&functions, 0);
    let topology = build(&mut nodes, functions.len());
    assert_eq!(topology.groups().count(), 65536 / 8);
    assert!(topology.groups().all(|group| group.size() == 8));
}

/// A chain of bridges as deep as there are buses.
#[test]
fn the_deepest_tree_there_can_be_is_one_group_if_its_top_is_open() {
    let mut functions: Vec<_> = (0..255u8)
        .map(|bus| bridge(&format!("{bus:02x}:00.0"), Kind::Conventional, bus + 1, 255))
        .collect();
    functions.push(function("ff:00.0", Kind::Conventional));
    let mut nodes = nodes(&functions, 0);
    let topology = build(&mut nodes, functions.len());
    assert_eq!(topology.groups().count(), 1);
    assert_eq!(topology.moving_with(at("ff:00.0")).count(), 256);
    let mut room = vec![SourceId(at("00:00.0")); 300];
    assert_eq!(topology.ids_moving_with(at("ff:00.0"), &mut room).unwrap().len(), 256);
    assert_eq!(topology.ids_moving_with(at("ff:00.0"), room.get_mut(..9).unwrap()), None);
}

#[test]
fn what_firmware_says_ties_functions_and_has_to_be_in_order() {
    let functions = [
        endpoint("00:02.0"),
        endpoint("00:03.0"),
        endpoint("00:04.0"),
        endpoint("00:05.0"),
        endpoint("00:06.0"),
    ];
    let alias = |function, id| IdAlias { function: at(function), id: SourceId(at(id)) };
    let range = |function, first: u64, last: u64, relaxable| {
        let bytes = Window { first: first << 12, last: (last << 12) | 0xfff };
        DirectRange { function: at(function), bytes, relaxable, access: Access::READ }
    };
    let aliases = [alias("00:02.0", "00:1f.7"), alias("00:03.0", "00:1f.7")];
    let direct = [
        range("00:04.0", 0, 9, false),
        range("00:05.0", 5, 5, false),
        range("00:02.0", 7, 7, true),
        range("00:06.0", 10, 10, false),
    ];
    let firmware = Firmware { aliases: &aliases, direct: &direct, amd_ivrs: false };
    let mut room = nodes(&functions, 0);
    let topology = Topology::build(&mut room, 5, firmware, Mode::Safe).unwrap();
    assert_eq!(groups(&topology), ["00:02.0 00:03.0", "00:04.0 00:05.0"]);
    let reasons: Vec<_> =
        topology.groups().flat_map(|group| group.ties()).map(|tie| tie.reason).collect();
    assert_eq!(reasons, [Reason::FirmwareAlias, Reason::SharedDirectRange]);
    // Only what shares an id moves together.
    assert_eq!(topology.moves_with(at("00:03.0")), Some(at("00:02.0")));
    assert_eq!(topology.moves_with(at("00:05.0")), Some(at("00:05.0")));

    let reversed = [direct[3], direct[0]];
    let firmware = Firmware { direct: &reversed, ..firmware };
    let unsorted = Topology::build(&mut room, 5, firmware, Mode::Safe).map(|_| ()).unwrap_err();
    assert_eq!(unsorted, Contradiction::NotSorted(at("00:04.0")));
    let aliases = [alias("00:03.0", "00:1f.7"), alias("00:02.0", "00:1f.6")];
    let firmware = Firmware { aliases: &aliases, direct: &direct, ..firmware };
    let unsorted = Topology::build(&mut room, 5, firmware, Mode::Safe).map(|_| ()).unwrap_err();
    assert_eq!(unsorted, Contradiction::NotSorted(at("00:02.0")));
}

/// The id is no function's own: it is a phantom's, one that its maker lets a function use, or what a bridge puts in
/// place of those below it.
#[test]
fn who_has_by_firmware_an_id_that_others_carry_moves_with_them() {
    let functions = [
        Function { phantom_bits: 1, ..endpoint("00:02.0") },
        endpoint("00:03.0"),
        endpoint("00:04.0"),
        bridge("00:05.0", Kind::PcieToPciBridge, 1, 1),
        endpoint("00:06.0"),
        made_by(RICOH, endpoint("00:07.1")),
        endpoint("00:08.0"),
        endpoint("01:01.0"),
        isolating(bridge("00:09.0", Kind::RootPort, 2, 2)),
        made_by(SWITCHTEC, endpoint("02:00.0")),
    ];
    let alias = |function, id| IdAlias { function: at(function), id: SourceId(at(id)) };
    let aliases = [
        alias("00:03.0", "00:02.4"),
        alias("00:06.0", "00:07.0"),
        alias("00:04.0", "01:00.0"),
        alias("00:08.0", "02:1f.7"),
    ];
    let firmware = Firmware { aliases: &aliases, ..Firmware::default() };
    let mut room = nodes(&functions, 0);
    let topology = Topology::build(&mut room, functions.len(), firmware, Mode::Safe).unwrap();
    let expected =
        ["00:02.0 00:03.0", "00:04.0 00:05.0 01:01.0", "00:06.0 00:07.1", "00:08.0 02:00.0"];
    assert_eq!(groups(&topology), expected);
    assert_eq!(topology.moves_with(at("00:03.0")), Some(at("00:02.0")));
    assert_eq!(topology.moves_with(at("01:01.0")), Some(at("00:04.0")));
    assert_eq!(topology.moves_with(at("02:00.0")), Some(at("00:08.0")));
}

#[test]
fn functions_with_registers_in_one_page_are_together() {
    let with = |name, regions: &[u64]| {
        let mut function = endpoint(name);
        function.regions.iter_mut().zip(regions).for_each(|(to, from)| *to = *from);
        function
    };
    let functions = [
        with("00:02.0", &[0xfe00_0000, 0xfe10_0100]),
        with("00:03.0", &[0xfe10_0f00]),
        with("00:04.0", &[0, 0xfe20_0000, 0xfe10_1000]),
        with("00:05.0", &[0x100_fe10_0000]),
    ];
    let mut room = nodes(&functions, 0);
    let topology = build(&mut room, functions.len());
    assert_eq!(groups(&topology), ["00:02.0 00:03.0"]);
}

#[test]
fn the_children_of_a_vmd_are_one_with_it() {
    let mut child = isolating(function("00:00.0", Kind::Endpoint));
    child.address.seg = 7;
    child.requests_as = Some(at("00:0e.0"));
    let functions = [endpoint("00:0e.0"), child, endpoint("00:0f.0")];
    let mut room = nodes(&functions, 0);
    let topology = build(&mut room, 3);
    assert_eq!(topology.groups().count(), 2);
    let mut ids = [SourceId(at("00:00.0")); 4];
    let ids = topology.ids_moving_with(child.address, &mut ids).unwrap();
    assert_eq!(ids, [SourceId(at("00:0e.0"))], "nothing is sent in the children's own names");
}
