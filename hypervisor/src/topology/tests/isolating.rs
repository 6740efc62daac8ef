//! Which functions count as isolating for another reason than their capability, or do not for all that they say.

use super::{EMULEX, at, bridge, build, endpoint, function, groups_in, isolating, made_by, nodes};
use crate::topology::{Function, Identity, Kind, Mode, Traits};

fn host_bridge(name: &str) -> Function {
    with_class(0x06_0000, function(name, Kind::Conventional))
}

fn with_class(class: u32, function: Function) -> Function {
    Function { identity: Identity { class, ..function.identity }, ..function }
}

#[test]
fn a_host_bridge_is_not_with_the_functions_of_its_slot() {
    let host = host_bridge("00:00.0");
    for host in [host, with_class(0x06_0001, host)] {
        assert!(groups_in(&[host, isolating(endpoint("00:00.1"))], Mode::Safe).is_empty());
    }
    let leads_down = bridge("00:00.0", Kind::Conventional, 1, 1);
    let others = [
        with_class(0x06_0100, host),
        with_class(0x0c_0600, host),
        with_class(0x06_0000, endpoint("00:00.0")),
        with_class(0x06_0000, leads_down),
    ];
    for other in others {
        let slot = [other, isolating(endpoint("00:00.1"))];
        assert_eq!(groups_in(&slot, Mode::Safe), ["00:00.0 00:00.1"], "{other:?}");
    }
    // On no root bus there are no registers of the root complex.
    let below = [
        isolating(bridge("00:01.0", Kind::RootPort, 1, 1)),
        host_bridge("01:00.0"),
        isolating(endpoint("01:00.1")),
    ];
    assert_eq!(groups_in(&below, Mode::Safe), ["01:00.0 01:00.1"]);
}

#[test]
fn a_group_is_translated_if_all_that_sends_is_behind_a_unit() {
    let is_translated = |first, others: &[Function]| {
        let behind_none = Function { unit: None, ..first };
        let functions: Vec<_> = [&[behind_none], others].concat();
        let mut room = nodes(&functions, 0);
        let topology = build(&mut room, functions.len());
        let group = topology.group_of(first.address).unwrap();
        assert_eq!(group.size(), functions.len() as u32);
        group.is_translated()
    };
    let beside = endpoint("00:02.1");
    assert!(is_translated(host_bridge("00:02.0"), &[beside]));
    let below = [endpoint("01:00.0")];
    assert!(is_translated(bridge("00:02.0", Kind::Conventional, 1, 1), &below));
    assert!(!is_translated(endpoint("00:02.0"), &[beside]));
    assert!(!is_translated(endpoint("00:02.0"), &[]));
}

/// The chipset has registers to the effect of the capability that its ports lack; of whether they can be reached, a
/// bit of its LPC bridge tells. Linux believes that they can where no bridge is, and where none answers.
#[test]
fn a_port_without_the_capability_isolates_where_the_registers_of_its_chipset_can_be_reached() {
    const REACHED: u32 = 0xfed1_c001;
    let isolates = |rcba: Option<u32>, mode| {
        let port = made_by((0x8086, 0x1c10), bridge("00:1c.0", Kind::RootPort, 1, 1));
        let lpc = |rcba| Function { rcba, ..function("00:1f.0", Kind::Conventional) };
        let functions: Vec<_> =
            [port, endpoint("01:00.0")].into_iter().chain(rcba.map(lpc)).collect();
        match &groups_in(&functions, mode)[..] {
            [] => true,
            one => {
                assert_eq!(one, ["00:1c.0 01:00.0"]);
                false
            }
        }
    };
    for (rcba, safe, linux) in [
        (Some(REACHED), true, true),
        (Some(REACHED & !1), false, false),
        (Some(0), false, false),
        (Some(u32::MAX), false, true),
        (None, false, true),
    ] {
        assert_eq!(isolates(rcba, Mode::Safe), safe, "{rcba:x?}");
        assert_eq!(isolates(rcba, Mode::AsLinux), linux, "{rcba:x?}");
    }
}

#[test]
fn what_a_vendor_says_of_a_card_is_said_of_its_virtual_functions() {
    let groups = |maker, traits| {
        let physical = Some(at("01:00.0"));
        let of_card = |name| Function { physical, traits, ..endpoint(name) };
        let functions = [
            isolating(bridge("00:01.0", Kind::RootPort, 1, 1)),
            made_by(maker, endpoint("01:00.0")),
            of_card("01:00.1"),
            of_card("01:00.2"),
        ];
        groups_in(&functions, Mode::Safe)
    };
    assert!(groups(EMULEX, Traits::VIRTUAL).is_empty());
    let all = ["01:00.0 01:00.1 01:00.2"];
    let (vendor, device) = EMULEX;
    assert_eq!(groups((vendor, device + 1), Traits::VIRTUAL), all);
    assert_eq!(groups(EMULEX, Traits::empty()), all, "of none that is not virtual");
}
