//! The simulator's own tables of vendors say what the data says.

use pviommu_testbed::pci::fabric::Fabric;
use pviommu_testbed::pci::random::plain;
use pviommu_testbed::pci::{Captured, Kind, Name};
use serde_json::Value;

use crate::kit::{capture, groups, name};

fn quirks() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pci/quirks.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn entries(quirks: &Value, list: &str) -> Vec<[String; 3]> {
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let list = quirks[list].as_array().unwrap().iter();
    list.map(|e| [word(e, "vendor"), word(e, "device"), word(e, "rule")]).collect()
}

/// Two functions of one device without ACS, of one identity, are isolated, beside a chipset whose registers are
/// enabled.
fn isolated(kind: &str, id: &str) -> bool {
    let buses = |n| if kind == "root-port" { format!("0{n}-0{n}") } else { String::new() };
    let text = format!(
        "00:02.0 {kind} {} id={id}
         00:02.1 {kind} {} id={id}
         00:1f.0 pci byte=f0:1",
        buses(1),
        buses(2)
    );
    groups(&text).len() == 3
}

#[test]
fn whom_vendors_vouch_for_is_isolated() {
    let quirks = quirks();
    let mut told = 0;
    for [vendor, device, rule] in entries(&quirks, "acs_enabled") {
        if device == "*" || rule == "amd_sb" {
            continue;
        }
        told += 1;
        let id = format!("{vendor}:{device}");
        assert!(isolated("root-port", &id), "{id} as a root port");
        assert_eq!(isolated("endpoint", &id), rule != "al", "{id} as an endpoint");
    }
    assert_eq!(told, 118);
    for device in quirks["intel_pch_ids"].as_array().unwrap() {
        let id = format!("8086:{}", device.as_str().unwrap());
        assert!(isolated("root-port", &id) && !isolated("endpoint", &id), "{id}");
    }
}

/// How many devices of `vendor` are isolated, as root ports and as endpoints.
fn count(vendor: u16) -> [usize; 2] {
    // A root bus each for as many at once, with an enabled chipset.
    const AT_ONCE: u16 = 32;
    [Kind::RootPort, Kind::Endpoint].map(|kind| {
        let some = |first: u16| {
            let mut machine = capture("");
            for (bus, device) in (0_u8..).zip(first..=first + (AT_ONCE - 1)) {
                let mut chipset = plain(Name { bus, devfn: 0xf8 }, Kind::Conventional);
                chipset.bytes.insert(0xf0, 1);
                machine.functions.push(chipset);
                for devfn in [0x10, 0x11] {
                    let function = plain(Name { bus, devfn }, kind);
                    machine.functions.push(Captured { vendor, device, ..function });
                }
            }
            let together = |group: &&Vec<Name>| group.iter().any(|name| name.devfn == 0x11);
            let groups = Fabric::new(&machine).groups();
            groups.iter().filter(together).filter(|group| group[0].devfn == 0x11).count()
        };
        (0..=u16::MAX).step_by(AT_ONCE.into()).map(some).sum()
    })
}

#[test]
fn whom_vendors_do_not_vouch_for_is_not() {
    assert_eq!(count(0x8086), [119 + 48, 48]);
    assert_eq!(count(0x177d), [0x800 + 2, 3]);
    assert_eq!(count(0x1957), [24, 24]);
    assert_eq!(count(0x0014), [10, 10]);
    assert_eq!(count(0x14e4), [9, 9]);
    assert_eq!(count(0x1d17), [15 + 1 + 48 + 3, 3]);
    assert_eq!(count(0x8088), [16 + 9 - 1, 16 + 9 - 1]);
    assert_eq!(count(0x1234), [0, 0]);
}

#[test]
fn integrated_endpoints_of_intel_are_isolated() {
    assert!(isolated("rciep", "8086:0b25"));
    assert!(!isolated("rciep", "1022:0b25"));
}

#[test]
fn chipset_ports_isolate_only_if_their_registers_are_enabled() {
    let text = |byte: &str| {
        format!(
            "00:1c.0 root-port 01-01 id=8086:1e10
             00:1c.1 root-port 02-02 id=8086:1e12
             00:1f.0 pci {byte}"
        )
    };
    assert_eq!(groups(&text("byte=f0:1")).len(), 3);
    assert_eq!(groups(&text("byte=f0:2")).len(), 2);
    assert_eq!(groups(&text("")).len(), 2);
    let alone = "00:1c.0 root-port 01-01 id=8086:1e10
                 00:1c.1 root-port 02-02 id=8086:1e12";
    assert_eq!(groups(alone).len(), 1, "nothing says that they are");
}

#[test]
fn some_chipset_ports_have_acs_in_double_words() {
    let mut ports = capture(
        "00:1c.0 root-port 01-01 id=8086:a110 acs=0f/00
         00:1c.1 root-port 02-02 id=8086:a110 acs=0f/0f",
    );
    assert_eq!(Fabric::new(&ports).groups().len(), 1);
    let mut config = vec![0; 0x100];
    config.extend([0x0d, 0, 1, 0, 0x0f, 0, 0, 0, 0x0f]);
    ports.functions[0].config = config;
    assert_eq!(Fabric::new(&ports).groups().len(), 2);
}

#[test]
fn all_devices_with_other_ids_are_known() {
    for [vendor, device, rule] in entries(&quirks(), "dma_alias") {
        let more = match rule.as_str() {
            "use_pcie_bridge_dma_alias" | "bridge_cavm_thrx2_pcie_root" => 0,
            "mic_x200_dma_alias" => 3,
            "pex_vca_alias" => 32 * 5,
            "plx_ntb_dma_alias" => 255,
            _ => 1,
        };
        let text = format!("00:02.7 rciep id={vendor}:{device} sub=9005:02bc");
        let ids = Fabric::new(&capture(&text)).requesters(name("00:02.7")).len();
        assert_eq!(ids, 1 + more, "{vendor}:{device}");
    }
}
