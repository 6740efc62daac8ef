//! Topologies as text, a function a line, and groups as text.
//!
//! ```text
//! 00:01.0 root-port 01-04 acs=1d/1d     secondary and subordinate bus; ACS capability / control
//! 01:00.0 endpoint id=8086:1521 sub=9005:02bb class=0c0330 phantom=2 byte=f0:1 ari vf acs=?
//! ```

use std::fmt::Write;

use pviommu_testbed::pci::fabric::{Assumptions, Fabric};
use pviommu_testbed::pci::random::plain;
use pviommu_testbed::pci::{Buses, Capture, Captured, Kind, Name};

/// The name that `text` is.
pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|()| panic!("{text} is no function"))
}

/// The topology that `text` describes. A bus that no bridge has below it is a root bus.
pub(crate) fn capture(text: &str) -> Capture {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let functions: Vec<Captured> = lines.map(function).collect();
    let wired = functions.iter().filter(|f| !f.virtual_function);
    let mut root_buses: Vec<u8> = wired.map(|f| f.name.bus).collect();
    let below = |bus: u8| functions.iter().filter_map(|f| f.buses).any(|b| b.secondary == bus);
    root_buses.retain(|bus| !below(*bus));
    root_buses.dedup();
    Capture {
        name: String::new(),
        description: String::new(),
        segment: 0,
        root_buses,
        functions,
        linux_groups: Vec::new(),
        unseen: Vec::new(),
    }
}

/// The groups of `text`, each with its members, with spaces between.
pub(crate) fn groups(text: &str) -> Vec<String> {
    written(&Fabric::new(&capture(text)).groups())
}

/// The same without the assumption `off`.
pub(crate) fn groups_without(off: Assumptions, text: &str) -> Vec<String> {
    written(&Fabric::with(&capture(text), Assumptions::all() - off).groups())
}

fn written(groups: &[Vec<Name>]) -> Vec<String> {
    let write = |members: &Vec<Name>| {
        members.iter().fold(String::new(), |mut line, member| {
            let space = if line.is_empty() { "" } else { " " };
            write!(line, "{space}{member}").unwrap();
            line
        })
    };
    groups.iter().map(write).collect()
}

fn function(line: &str) -> Captured {
    let mut words = line.split_whitespace();
    let mut function = plain(name(words.next().unwrap()), kind(words.next().unwrap()));
    for word in words {
        match word.split_once('=') {
            Some((key, value)) => set(&mut function, key, value),
            None => mark(&mut function, word),
        }
    }
    function
}

fn set(function: &mut Captured, key: &str, value: &str) {
    match key {
        "acs" if value == "?" => function.acs_is_known = false,
        "acs" => function.acs = Some(pair(value, '/')),
        "id" => (function.vendor, function.device) = pair(value, ':'),
        "sub" => function.subsystem = Some(pair(value, ':')),
        "class" => function.class = u32::from_str_radix(value, 16).unwrap(),
        "phantom" => function.phantom = value.parse().unwrap(),
        "byte" => {
            let (at, byte) = pair(value, ':');
            function.bytes.insert(at, u8::try_from(byte).unwrap());
        }
        _ => panic!("what is {key}?"),
    }
}

fn mark(function: &mut Captured, word: &str) {
    match word {
        "ari" => function.ari = true,
        "vf" => function.virtual_function = true,
        "unknown" => function.kind = None,
        buses => {
            let (secondary, subordinate) = pair(buses, '-');
            let [secondary, subordinate] = [secondary, subordinate].map(|b| b.try_into().unwrap());
            let primary = function.name.bus;
            function.header = 1;
            function.buses = Some(Buses { primary, secondary, subordinate });
        }
    }
}

fn pair(text: &str, between: char) -> (u16, u16) {
    let (one, other) = text.split_once(between).unwrap_or_else(|| panic!("what is {text}?"));
    (u16::from_str_radix(one, 16).unwrap(), u16::from_str_radix(other, 16).unwrap())
}

fn kind(text: &str) -> Kind {
    match text {
        "pci" => Kind::Conventional,
        "endpoint" => Kind::Endpoint,
        "root-port" => Kind::RootPort,
        "upstream" => Kind::Upstream,
        "downstream" => Kind::Downstream,
        "pcie-to-pci" => Kind::PcieToPci,
        "pci-to-pcie" => Kind::PciToPcie,
        "rciep" => Kind::RootComplexEndpoint,
        "rcec" => Kind::EventCollector,
        _ => panic!("no kind is called {text}"),
    }
}
