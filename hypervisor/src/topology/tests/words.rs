//! What a person reads of a machine that contradicts itself, and of what keeps functions together.

use super::{
    RICOH, SWITCHTEC, at, bridge, build, endpoint, function, isolating, made_by, nodes, switch,
};
use crate::{
    addr::PAGE_SHIFT,
    platform::Access,
    topology::{
        Acs, AcsBits, BusNumbers, ConfigError, Contradiction, DirectRange, Firmware, Function,
        HostBuses, InterruptReason, Kind, Mode, RegionError, Topology, Traits, Window,
    },
};

/// Vendor and device of a function that may use the id of the second function of its slot.
const MARVELL: (u16, u16) = (0x1b4b, 0x9183);

#[test]
fn every_contradiction_names_the_functions_it_is_between() {
    let (one, other) = (at("02:00.0"), at("00:01.0"));
    let buses = BusNumbers { secondary: 0x1f, subordinate: 3 };
    let words = [
        (Contradiction::TooMany(64), "there is room for 64 functions, and there are more"),
        (Contradiction::Twice(one), "two functions are 0000:02:00.0"),
        (
            Contradiction::Loop(one, buses),
            "bridge 0000:02:00.0 leads to bus 1f, which is not below the bus it is on",
        ),
        (Contradiction::Backwards(one, buses), "bridge 0000:02:00.0 leads to buses 1f to 03: none"),
        (
            Contradiction::Overlap(one, other, 0x2a),
            "bridges 0000:02:00.0 and 0000:00:01.0 both lead to bus 2a",
        ),
        (
            Contradiction::Outside(one, other),
            "bridge 0000:02:00.0 leads to buses that 0000:00:01.0, above it, does not lead to",
        ),
        (
            Contradiction::Unconnected(one, other),
            "0000:02:00.0 is on a bus below bridge 0000:00:01.0, and the bridge that leads there is not listed",
        ),
        (
            Contradiction::NoPhysical(one),
            "the physical function of virtual function 0000:02:00.0 is not listed",
        ),
        (
            Contradiction::NotBeside(one, other),
            "virtual function 0000:02:00.0 and its physical one, 0000:00:01.0, are not below the same bridge",
        ),
        (
            Contradiction::NoSender(one, other),
            "0000:02:00.0 sends in the name of 0000:00:01.0, which is not listed",
        ),
        (
            Contradiction::NotSorted(one),
            "the list of firmware is not in order from 0000:02:00.0 on",
        ),
        (Contradiction::Unknown(one), "there is no function 0000:02:00.0"),
        (Contradiction::NoControl(one), "0000:02:00.0 has no access control that could be changed"),
        (
            Contradiction::Mixed(one),
            "access control of 0000:02:00.0 cannot be switched on and off in one step",
        ),
    ];
    for (contradiction, said) in words {
        assert_eq!(contradiction.to_string(), said);
    }
}

#[test]
fn a_list_or_bytes_that_cannot_be_used_say_what_is_wrong_with_them() {
    let function = at("00:14.0");
    let buses = HostBuses { segment: 1, first: 0x20, last: 0x3f };
    let words = [
        (
            RegionError::DirectNotSorted(function),
            "a direct range of 0000:00:14.0 begins before the one listed before it",
        ),
        (
            RegionError::DirectEmpty(function),
            "a direct range of 0000:00:14.0 is empty, or allows nothing",
        ),
        (
            RegionError::WindowEmpty(buses),
            "a window of the host bridge of buses 20-3f of segment 0001 is empty, or its buses are none",
        ),
        (RegionError::SoftwareWindowEmpty, "the window for interrupt doorbells is empty"),
    ];
    for (error, said) in words {
        assert_eq!(error.to_string(), said);
    }
    let too_short = Function::from_config(function, &[0; 63]).unwrap_err();
    assert_eq!(too_short, ConfigError::TooShort);
    assert_eq!(too_short.to_string(), "configuration space of fewer than 64 bytes");
    let nothing = Function::from_config(function, &[0xff; 256]).unwrap_err();
    assert_eq!(nothing, ConfigError::NoFunction);
    assert_eq!(nothing.to_string(), "configuration space of ones: there is no function");
}

#[test]
fn every_reason_of_interrupts_says_what_a_device_could_do() {
    let isolated = "it can raise no interrupts but its own";
    assert_eq!(InterruptReason::Isolated.to_string(), isolated);
    let unsafe_ones = [
        (InterruptReason::SourceNotChecked, "so it can raise those of other devices"),
        (InterruptReason::HostBridge, "so it can raise those of others"),
        (InterruptReason::SharedDoorbell, "so it can raise interrupts of others"),
        (InterruptReason::PreIts, "so it can raise interrupts in the name of others"),
        (InterruptReason::NotRemapped, "so it can raise any interrupt of the machine"),
        (InterruptReason::UnknownController, "what the interrupt controller takes from a device"),
        (InterruptReason::NothingListed, "which interrupt controllers the machine has"),
        (InterruptReason::NoUnit, "keeps it from memory or from any interrupt controller"),
    ];
    for (reason, end) in unsafe_ones {
        let said = reason.to_string();
        assert!(said.ends_with(end), "{said}");
    }
}

/// What ties the group of `name`.
fn ties(functions: &[Function], name: &str) -> Vec<String> {
    let mut room = nodes(functions, 0);
    let topology = build(&mut room, functions.len());
    topology.group_of(at(name)).unwrap().ties().map(|tie| tie.to_string()).collect()
}

/// A card of two functions, of which the second is open for one reason or another.
#[test]
fn an_open_function_is_named_with_the_reason() {
    let all = AcsBits::all();
    let with = |control| Acs::Present { capability: all, control, at: 0x100 };
    let of = |kind, acs| Function { acs, ..function("01:00.1", kind) };
    let open = [
        (of(Kind::Unknown, Acs::Unknown), "is of a kind that is not known"),
        (of(Kind::Conventional, Acs::Absent), "is conventional PCI"),
        (of(Kind::EventCollector, Acs::Absent), "is an event collector"),
        (of(Kind::Endpoint, Acs::Unknown), "is not known to have access control (ACS)"),
        (of(Kind::Endpoint, Acs::Absent), "has no access control (ACS)"),
        (
            of(Kind::Endpoint, with(all - AcsBits::REQUEST_REDIRECT)),
            "has RequestRedirect switched off",
        ),
        (
            of(Kind::Endpoint, with(AcsBits::ISOLATION | AcsBits::EGRESS_CONTROL)),
            "has EgressControl switched on, which overrides redirection",
        ),
    ];
    for (second, why) in open {
        let functions = [
            isolating(bridge("00:01.0", Kind::RootPort, 1, 1)),
            isolating(endpoint("01:00.0")),
            second,
        ];
        let said = format!(
            "0000:01:00.0 and 0000:01:00.1 are functions of one device, and 0000:01:00.1 {why}"
        );
        assert_eq!(ties(&functions, "01:00.0"), [said]);
    }
}

#[test]
fn functions_of_one_device_are_told_to_be_virtual_where_one_is() {
    let (physical, traits) = (Some(at("01:00.0")), Traits::VIRTUAL);
    let functions = [
        isolating(bridge("00:01.0", Kind::RootPort, 1, 1)),
        isolating(endpoint("01:00.0")),
        Function { physical, traits, ..endpoint("01:00.1") },
    ];
    let said = "0000:01:00.0 and 0000:01:00.1 are of one device with virtual functions, and 0000:01:00.1 has no \
                access control (ACS)";
    assert_eq!(ties(&functions, "01:00.0"), [said]);
}

#[test]
fn a_bridge_is_named_with_what_makes_the_bus_below_it_conventional() {
    for (kind, why) in [
        (Kind::Conventional, "leads to a conventional bus"),
        (Kind::PcieToPciBridge, "joins PCI Express and a conventional bus"),
        (Kind::PciToPcieBridge, "joins PCI Express and a conventional bus"),
        (Kind::RootComplexEndpoint, "does not isolate"),
    ] {
        let functions = [isolating(bridge("00:01.0", kind, 1, 1)), endpoint("01:00.0")];
        let said = format!(
            "0000:01:00.0 is on the bus below 0000:00:01.0, which {why}: all there reach each other and send with one id"
        );
        assert_eq!(ties(&functions, "01:00.0"), [said]);
    }
}

#[test]
fn a_switch_is_open_on_account_of_a_function_that_is_named() {
    let port = isolating(bridge("02:02.0", Kind::DownstreamPort, 5, 5));
    for (inside, why) in [
        (isolating(endpoint("02:02.0")), "is no port: it reaches all others, and they reach it"),
        (made_by(MARVELL, port), "may use the ids of its neighbours"),
        (made_by(SWITCHTEC, port), "may use the ids of its neighbours"),
        (Function { acs: Acs::Absent, ..port }, "has no access control (ACS)"),
    ] {
        let mut functions = switch();
        for leads_there in functions.iter_mut().take(2) {
            leads_there.buses.as_mut().unwrap().subordinate = 5;
        }
        functions.push(inside);
        let said =
            format!("0000:02:00.0 is in the switch below 0000:01:00.0, where 0000:02:02.0 {why}");
        let ties = ties(&functions, "01:00.0");
        assert!(ties.len() == 5 && ties.contains(&said), "{ties:#?}");
    }
}

/// What ties two functions, and what would part them, as both are printed.
fn tie_and_remedy(functions: &[Function], direct: &[DirectRange]) -> (String, String) {
    let firmware = Firmware { direct, ..Firmware::default() };
    let mut room = nodes(functions, 0);
    let topology = Topology::build(&mut room, functions.len(), firmware, Mode::Safe).unwrap();
    let group = topology.group_of(at("00:03.0")).unwrap();
    let ties: Vec<_> = group.ties().map(|tie| tie.to_string()).collect();
    let mut remedies = Vec::new();
    topology.remedies(at("00:03.0"), &mut |remedy| remedies.push(remedy.to_string()));
    assert_eq!((ties.len(), remedies.len()), (1, 1), "{ties:?} {remedies:?}");
    (ties.concat(), remedies.concat())
}

#[test]
fn what_firmware_has_tied_is_told_with_the_setting_that_would_part_it() {
    let pair = [endpoint("00:02.0"), endpoint("00:03.0")];
    let bytes = Window { first: 7 << PAGE_SHIFT, last: (8 << PAGE_SHIFT) - 1 };
    let used_by =
        |name| DirectRange { function: at(name), bytes, relaxable: false, access: Access::all() };
    let (tie, remedy) = tie_and_remedy(&pair, &[used_by("00:02.0"), used_by("00:03.0")]);
    assert_eq!(tie, "firmware has 0000:00:03.0 and 0000:00:02.0 use the same memory");
    assert_eq!(
        remedy,
        "a firmware setting that ends the common memory of 0000:00:03.0 and 0000:00:02.0 (USB legacy \
         support, management)"
    );

    let with_registers = |function: Function, first| {
        let mut regions = function.regions;
        regions[0] = first;
        Function { regions, ..function }
    };
    let [one, other] = pair;
    let pages = [with_registers(one, 0xfeb0_0000), with_registers(other, 0xfeb0_0800)];
    let (tie, remedy) = tie_and_remedy(&pages, &[]);
    assert_eq!(tie, "0000:00:03.0 and 0000:00:02.0 have registers in the same page");
    assert_eq!(
        remedy,
        "registers of 0000:00:03.0 and 0000:00:02.0 on pages of their own (resource alignment)"
    );

    let child = Function { requests_as: Some(at("00:02.0")), ..other };
    let (tie, remedy) = tie_and_remedy(&[one, child], &[]);
    assert_eq!(tie, "all requests of 0000:00:03.0 are sent by 0000:00:02.0");
    assert_eq!(remedy, "a firmware setting: 0000:00:02.0 sends all requests of 0000:00:03.0 (VMD)");
}

#[test]
fn what_shares_an_id_is_told_that_nothing_parts_it() {
    let may_use_first = made_by(RICOH, endpoint("00:03.1"));
    let pair = [endpoint("00:03.0"), may_use_first].map(isolating);
    let (tie, remedy) = tie_and_remedy(&pair, &[]);
    assert_eq!(tie, "requests of 0000:00:03.1 and 0000:00:03.0 may carry the same id");
    assert_eq!(remedy, "nothing: 0000:00:03.1 and 0000:00:03.0 share requester ids");
}
