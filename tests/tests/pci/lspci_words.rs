//! What `lspci -v` and more print.

use pviommu_testbed::pci::{self, Buses, Capture, Captured, Kind};

use crate::data::refusal;

/// As root, with ids.
const DESKTOP: &str = include_str!("samples/desktop.txt");

fn read(text: &str) -> Capture {
    let mut captures = pci::read("desktop.txt", text.as_bytes()).unwrap();
    assert_eq!(captures.len(), 1);
    captures.remove(0)
}

fn find(capture: &Capture, name: &str) -> Captured {
    let name = name.parse().unwrap();
    capture.functions.iter().find(|function| function.name == name).unwrap().clone()
}

/// True if something that is not seen is described by `words`.
fn lacks(capture: &Capture, words: &str) -> bool {
    capture.unseen.iter().any(|unseen| unseen.contains(words))
}

#[test]
fn words_of_root_say_all_but_what_lspci_never_prints() {
    let capture = read(DESKTOP);
    assert_eq!((capture.name.as_str(), capture.functions.len()), ("desktop.txt", 7));
    let kinds: Vec<_> = capture.functions.iter().map(|function| function.kind.unwrap()).collect();
    use Kind::{Conventional, Endpoint, PcieToPci, RootPort};
    let expected = [Conventional, RootPort, RootPort, Endpoint, Endpoint, PcieToPci, Conventional];
    assert_eq!(kinds, expected);
    assert!(capture.functions.iter().all(|function| function.multifunction.is_none()));
    assert!(capture.functions.iter().all(|function| function.acs_is_known));
    assert!(lacks(&capture, "bit 7 of the header type"), "{:?}", capture.unseen);
    assert!(!lacks(&capture, "vendor and device ids"), "{:?}", capture.unseen);

    let port = find(&capture, "00:01.0");
    assert_eq!((port.vendor, port.device, port.class), (0x8086, 0x1901, 0x06_0400));
    assert_eq!(port.buses, Some(Buses { primary: 0, secondary: 1, subordinate: 1 }));
    assert_eq!((port.header, port.acs, port.ari_forwarding), (1, None, false));
    assert_eq!(port.windows, [(0xdf20_0000, 0xdf2f_ffff)]);

    let card = find(&capture, "01:00.0");
    assert_eq!((card.phantom, card.ari, card.acs), (1, true, Some((0, 0))));
    assert_eq!(card.regions, [(0xdf28_0000, 0xdf2f_ffff), (0xdf30_4000, 0xdf30_7fff)]);
    assert_eq!(card.subsystem, Some((0x8086, 0x00a2)));
    assert!(!card.virtual_function);
    let part = find(&capture, "01:10.0");
    assert_eq!((part.virtual_function, part.physical), (true, Some(card.name)));
}

#[test]
fn control_that_lspci_reads_at_the_wrong_place_counts_as_off() {
    let capture = read(DESKTOP);
    assert_eq!(find(&capture, "00:1c.0").acs, Some((0x0f, 0)));
    assert!(lacks(&capture, "at 1 Intel root ports"), "{:?}", capture.unseen);
    let other = read(&DESKTOP.replace("8086:a290", "1022:1453"));
    assert_eq!(find(&other, "00:1c.0").acs, Some((0x0f, 0x0d)));
    assert!(!lacks(&other, "Intel root ports,"), "{:?}", other.unseen);
}

#[test]
fn spaces_for_tabs_change_nothing() {
    assert_eq!(read(&DESKTOP.replace('\t', "        ")), read(DESKTOP));
}

#[test]
fn without_ids_no_quirk_can_apply() {
    // `lspci -vvv` without -nn.
    let plain: String = DESKTOP
        .lines()
        .map(|line| {
            let mut line = line.to_owned();
            while let Some((from, to)) = line.find(" [").zip(line.find(']')) {
                let inner = line[from + 2..to].to_owned();
                let is_id = matches!(inner.len(), 4 | 9) && !line.starts_with('\t') && from < to;
                if !is_id {
                    break;
                }
                line.replace_range(from..=to, "");
            }
            line + "\n"
        })
        .collect();
    assert!(plain.contains("DRAM Registers (rev 05)"), "{plain}");
    let capture = read(&plain);
    let port = find(&capture, "00:1c.0");
    assert_eq!((port.vendor, port.device, port.class), (0xffff, 0xffff, 0x06_0400));
    assert_eq!(port.acs, Some((0x0f, 0x0d)));
    assert!(lacks(&capture, "vendor and device ids"), "{:?}", capture.unseen);
    assert_eq!((port.phantom, port.ari), (0, false));
}

#[test]
fn makers_of_devices_that_use_ids_of_others_are_believed_capable_of_it() {
    let read = |name: &str| {
        read(&format!("01:00.0 SATA controller: {name}\n\tFlags: fast devsel\n"))
            .functions
            .remove(0)
    };
    let assumed = |name: &str| (read(name).phantom, read(name).ari);
    assert_eq!(assumed("Marvell Technology Group Ltd. 88SE9230 (rev 11)"), (3, false));
    assert_eq!(assumed("PLX Technology, Inc. PEX 8732 NT"), (3, true));
    assert_eq!(assumed("Intel Corporation 7 Series"), (0, false));
    assert_eq!(assumed("Marvell Technology Group Ltd. 88SE9230 [1b4b:9230]"), (0, false));
    let unnamed = read("Device 1b4b:9230 (rev 11)");
    assert_eq!((unnamed.vendor, unnamed.device, unnamed.phantom), (0x1b4b, 0x9230, 0));
}

#[test]
fn who_is_denied_the_capabilities_knows_no_kinds() {
    let mut text = String::new();
    for line in DESKTOP.lines() {
        if line.starts_with("\tCapabilities: ") {
            text.push_str("\tCapabilities: <access denied>\n");
        } else if !line.starts_with("\t\t") {
            text.push_str(line);
            text.push('\n');
        }
    }
    let capture = read(&text);
    for function in &capture.functions {
        assert_eq!((function.kind, function.acs_is_known), (None, false), "{}", function.name);
    }
    assert!(lacks(&capture, "capabilities of 7 functions"), "{:?}", capture.unseen);
}

#[test]
fn one_v_shows_capabilities_and_not_what_they_hold() {
    let text = "01:00.0 Ethernet controller [0200]: Intel Corporation I350 [8086:1521] (rev 01)\n\
        \tSubsystem: Intel Corporation I350-T2 [8086:00a2]\n\
        \tFlags: bus master, fast devsel, latency 0, IRQ 16\n\
        \tMemory at df280000 (32-bit, non-prefetchable) [size=512K]\n\
        \tCapabilities: [a0] Express Endpoint, MSI 00\n\
        \tCapabilities: [1d0] Access Control Services\n\
        02:00.0 Communication controller [0780]: Somebody Something [1234:5678]\n\
        \tFlags: fast devsel, IRQ 16\n";
    let capture = read(text);
    let card = find(&capture, "01:00.0");
    assert_eq!((card.kind, card.acs, card.acs_is_known), (Some(Kind::Endpoint), None, false));
    assert_eq!(card.regions, [(0xdf28_0000, 0xdf2f_ffff)]);
    let other = find(&capture, "02:00.0");
    assert_eq!((other.kind, other.acs_is_known), (Some(Kind::Conventional), true));
    assert!(lacks(&capture, "what capabilities hold"), "{:?}", capture.unseen);
}

#[test]
fn each_segment_is_a_capture() {
    let far = DESKTOP.lines().next().unwrap().replace("00:00.0", "10000:e0:06.0");
    let text = format!("{DESKTOP}\n{far}\n\tFlags: fast devsel\n");
    let captures = pci::read("two.txt", text.as_bytes()).unwrap();
    let seen: Vec<_> = captures.iter().map(|c| (c.name.as_str(), c.segment)).collect();
    assert_eq!(seen, [("two.txt segment 0000", 0), ("two.txt segment 10000", 0x1_0000)]);
    assert_eq!(captures[1].functions[0].name.to_string(), "e0:06.0");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let first = "00:01.0 PCI bridge [0604]: Somebody Something [1234:5678]\n";
    let cases = [
        (first.to_owned(), "file:1: found no details of 00:01.0, expected lines below it"),
        (
            format!("{first}\tFlags: fast devsel\n"),
            "file:1: found no bus numbers of 00:01.0, expected Bus: primary=",
        ),
        (
            format!("{first}\tFlags: fast devsel\n\tBus: primary=00, secondary=1\n"),
            "file:3: found \"Bus: primary=00, secondary=1\", expected primary=, secondary=, subordinate=",
        ),
        (
            DESKTOP.replace("ACSCtl:\tSrcValid+ TransBlk- ReqRedir+", "ACSCtl:\tSrcValid+"),
            "file:33: found \"SrcValid+ CmpltRedir+ UpstreamFwd-",
        ),
        (
            DESKTOP.replace("PhantFunc 1,", "PhantFunc 7,"),
            "found PhantFunc 7, expected PhantFunc 0 to 3",
        ),
        (
            format!("{DESKTOP}$ uname -a\n"),
            "found \"$ uname -a\", expected a function as [ssss:]bb:dd.f",
        ),
        (format!("{DESKTOP}{DESKTOP}"), "topology \"file\", function 00:00.0: found it twice"),
        (
            "hello\n".to_owned(),
            "file:1: found \"hello\", expected pviommu-pci-1 in JSON, or what lspci",
        ),
        (String::new(), "file: found nothing, expected a machine"),
    ];
    for (text, expected) in cases {
        let message = refusal(&text);
        assert!(message.contains(expected), "{message}\nexpected: {expected}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}
