//! Where Linux's groups are wrong, and what ours are. Each test is one mistake: what Linux makes of a topology, and
//! what is safe. Groups of one function are not told.

use pviommu_hypervisor::topology::{Change, Mode};
use pviommu_testbed::pci::{Capture, Captured, convert::Machine};

use crate::kit::{captures, groups_of, handmade, several};

fn linux(capture: &Capture) -> Vec<String> {
    several(capture, Mode::AsLinux)
}

fn safe(capture: &Capture) -> Vec<String> {
    several(capture, Mode::Safe)
}

fn emulated(name: &str) -> Capture {
    captures("qemu.json.gz").into_iter().find(|capture| capture.name == name).unwrap()
}

/// Two cards below a switch without access control reach each other inside it.
#[test]
fn m1_ports_of_a_switch_without_access_control_are_not_groups_of_their_own() {
    let capture = handmade("switch-acs-none");
    assert_eq!(linux(&capture), ["02:00.0 03:00.0", "02:01.0 04:00.0"]);
    assert_eq!(safe(&capture), ["01:00.0 02:00.0 02:01.0 03:00.0 04:00.0"]);
}

/// Access control acts where a request comes in: one open port reaches all others.
#[test]
fn m2_a_port_that_isolates_does_not_keep_requests_of_its_neighbour_out() {
    let capture = handmade("switch-acs-one");
    assert_eq!(linux(&capture), ["02:01.0 04:00.0"]);
    assert_eq!(safe(&capture), ["01:00.0 02:00.0 02:01.0 03:00.0 04:00.0"]);
}

#[test]
fn m3_a_function_that_isolates_does_not_keep_requests_of_the_others_out() {
    let capture = handmade("mfd-mixed");
    assert_eq!(linux(&capture), ["01:00.0 01:00.1 01:00.3"]);
    assert_eq!(safe(&capture), ["01:00.0 01:00.1 01:00.2 01:00.3"]);
    let capture = handmade("mfd-lone-open");
    assert!(linux(&capture).is_empty());
    assert_eq!(safe(&capture).len(), 1);
}

/// What is below an isolating root port is reached through the open one beside it, in the same device.
#[test]
fn m4_what_is_below_a_function_of_an_open_device_is_with_it() {
    let capture = emulated("rootports-multifunction");
    let below = |groups: &[String], name| groups.iter().any(|group| group.contains(name));
    let port = "00:04.0";
    assert!(!below(&linux(&capture), port) && !below(&linux(&capture), "07:00.0"));
    let ours = safe(&capture);
    let group = ours.iter().find(|group| group.contains(port)).unwrap();
    assert!(group.contains("00:04.1") && group.contains("07:00.0"), "{group}");
}

/// A bridge to nowhere in particular may send as any function of the switch's inner bus, and gets the answers.
#[test]
fn m5_who_may_use_the_ids_of_ports_is_with_what_is_below_them() {
    let capture = handmade("alias-plx-ntb");
    assert_eq!(linux(&capture), ["02:00.0 02:01.0 02:02.0"]);
    assert_eq!(safe(&capture), ["01:00.0 02:00.0 02:01.0 02:02.0 03:00.0 04:00.0"]);
}

/// With ARI the device number is part of the function number.
#[test]
fn m6_functions_above_7_are_of_the_same_device() {
    let capture = handmade("ari");
    assert_eq!(linux(&capture), ["01:00.0 01:00.1", "01:01.0 01:01.1"]);
    assert_eq!(safe(&capture), ["01:00.0 01:00.1 01:01.0 01:01.1 01:02.1"]);
}

/// Linux places functions as they come, before it knows that there are several.
#[test]
fn m7_functions_that_are_found_one_by_one_are_grouped_as_at_boot() {
    let rescanned = emulated("rescan-multifunction:rescanned");
    let alone = |name| {
        rescanned.linux_groups.iter().any(|group| group.len() == 1 && group[0].to_string() == name)
    };
    assert!(alone("01:00.0") && alone("01:00.1"), "what the kernel made of it");
    assert!(safe(&rescanned).contains(&"01:00.0 01:00.1".to_owned()));

    // Ours, one by one.
    let booted = emulated("rescan-multifunction");
    let mut machine = Machine::new(&booted);
    let mut topology = machine.topology(Mode::Safe).unwrap();
    let expected = groups_of(&topology, false);
    let card: Vec<_> = topology.functions().filter(|it| it.address.bus == 1).copied().collect();
    let names: Vec<_> = card.iter().map(|function| function.address).collect();
    topology.plan(Change::Remove(&names)).unwrap().keep();
    assert_ne!(groups_of(&topology, false), expected);
    for function in card {
        topology.plan(Change::Add(&[function])).unwrap().keep();
    }
    assert_eq!(groups_of(&topology, false), expected);
}

/// Kept on purpose: nobody is given a bridge, and whoever is below one may reach its registers.
#[test]
fn m8_a_bridge_is_with_what_is_below_it_though_it_has_an_id_of_its_own() {
    let capture = handmade("pcie-pci");
    assert_eq!(linux(&capture), ["03:00.0 04:00.0 04:01.0"]);
    assert_eq!(safe(&capture), linux(&capture));
}

/// Kept on purpose: what does not say that it redirects may send back down.
#[test]
fn m9_a_root_port_without_access_control_takes_all_that_is_below_it() {
    let capture = handmade("switch-rp-no-acs");
    assert_eq!(linux(&capture), ["00:01.0 01:00.0 02:00.0 02:01.0 03:00.0 04:00.0"]);
    assert_eq!(safe(&capture), linux(&capture));
}

/// Kept on purpose: the specification binds only functions that have the capability.
#[test]
fn m10_functions_without_the_capability_are_together() {
    let capture = handmade("mfd-none");
    assert_eq!(linux(&capture), ["82:00.0 82:00.1 82:00.2 82:00.3 82:00.4 82:00.5"]);
    assert_eq!(safe(&capture), linux(&capture));
}

/// A vendor who names ports that isolate has not said that his others do not, when they say so themselves.
#[test]
fn m11_a_full_capability_counts_although_the_vendor_does_not_name_the_port() {
    let capture = handmade("rp-quirk-zhaoxin");
    assert_eq!(linux(&capture), ["00:04.0 02:00.0"]);
    assert!(safe(&capture).is_empty());
}

/// A function that is placed before the bridge above it does not join it, in Linux; here there is no order.
#[test]
fn m12_the_order_of_discovery_does_not_make_groups_narrower() {
    for name in
        ["switch-acs-none", "pcie-pci-nested", "nested-acs-mixed", "mfd-root-bridge-function"]
    {
        let capture = handmade(name);
        let mut backwards = capture.clone();
        backwards.functions.reverse();
        assert_eq!(safe(&backwards), safe(&capture));
    }
}

/// Access control that is cleared after boot leaves Linux's groups as they were.
#[test]
fn m13_groups_follow_access_control_while_the_machine_runs() {
    let cleared = emulated("regroup-acs-cleared:acs-cleared");
    let in_one = |groups: &[Vec<pviommu_testbed::pci::Name>], one: &str, other: &str| {
        let has = |group: &[pviommu_testbed::pci::Name], name: &str| {
            group.iter().any(|it| it.to_string() == name)
        };
        groups.iter().any(|group| has(group, one) && has(group, other))
    };
    assert!(!in_one(&cleared.linux_groups, "00:01.0", "01:00.0"), "what the kernel left");
    let groups = crate::kit::groups(&cleared, Mode::Safe);
    assert!(in_one(&groups, "00:01.0", "01:00.0"), "the port does not isolate any more");
}

/// What Linux ignores: phantom functions, where they have the numbers of real ones.
#[test]
fn phantom_functions_share_ids_with_those_whose_numbers_they_have() {
    let mut capture = handmade("phantom");
    let endpoint = capture.functions.iter().find(|function| function.phantom > 0).unwrap().clone();
    assert!(safe(&capture).is_empty());
    let isolating = |function: Captured| Captured { acs: Some((0, 0)), ..function };
    let mut beside = isolating(Captured { phantom: 0, ..endpoint.clone() });
    beside.name.devfn += 4;
    capture.functions.retain(|function| function.name != endpoint.name);
    capture.functions.push(isolating(endpoint));
    capture.functions.push(beside);
    capture.linux_groups.clear();
    assert!(linux(&capture).is_empty());
    assert_eq!(safe(&capture), ["01:00.0 01:00.4"]);
}

/// What Linux ignores: virtual functions that are not kept from each other.
#[test]
fn virtual_functions_belong_to_the_device_of_their_physical_one() {
    let capture = emulated("sriov-nvme:with-vfs");
    let of_card = |groups: &[String]| groups.iter().any(|group| group.contains("01:00.1"));
    assert!(!of_card(&linux(&capture)), "each is alone");
    assert!(safe(&capture).contains(&"01:00.0 01:00.1 01:00.2 01:00.3 01:00.4".to_owned()));
    // On a bus of their own, too, which the port keeps free for them.
    let mut elsewhere = capture.clone();
    elsewhere.functions.retain(|it| it.name.bus != 6 && it.name.to_string() != "04:01.0");
    for function in &mut elsewhere.functions {
        if function.virtual_function && function.name.bus == 5 {
            function.name.bus = 6;
            function.name.devfn += 8;
            function.physical = Some("05:00.0".parse().unwrap());
        } else if let Some(buses) = function.buses.as_mut().filter(|it| it.secondary == 5) {
            buses.subordinate = 6;
        }
    }
    elsewhere.linux_groups.clear();
    let group = safe(&elsewhere).into_iter().find(|group| group.contains("05:00.0")).unwrap();
    assert!(group.contains("06:01.1"), "{group}");
}
