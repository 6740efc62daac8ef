//! What `lspci -x`, `-xxx` and `-xxxx` print.

use pviommu_testbed::pci::{self, Captured};

use crate::data::{load, refusal, rows};

/// A function of the QEMU machine `machine`.
fn function(machine: &str, name: &str) -> Captured {
    let captures = load("qemu.json.gz");
    let capture = captures.iter().find(|capture| capture.name == machine).unwrap();
    let name = name.parse().unwrap();
    capture.functions.iter().find(|function| function.name == name).unwrap().clone()
}

fn read(text: &str) -> pci::Capture {
    pci::read("rows", text.as_bytes()).unwrap().remove(0)
}

/// `function` as it is read when only the first `length` bytes are printed.
fn cut(function: &Captured, length: usize) -> (Captured, Vec<String>) {
    let mut function = function.clone();
    function.config.truncate(length);
    let mut capture = read(&rows(&[function]));
    (capture.functions.remove(0), capture.unseen)
}

#[test]
fn bytes_say_what_the_json_says() {
    let mut compared = 0;
    for capture in load("qemu.json.gz") {
        let printed = read(&rows(&capture.functions));
        assert_eq!(printed.functions, capture.functions, "{}", capture.name);
        assert!(printed.unseen.is_empty(), "{:?}", printed.unseen);
        compared += printed.functions.len();
    }
    assert_eq!(compared, 339);
}

#[test]
fn what_few_bytes_do_not_show_is_not_known() {
    let port = function("switch-nested", "00:01.0");
    assert!(port.acs.is_some() && port.acs_is_known);
    let (short, unseen) = cut(&port, 256);
    assert_eq!((short.kind, short.acs, short.acs_is_known), (port.kind, None, false));
    assert_eq!((short.buses, &short.windows), (port.buses, &port.windows));
    assert!(unseen.iter().any(|text| text.contains("only 256 bytes")), "{unseen:?}");
    let (header, unseen) = cut(&port, 64);
    assert_eq!((header.kind, header.acs_is_known), (None, false));
    assert_eq!(header.multifunction, port.multifunction);
    assert!(unseen.iter().any(|text| text.contains("on PCI Express")), "{unseen:?}");
    // Its header says that it has no capabilities at all.
    let host = function("switch-nested", "00:00.0");
    let (header, unseen) = cut(&host, 64);
    assert_eq!((header.kind, header.acs_is_known), (host.kind, true));
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn wide_control_of_sunrise_point_is_found() {
    let mut port = function("switch-nested", "00:01.0");
    // An ACS capability at 100h, with words of the wrong place between capability and control.
    port.config.resize(4096, 0);
    port.config[..4].copy_from_slice(&[0x86, 0x80, 0x10, 0xa1]);
    port.config[0x100..0x10c].copy_from_slice(&[0x0d, 0, 1, 0, 0x0f, 0, 0, 0, 0x0d, 0, 0, 0]);
    assert_eq!(cut(&port, 4096).0.acs, Some((0x0f, 0x0d)));
    port.config[2] = 0x20;
    assert_eq!(cut(&port, 4096).0.acs, Some((0x0f, 0)));
}

#[test]
fn who_answers_with_all_ones_is_there_and_unknown() {
    let mut port = function("switch-nested", "00:01.0");
    port.config.fill(0xff);
    let (mute, unseen) = cut(&port, 256);
    assert_eq!((mute.kind, mute.multifunction, mute.acs_is_known), (None, None, false));
    assert_eq!(mute.header, 0);
    assert!(unseen.iter().any(|text| text.contains("all ones")), "{unseen:?}");
}

#[test]
fn a_kind_that_no_specification_has_is_not_known() {
    let mut port = function("switch-nested", "00:01.0");
    port.config[0x56] = port.config[0x56] & 0xf | 0xb0;
    let (odd, _) = cut(&port, 4096);
    assert_eq!((odd.kind, odd.acs_is_known, odd.acs), (None, false, port.acs));
}

#[test]
fn lists_that_lead_in_circles_end() {
    let mut port = function("switch-nested", "00:01.0");
    port.config.resize(4096, 0);
    // Each capability leads to itself.
    port.config[0x34] = 0x40;
    port.config[0x40..0x42].copy_from_slice(&[0x09, 0x40]);
    port.config[0x100..0x104].copy_from_slice(&[0x0b, 0, 1, 0x10]);
    let (read, _) = cut(&port, 4096);
    assert_eq!(read.kind, Some(pci::Kind::Conventional));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let port = function("switch-nested", "00:01.0");
    let text = rows(std::slice::from_ref(&port));
    let line = |number: usize| text.lines().nth(number - 1).unwrap();
    let cases = [
        (text.replace(line(3), ""), "file:4: found \"20: "),
        (text.replace(line(3), ""), "expected the row of offset 10"),
        (text.replace(line(3), "10: 00 01"), "file:3: found \"10: 00 01\", expected 16 bytes"),
        (text.replace(line(3), "10: 00 0g"), "expected bytes of two hexadecimal digits"),
        (
            text.lines().take(4).map(|line| format!("{line}\n")).collect(),
            "file:4: found 48 bytes of 00:01.0, expected at least 64",
        ),
        (text.replace("00: 36 1b", "00: 36 1b 00"), "expected 16 bytes"),
    ];
    for (text, expected) in cases {
        let message = refusal(&text);
        assert!(message.contains(expected), "{message}\nexpected: {expected}");
    }
}
