//! Whose requests arrive with the same id.

use pviommu_testbed::pci::fabric::{Conflict, Fabric, Requester};

use crate::kit::{capture, groups, name};

/// The ids of `of` in `text`.
fn ids(text: &str, of: &str) -> Vec<String> {
    let write = |id: &Requester| match id {
        Requester::Function(name) => name.to_string(),
        Requester::Controller => "controller".to_owned(),
    };
    Fabric::new(&capture(text)).requesters(name(of)).iter().map(write).collect()
}

#[test]
fn bridges_take_requests_over_each_kind_with_its_own_id() {
    let below = |bridge: &str| {
        format!(
            "00:01.0 root-port 01-03 acs=1d/1d
             01:00.0 {bridge} 02-03
             02:04.0 pci"
        )
    };
    assert_eq!(ids(&below("pcie-to-pci"), "02:04.0"), ["02:00.0"]);
    assert_eq!(ids(&below("pci"), "02:04.0"), ["01:00.0"]);
    assert_eq!(ids(&below("pci-to-pcie"), "02:04.0"), ["01:00.0"]);
    assert_eq!(ids(&below("pci unknown"), "02:04.0"), ["01:00.0"]);
    // One that hides its PCI Express capability.
    assert_eq!(ids(&below("pci id=1b21:1080"), "02:04.0"), ["02:00.0"]);
    // The bridge itself sends with its own.
    assert_eq!(ids(&below("pcie-to-pci"), "01:00.0"), ["01:00.0"]);
}

#[test]
fn a_bridge_on_a_root_bus_hides_nothing() {
    let text = "00:1e.0 pci 01-01 id=8086:244e
                01:00.0 pci";
    assert_eq!(ids(text, "01:00.0"), ["00:1e.0"]);
}

#[test]
fn of_nested_bridges_the_topmost_is_seen() {
    let text = "00:01.0 root-port 01-04 acs=1d/1d
                01:00.0 pcie-to-pci 02-04
                02:01.0 pci-to-pcie 03-03
                02:02.0 pci 04-04 id=1b21:1080
                03:00.0 endpoint
                04:00.0 pci";
    assert_eq!(ids(text, "03:00.0"), ["02:00.0"]);
    assert_eq!(ids(text, "04:00.0"), ["02:00.0"]);
}

#[test]
fn nothing_is_taken_over_above_a_translation_root() {
    let text = "00:01.0 pci 01-03 id=14e4:9000
                01:00.0 root-port 02-02 acs=1d/1d
                01:01.0 pcie-to-pci 03-03
                02:00.0 endpoint
                03:01.0 pci";
    assert_eq!(ids(text, "02:00.0"), ["02:00.0"]);
    assert_eq!(ids(text, "03:01.0"), ["03:00.0"]);
}

#[test]
fn quirks_make_a_function_use_the_ids_of_others() {
    let device = |first: &str, second: &str| {
        format!(
            "00:01.0 root-port 01-01 acs=1d/1d
             01:00.0 endpoint acs=1d/1d {first}
             01:00.1 endpoint acs=1d/1d {second}"
        )
    };
    let marvell = device("id=1b4b:9230", "");
    assert_eq!(ids(&marvell, "01:00.0"), ["01:00.0", "01:00.1"]);
    assert_eq!(groups(&marvell), ["00:01.0", "01:00.0 01:00.1"]);
    let same = Conflict::SameRequester(Requester::Function(name("01:00.1")));
    let conflict = Fabric::new(&capture(&marvell)).conflict(name("01:00.0"), name("01:00.1"));
    assert_eq!(conflict, Some(same));
    assert_eq!(groups(&device("", "id=1180:e832")), ["00:01.0", "01:00.0 01:00.1"]);
    assert_eq!(groups(&device("id=1180:e832", "")), ["00:01.0", "01:00.0", "01:00.1"]);
    let adaptec = device("id=9005:0285 sub=9005:02bb", "");
    assert_eq!(ids(&adaptec, "01:00.0"), ["01:00.0", "01:01.0"]);
    assert_eq!(ids(&adaptec.replace("02bb", "02bd"), "01:00.0"), ["01:00.0"]);
    assert_eq!(ids(&device("id=8086:2260", ""), "01:00.0").len(), 4);
    assert_eq!(ids(&device("id=8086:2954", ""), "01:00.0").len(), 160);
}

#[test]
fn a_non_transparent_bridge_in_a_switch_joins_what_is_behind_all_ports() {
    let text = "00:01.0 root-port 01-04 acs=1d/1d
                01:00.0 upstream 02-04
                02:00.0 endpoint id=10b5:87b0
                02:01.0 downstream 03-03 acs=1d/1d
                02:02.0 downstream 04-04 acs=1d/1d
                03:00.0 endpoint
                04:00.0 endpoint";
    assert_eq!(ids(text, "02:00.0").len(), 256);
    let switch = "01:00.0 02:00.0 02:01.0 02:02.0 03:00.0 04:00.0";
    assert_eq!(groups(text), ["00:01.0", switch]);
}

#[test]
fn phantom_functions_have_every_second_fourth_or_eighth_of_the_numbers() {
    let text = |bits: u8| format!("00:02.1 rciep phantom={bits}");
    assert_eq!(ids(&text(0), "00:02.1"), ["00:02.1"]);
    assert_eq!(ids(&text(1), "00:02.1"), ["00:02.1", "00:02.5"]);
    assert_eq!(ids(&text(2), "00:02.1"), ["00:02.1", "00:02.3", "00:02.5", "00:02.7"]);
    assert_eq!(ids(&text(3), "00:02.1").len(), 8);
}

#[test]
fn all_of_a_segment_behind_a_controller_have_its_id() {
    let mut segment = capture(
        "00:01.0 root-port 01-01 acs=1d/1d
         01:00.0 endpoint
         00:02.0 root-port 02-02 acs=1d/1d",
    );
    assert_eq!(Fabric::new(&segment).groups().len(), 3);
    segment.segment = 0x1_0000;
    let fabric = Fabric::new(&segment);
    assert_eq!(fabric.groups().len(), 1);
    assert_eq!(fabric.requesters(name("01:00.0")), [Requester::Controller]);
}
