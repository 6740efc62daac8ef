//! Each assumption has a topology that it makes a difference to.

use pviommu_testbed::pci::fabric::{Assumptions, Conflict, Fabric};

use crate::kit::{capture, groups, groups_without, name};

/// `text` has the groups `with` under all assumptions, and `without` when `off` is off.
#[track_caller]
fn check(off: Assumptions, text: &str, with: &[&str], without: &[&str]) {
    assert_eq!(groups(text), with, "as assumed");
    assert_eq!(groups_without(off, text), without, "without {off:?}");
}

#[test]
fn no_capability_means_open() {
    let text = "00:01.0 root-port 01-01
                00:02.0 root-port 02-04 acs=1d/1d
                01:00.0 endpoint
                01:00.1 endpoint
                02:00.0 upstream 03-04
                03:00.0 downstream 04-04
                04:00.0 endpoint";
    let switch = "02:00.0 03:00.0 04:00.0";
    check(
        Assumptions::NO_CAPABILITY_MEANS_OPEN,
        text,
        &["00:01.0 01:00.0 01:00.1", "00:02.0", switch],
        &["00:01.0", "00:02.0", "01:00.0", "01:00.1", switch],
    );
}

#[test]
fn what_is_not_known_is_open_whatever_is_assumed() {
    let text = "00:02.0 rciep acs=?
                00:02.1 rciep acs=1d/1d
                00:03.0 rciep unknown acs=1d/1d
                00:03.1 rciep acs=1d/1d";
    let both = ["00:02.0 00:02.1", "00:03.0 00:03.1"];
    check(Assumptions::NO_CAPABILITY_MEANS_OPEN, text, &both, &both);
}

#[test]
fn all_or_nothing() {
    let switch = |control: &str| {
        format!(
            "00:01.0 root-port 01-04 acs=1d/1d
             01:00.0 upstream 02-04
             02:00.0 downstream 03-03 acs=1d/{control}
             02:01.0 downstream 04-04 acs=1d/1d
             03:00.0 endpoint
             03:00.1 endpoint acs=1d/1d
             04:00.0 endpoint"
        )
    };
    let all = ["00:01.0", "01:00.0 02:00.0 02:01.0 03:00.0 03:00.1 04:00.0"];
    let apart = ["00:01.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0 03:00.1", "04:00.0"];
    let back_down = ["00:01.0", "01:00.0", "02:00.0 03:00.0 03:00.1", "02:01.0", "04:00.0"];
    let forged = ["00:01.0", "01:00.0", "02:00.0 02:01.0 03:00.0 03:00.1 04:00.0"];
    let off = Assumptions::ALL_OR_NOTHING;
    check(off, &switch("15"), &all, &apart); // completion redirect
    check(off, &switch("0d"), &all, &back_down); // upstream forwarding
    check(off, &switch("1c"), &all, &forged); // source validation
    check(off, &switch("19"), &all, &all); // request redirect
}

#[test]
fn port_registers() {
    let text = "00:01.0 root-port 01-04 acs=1d/1d
                01:00.0 upstream 02-04
                02:00.0 downstream 03-03
                02:01.0 downstream 04-04 acs=1d/1d
                03:00.0 endpoint
                04:00.0 endpoint";
    check(
        Assumptions::PORT_REGISTERS,
        text,
        &["00:01.0", "01:00.0 02:00.0 02:01.0 03:00.0 04:00.0"],
        // The open port sends on the internal bus by itself.
        &["00:01.0", "01:00.0", "02:00.0 03:00.0 04:00.0", "02:01.0"],
    );
}

#[test]
fn internal_endpoints() {
    let text = "00:01.0 root-port 01-03 acs=1d/1d
                01:00.0 upstream 02-03
                02:00.0 endpoint
                02:01.0 downstream 03-03 acs=1d/1d
                03:00.0 endpoint";
    check(
        Assumptions::INTERNAL_ENDPOINTS,
        text,
        &["00:01.0", "01:00.0 02:00.0 02:01.0 03:00.0"],
        &["00:01.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0"],
    );
}

#[test]
fn alias_on_internal_bus() {
    let text = "00:01.0 root-port 01-04 acs=1d/1d
                01:00.0 upstream 02-04
                02:00.0 downstream 03-03 acs=1d/1d id=1b4b:9230
                02:01.0 downstream 04-04 acs=1d/1d";
    check(
        Assumptions::ALIAS_ON_INTERNAL_BUS,
        text,
        &["00:01.0", "01:00.0 02:00.0 02:01.0"],
        &["00:01.0", "01:00.0", "02:00.0", "02:01.0"],
    );
}

#[test]
fn phantom_collision() {
    let text = "00:02.0 rciep acs=1d/1d phantom=1
                00:02.4 rciep acs=1d/1d";
    check(Assumptions::PHANTOM_COLLISION, text, &["00:02.0 00:02.4"], &["00:02.0", "00:02.4"]);
}

#[test]
fn bridges_send() {
    let text = "00:04.0 rciep acs=1d/1d
                00:04.1 root-port 01-01";
    check(Assumptions::BRIDGES_SEND, text, &["00:04.0 00:04.1"], &["00:04.0", "00:04.1"]);
}

#[test]
fn inherited_by_what_is_behind_a_bridge() {
    let text = "00:04.0 rciep
                00:04.1 root-port 01-01 acs=1d/1d
                01:00.0 endpoint";
    check(
        Assumptions::INHERITED,
        text,
        &["00:04.0 00:04.1 01:00.0"],
        &["00:04.0 00:04.1", "01:00.0"],
    );
    let alias = "00:04.0 rciep acs=1d/1d id=1b4b:9230
                 00:04.1 root-port 01-01 acs=1d/1d
                 01:00.0 endpoint";
    check(
        Assumptions::INHERITED,
        alias,
        &["00:04.0 00:04.1 01:00.0"],
        &["00:04.0 00:04.1", "01:00.0"],
    );
    let conflict = Fabric::new(&capture(alias)).conflict(name("01:00.0"), name("00:04.0"));
    assert_eq!(conflict, Some(Conflict::BehindBridge(name("00:04.1"))));
}

#[test]
fn egress_control() {
    let text = "00:02.0 rciep acs=3d/3d
                00:02.1 rciep acs=1d/1d";
    check(Assumptions::EGRESS_CONTROL, text, &["00:02.0 00:02.1"], &["00:02.0", "00:02.1"]);
}

#[test]
fn an_egress_vector_that_names_all_ports_redirects() {
    let mut device = capture(
        "00:02.0 rciep acs=23d/3d
         00:02.1 rciep acs=1d/1d",
    );
    let mut config = vec![0; 0x100];
    config.extend([0x0d, 0, 1, 0, 0x3d, 2, 0x3d, 0, 0b11]);
    device.functions[0].config = config;
    assert_eq!(Fabric::new(&device).groups().len(), 2);
    *device.functions[0].config.last_mut().unwrap() = 0b01;
    assert_eq!(Fabric::new(&device).groups().len(), 1);
}

#[test]
fn vendors_denial() {
    let text = "00:01.0 root-port 01-01 id=1d17:0800 acs=1d/1d
                01:00.0 endpoint";
    check(Assumptions::VENDORS_DENIAL, text, &["00:01.0 01:00.0"], &["00:01.0", "01:00.0"]);
}

#[test]
fn translation_root_is_a_bridge() {
    let text = "00:01.0 pci 01-03 id=14e4:9000
                01:00.0 root-port 02-02 acs=1d/1d
                01:01.0 root-port 03-03 acs=1d/1d
                02:00.0 endpoint";
    check(
        Assumptions::TRANSLATION_ROOT_IS_A_BRIDGE,
        text,
        &["00:01.0 01:00.0 01:01.0 02:00.0"],
        &["00:01.0", "01:00.0", "01:01.0", "02:00.0"],
    );
}
