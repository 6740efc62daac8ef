//! Where requests go: one rule a test.

use pviommu_testbed::pci::Capture;
use pviommu_testbed::pci::fabric::{Conflict, Fabric};

use crate::kit::{capture, groups, name};

/// A switch with two endpoints, below a port that isolates; the ACS of its two downstream ports.
fn switch(first: &str, second: &str) -> String {
    format!(
        "00:01.0 root-port 01-04 acs=1d/1d
         01:00.0 upstream 02-04
         02:00.0 downstream 03-03 {first}
         02:01.0 downstream 04-04 {second}
         03:00.0 endpoint
         04:00.0 endpoint"
    )
}

const ALL_BUT_THE_ROOT_PORT: [&str; 2] = ["00:01.0", "01:00.0 02:00.0 02:01.0 03:00.0 04:00.0"];

#[test]
fn ports_that_redirect_keep_endpoints_of_a_switch_apart() {
    let alone = ["00:01.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0", "04:00.0"];
    assert_eq!(groups(&switch("acs=1d/1d", "acs=1d/1d")), alone);
    // What the capability does not have, the port cannot do; without a bit, it can do nothing.
    assert_eq!(groups(&switch("acs=0d/0d", "acs=0/0")), alone);
}

#[test]
fn a_switch_without_acs_lets_all_below_it_talk() {
    assert_eq!(groups(&switch("", "")), ALL_BUT_THE_ROOT_PORT);
    assert_eq!(groups(&switch("acs=?", "acs=?")), ALL_BUT_THE_ROOT_PORT);
}

#[test]
fn one_open_port_reaches_what_is_behind_those_that_isolate_and_not_the_reverse() {
    let text = switch("acs=1d/1d", "acs=1d/19");
    let fabric = Fabric::new(&capture(&text));
    let (guarded, open) = (name("03:00.0"), name("04:00.0"));
    assert!(fabric.reaches(open, guarded));
    assert!(!fabric.reaches(guarded, open));
    let conflict = Some(Conflict::Reached { from: open, to: guarded });
    assert_eq!(fabric.conflict(guarded, open), conflict);
    assert_eq!(groups(&text), ALL_BUT_THE_ROOT_PORT);
}

#[test]
fn requests_that_pass_a_switch_are_sent_back_by_an_open_root_port() {
    let text = "00:01.0 root-port 01-04
                00:02.0 root-port 05-05
                01:00.0 upstream 02-04
                02:00.0 downstream 03-03 acs=1d/1d
                02:01.0 downstream 04-04 acs=1d/1d
                03:00.0 endpoint
                04:00.0 endpoint
                05:00.0 endpoint";
    let with_root_port = "00:01.0 01:00.0 02:00.0 02:01.0 03:00.0 04:00.0";
    // Not to the other root port: between those there is the IOMMU.
    assert_eq!(groups(text), [with_root_port, "00:02.0 05:00.0"]);
    assert!(!Fabric::new(&capture(text)).reaches(name("03:00.0"), name("05:00.0")));
}

#[test]
fn an_open_switch_in_the_middle_joins_what_is_below_it_only() {
    let text = "00:01.0 root-port 01-08 acs=1d/1d
                01:00.0 upstream 02-08
                02:00.0 downstream 03-07 acs=1d/1d
                02:01.0 downstream 08-08 acs=1d/1d
                03:00.0 upstream 04-07
                04:00.0 downstream 05-05
                04:01.0 downstream 06-06 acs=1d/1d
                05:00.0 endpoint
                06:00.0 endpoint
                08:00.0 endpoint";
    let middle = "03:00.0 04:00.0 04:01.0 05:00.0 06:00.0";
    assert_eq!(groups(text), ["00:01.0", "01:00.0", "02:00.0", "02:01.0", middle, "08:00.0"]);
}

#[test]
fn one_open_function_joins_all_of_its_device() {
    let text = "00:01.0 root-port 01-01 acs=1d/1d
                01:00.0 endpoint acs=1d/1d
                01:00.1 endpoint acs=1d/1d
                01:00.2 endpoint acs=1d/09
                00:02.0 root-port 02-02 acs=1d/1d
                02:00.0 endpoint acs=1d/1d
                02:00.1 endpoint acs=0/0";
    let one = "01:00.0 01:00.1 01:00.2";
    assert_eq!(groups(text), ["00:01.0", "00:02.0", one, "02:00.0", "02:00.1"]);
    let fabric = Fabric::new(&capture(text));
    assert!(fabric.reaches(name("01:00.2"), name("01:00.0")));
    assert!(!fabric.reaches(name("01:00.0"), name("01:00.1")));
}

#[test]
fn an_open_function_reaches_through_a_port_of_its_device() {
    let text = "00:04.0 root-port 01-01 acs=1d/1d
                00:04.1 root-port 02-02
                00:05.0 root-port 03-03 acs=1d/1d
                01:00.0 endpoint
                02:00.0 endpoint
                03:00.0 endpoint";
    let fabric = Fabric::new(&capture(text));
    assert!(fabric.reaches(name("02:00.0"), name("01:00.0")));
    assert!(!fabric.reaches(name("01:00.0"), name("02:00.0")));
    let slot = "00:04.0 00:04.1 01:00.0 02:00.0";
    assert_eq!(groups(text), [slot, "00:05.0", "03:00.0"]);
}

#[test]
fn functions_of_an_ari_device_are_one_device_whatever_their_numbers() {
    let text = "00:01.0 root-port 01-01 acs=1d/1d
                01:00.0 endpoint ari acs=1d/1d
                01:01.0 endpoint ari acs=1d/1d
                01:02.1 endpoint ari";
    assert_eq!(groups(text), ["00:01.0", "01:00.0 01:01.0 01:02.1"]);
    let slots = text.replace("ari", "");
    assert_eq!(groups(&slots), ["00:01.0", "01:00.0", "01:01.0", "01:02.1"]);
}

#[test]
fn a_virtual_function_belongs_to_the_device_of_its_physical_one() {
    let text = "00:01.0 root-port 01-02 acs=1d/1d
                01:00.0 endpoint acs=1d/1d
                01:00.1 endpoint acs=1d/1d
                02:10.0 endpoint vf acs=1d/1d
                02:10.1 endpoint vf";
    // Below a port whose buses include number 2, which no bridge has as its secondary.
    assert_eq!(groups(text), ["00:01.0", "01:00.0 01:00.1 02:10.0 02:10.1"]);
    let mut machine = capture(text);
    machine.root_buses.push(2);
    assert_eq!(Fabric::new(&machine).groups().len(), 2, "nothing but virtual ones is there");
    let isolated = text.replace("vf\n", "vf acs=1d/1d\n").replace("02:10.1 endpoint vf", "");
    assert_eq!(groups(&isolated), ["00:01.0", "01:00.0", "01:00.1", "02:10.0"]);
}

#[test]
fn the_physical_function_is_the_nearest_that_can_have_virtual_ones() {
    let mut machine = capture(
        "00:02.0 rciep
         00:03.0 rciep
         00:04.0 rciep
         00:05.0 rciep vf
         00:06.0 rciep",
    );
    let device = |machine: &Capture| {
        let groups = Fabric::new(machine).groups();
        groups.into_iter().find(|group| group.contains(&name("00:05.0"))).unwrap()
    };
    assert_eq!(device(&machine), [name("00:04.0"), name("00:05.0")]);
    for at in [0, 1, 4] {
        let mut config = vec![0; 0x100];
        config.extend([0x10, 0, 1, 0]);
        machine.functions[at].config = config;
    }
    assert_eq!(device(&machine), [name("00:03.0"), name("00:05.0")]);
}

#[test]
fn a_host_bridge_in_a_slot_with_ports_sends_nothing() {
    let text = "00:01.0 pci class=060000
                00:01.1 root-port 01-01 acs=1d/1d
                00:01.2 root-port 02-02 acs=1d/1d
                01:00.0 endpoint
                02:00.0 endpoint";
    assert_eq!(groups(text), ["00:01.0", "00:01.1", "00:01.2", "01:00.0", "02:00.0"]);
    // But it may be sent to.
    let open = text.replace("02-02 acs=1d/1d", "02-02");
    assert_eq!(groups(&open), ["00:01.0 00:01.1 00:01.2 01:00.0 02:00.0"]);
    // And any other conventional function sends.
    let other = text.replace("060000", "060100");
    assert_eq!(groups(&other), ["00:01.0 00:01.1 00:01.2 01:00.0 02:00.0"]);
}

#[test]
fn devices_of_a_root_bus_are_translated_from_each_other() {
    let text = "00:01.0 rciep
                00:02.0 pci
                00:03.0 root-port 01-01 acs=1d/1d
                00:04.0 rciep
                00:04.1 rcec
                01:00.0 endpoint
                40:01.0 pci";
    let groups = groups(text);
    assert_eq!(groups.len(), 6);
    assert!(groups.contains(&"00:04.0 00:04.1".to_owned()), "{groups:?}");
}

#[test]
fn all_on_a_conventional_bus_talk_and_the_bridge_hears_them() {
    for bridge in ["pcie-to-pci", "pci", "pci unknown"] {
        let text = format!(
            "00:01.0 root-port 01-03 acs=1d/1d
             01:00.0 {bridge} 02-03
             02:00.0 pci
             02:01.0 pci 03-03
             03:04.0 pci"
        );
        assert_eq!(groups(&text), ["00:01.0", "01:00.0 02:00.0 02:01.0 03:04.0"], "{bridge}");
    }
}

#[test]
fn what_is_behind_a_reverse_bridge_is_on_its_conventional_bus() {
    let text = "00:01.0 pci-to-pcie 01-04
                01:00.0 upstream 02-04
                02:00.0 downstream 03-03 acs=1d/1d
                02:01.0 downstream 04-04 acs=1d/1d
                03:00.0 endpoint
                04:00.0 endpoint
                00:02.0 pci";
    let below = "00:01.0 01:00.0 02:00.0 02:01.0 03:00.0 04:00.0";
    assert_eq!(groups(text), [below, "00:02.0"]);
}

#[test]
fn bridges_whose_bus_numbers_make_no_sense_lead_nowhere() {
    let text = "00:01.0 root-port 00-00
                00:02.0 pci 00-ff
                00:03.0 root-port 01-ff
                01:00.0 pcie-to-pci 01-ff
                01:01.0 pci 00-01";
    assert_eq!(groups(text), ["00:01.0", "00:02.0", "00:03.0 01:00.0 01:01.0"]);
}
