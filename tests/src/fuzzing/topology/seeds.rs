//! Inputs to begin with: captures of machines, each with a few changes.

use std::path::Path;

use super::{
    facts::IDENTITIES,
    input::{
        ADD, ALLOWED, AS_IT_IS, BRIDGE, Change, Config, FUNCTIONS, Facts, Input, Item, KEEP,
        VIRTUAL,
    },
};
use crate::pci::{self, Capture, Captured, Kind};

/// Most bytes of a seed.
const LARGEST: usize = 4096;

/// Where captures are, and how many of the first small ones of each are taken.
const FILES: [(&str, usize); 3] =
    [("handmade.json", usize::MAX), ("qemu.json.gz", 6), ("random-quirks.json.gz", 12)];

/// Longest gap between bytes that are not zero in a run.
const GAP: usize = 4;

/// All of them, by name.
///
/// # Panics
/// If a capture cannot be read.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("pci");
    let mut seeds = vec![("firmware-names-what-others-carry".into(), firmware())];
    for (file, most) in FILES {
        let captures = pci::open(&directory.join(file)).unwrap();
        let inputs = captures
            .iter()
            .filter(|it| it.functions.len() <= FUNCTIONS)
            .map(|it| (it.name.replace(':', "-"), input(it)));
        let small = inputs.filter(|(_, input)| input.to_bytes().len() <= LARGEST);
        seeds.extend(small.take(most));
    }
    seeds
}

/// Firmware gives functions an id of a phantom's, and one that a bridge puts in place of those below it.
fn firmware() -> Input {
    let at = |place, devfn, kind, traits| Facts { place, devfn, kind, traits, ..Facts::default() };
    let bridge = Facts { buses: [1, 1], ..at(0, 0x28, 6 | BRIDGE, 0) };
    let functions =
        [at(0, 0x10, 0, 0x40), at(0, 0x18, 0, 0), at(0, 0x20, 0, 0), bridge, at(1, 8, 0, 0)];
    let mut items: Vec<_> = functions.map(Item::Function).to_vec();
    items.push(Item::Alias { function: 1, bus: 0, devfn: 0x14 });
    items.push(Item::Alias { function: 2, bus: 1, devfn: 0 });
    Input { flags: AS_IT_IS, items }
}

fn input(capture: &Capture) -> Input {
    let place = |name| capture.functions.iter().position(|it| Some(it.name) == name);
    let items = capture.functions.iter().map(|captured| {
        let facts = facts(captured, place(captured.physical));
        if captured.config.is_empty() {
            return Item::Function(facts);
        }
        let (length, runs) = (captured.config.len(), runs(&captured.config));
        Item::Config(Config {
            facts: Facts {
                kind: facts.kind & VIRTUAL,
                place: facts.place,
                devfn: facts.devfn,
                other: facts.other,
                ..Facts::default()
            },
            length: u16::try_from(length).unwrap(),
            fill: 0,
            runs,
        })
    });
    let mut items: Vec<_> = items.collect();
    let last = u8::try_from(items.len().saturating_sub(1)).unwrap_or(u8::MAX);
    let port = capture.functions.iter().position(|it| it.kind == Some(Kind::RootPort));
    let port = u8::try_from(port.unwrap_or(0)).unwrap_or(0);
    let change = |what, function, control| Change { what, function, control, added: Vec::new() };
    let beside = Facts { devfn: 7, ..Facts::default() };
    let changes = [
        change(KEEP, port, 0),
        change(KEEP, port, 0x1d),
        change(1 | KEEP | ALLOWED, port, 0),
        change(1 | KEEP, port, 0),
        Change { added: vec![beside], ..change(ADD, last, 2) },
        Change { added: vec![beside], ..change(ADD | KEEP, last, 2) },
        change(3, port, 0),
        change(3 | KEEP, last, 0),
    ];
    items.extend(changes.map(Item::Change));
    Input { flags: AS_IT_IS, items }
}

fn facts(captured: &Captured, physical: Option<usize>) -> Facts {
    let kind = match captured.kind {
        Some(Kind::Endpoint | Kind::LegacyEndpoint) => 0,
        None => 1,
        Some(Kind::Conventional) => 2,
        Some(Kind::RootPort) => 3,
        Some(Kind::Upstream) => 4,
        Some(Kind::Downstream) => 5,
        Some(Kind::PcieToPci) => 6,
        Some(Kind::PciToPcie) => 7,
        Some(Kind::RootComplexEndpoint) => 8,
        Some(Kind::EventCollector) => 9,
    };
    let is_host_bridge = captured.class >> 8 == 0x0600;
    let known = (captured.vendor, captured.device);
    let identity = IDENTITIES.iter().position(|it| (it.0, it.1) == known);
    let identity = identity.unwrap_or(usize::from(is_host_bridge));
    let buses = captured.buses.map(|it| [it.secondary, it.subordinate]);
    let (capability, control) = captured.acs.unwrap_or_default();
    let bit = |is: bool, bit: u8| if is { bit } else { 0 };
    let multifunction = captured.multifunction.unwrap_or(captured.name.function() > 0);
    let is_virtual = captured.virtual_function && physical.is_some();
    Facts {
        place: captured.name.bus,
        devfn: captured.name.devfn,
        kind: kind | bit(buses.is_some(), BRIDGE) | bit(is_virtual, VIRTUAL),
        traits: bit(multifunction, 1) | bit(captured.ari, 2) | captured.phantom << 6,
        acs: if captured.acs.is_some() { 2 } else { u8::from(!captured.acs_is_known) },
        capability: capability.to_le_bytes()[0],
        control: control.to_le_bytes()[0],
        identity: u8::try_from(identity).unwrap_or(0),
        other: physical.and_then(|it| u8::try_from(it).ok()).unwrap_or(0),
        regions: [0, captured.byte(0xf0).unwrap_or(0)],
        buses: buses.unwrap_or_default(),
    }
}

/// What is not zero, in runs; what is too much is left out.
fn runs(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        match runs.last_mut() {
            Some((first, end)) if at - *end < GAP && at - *first < 64 => *end = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    let run =
        |(first, end): (usize, usize)| (u16::try_from(first).unwrap(), bytes[first..end].to_vec());
    runs.into_iter().take(32).map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_reads_back_as_it_was_written() {
        for (name, input) in seeds() {
            assert_eq!(Input::from_bytes(&input.to_bytes()), input, "{name}");
        }
    }

    /// Else the fuzzer would begin with nothing.
    #[test]
    fn captures_are_machines_still() {
        use super::super::{build, layout::Machine};
        use pviommu_hypervisor::topology::{Mode, Node};
        let is_one = |input: &Input| {
            let machine = Machine::of(input);
            let mut nodes: Vec<_> = machine.functions.iter().copied().map(Node::new).collect();
            build(&mut nodes, machine.firmware(), Mode::Safe).is_ok()
        };
        let seeds = seeds();
        let machines = seeds.iter().filter(|(_, input)| is_one(input)).count();
        assert!(machines * 10 >= seeds.len() * 9, "{machines} of {}", seeds.len());
    }
}
