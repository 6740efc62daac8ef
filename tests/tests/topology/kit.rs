//! Captures, and their groups as text.

use std::path::Path;

use pviommu_hypervisor::topology::{Mode, Topology};
use pviommu_testbed::pci::{self, Capture, Name, convert::Machine};

/// The files of topologies whose groups follow from what is in them.
pub(crate) const COMPLETE: [&str; 6] = [
    "handmade.json",
    "real.json",
    "random.json.gz",
    "random-quirks.json.gz",
    "quirk-table.json.gz",
    "qemu.json.gz",
];

pub(crate) fn captures(file: &str) -> Vec<Capture> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pci").join(file);
    pci::open(&path).unwrap()
}

/// A capture that is made by hand.
pub(crate) fn handmade(name: &str) -> Capture {
    captures("handmade.json").into_iter().find(|capture| capture.name == name).unwrap()
}

/// The groups, all functions in them or only those behind a unit.
pub(crate) fn groups_of(topology: &Topology<'_>, behind_unit: bool) -> Vec<Vec<Name>> {
    let members = topology.groups().map(|group| {
        let members = group.members().filter(|member| member.unit.is_some() || !behind_unit);
        members.map(|it| Name { bus: it.address.bus, devfn: it.address.devfn }).collect::<Vec<_>>()
    });
    members.filter(|members| !members.is_empty()).collect()
}

/// The groups of a capture, sorted.
pub(crate) fn groups(capture: &Capture, mode: Mode) -> Vec<Vec<Name>> {
    let mut machine = Machine::new(capture);
    let topology =
        machine.topology(mode).unwrap_or_else(|error| panic!("{}: {error}", capture.name));
    groups_of(&topology, mode == Mode::AsLinux)
}

/// The groups with more than one member, as text.
pub(crate) fn several(capture: &Capture, mode: Mode) -> Vec<String> {
    let several = groups(capture, mode).into_iter().filter(|group| group.len() > 1);
    several.map(|group| group.iter().map(Name::to_string).collect::<Vec<_>>().join(" ")).collect()
}
