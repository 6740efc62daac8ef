//! Tables of firmware and configuration space of the same machine: who is behind the unit is who a real
//! kernel gave a group.

use std::collections::BTreeSet;

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::{SourceId, UnitId},
    topology::{Firmware, Function, IdAlias, Mode, Node, Topology},
    unit::acpi::{Dmar, Ivrs},
};
use pviommu_testbed::pci::{Capture, convert};

use crate::kit::captures;

macro_rules! table {
    ($name:literal) => {
        include_bytes!(concat!("../../../hypervisor/tests/acpi/tables/", $name))
    };
}

/// Topologies of qemu.json.gz, and the DMAR tables of these machines.
const INTEL: [(&str, &[u8]); 9] = [
    ("dmi-to-pci", table!("dmi-to-pci-intremap-on.dmar.bin")),
    ("many", table!("many-intremap-on.dmar.bin")),
    ("pcie-pci-bridge", table!("pcie-pci-bridge-intremap-on.dmar.bin")),
    ("pxb", table!("pxb-intremap-on.dmar.bin")),
    ("rciep", table!("rciep-intremap-on.dmar.bin")),
    ("rootports", table!("rootports-intremap-on.dmar.bin")),
    ("rootports", table!("rootports-intremap-off.dmar.bin")),
    ("rootports-multifunction", table!("rootports-multifunction-intremap-on.dmar.bin")),
    ("sriov-nvme:with-vfs", table!("sriov-nvme-intremap-on.dmar.bin")),
];

const AMD: [&[u8]; 2] =
    [table!("amd-iommu-intremap-on.ivrs.bin"), table!("amd-iommu-intremap-off.ivrs.bin")];

/// A topology, with facts of its functions but for their unit.
fn machine(name: &str) -> (Capture, Vec<Function>) {
    let capture = captures("qemu.json.gz").into_iter().find(|it| it.name == name).unwrap();
    let mut functions = convert::functions(&capture);
    functions.iter_mut().for_each(|function| function.unit = None);
    (capture, functions)
}

/// Those in groups, as the kernel had them.
fn with_group(capture: &Capture) -> BTreeSet<u32> {
    let members = capture.linux_groups.iter().flatten();
    members.map(|name| convert::address(capture, *name).sbdf()).collect()
}

fn find(functions: &[Function], address: PciDevice) -> Option<Function> {
    functions.iter().find(|function| function.address == address).copied()
}

/// Those that `unit_of` says are behind unit 0, which is the only one.
fn behind(functions: &[Function], unit_of: impl Fn(PciDevice) -> Option<UnitId>) -> BTreeSet<u32> {
    let behind = functions.iter().filter(|function| {
        let unit = unit_of(function.address);
        assert!(unit.is_none_or(|unit| unit == UnitId(0)), "there is one unit");
        unit.is_some()
    });
    behind.map(|function| function.address.sbdf()).collect()
}

#[test]
fn who_has_a_group_is_behind_the_unit_of_vtd() {
    for (name, table) in INTEL {
        let (capture, functions) = machine(name);
        let dmar = Dmar::parse(table).unwrap();
        let facts = |address| find(&functions, address);
        let found = behind(&functions, |address| dmar.unit_of(address, &facts).unwrap());
        assert_eq!(found, with_group(&capture), "{name}");
        let ranges = dmar.direct_ranges(functions.iter(), &facts, |_| false, &mut []);
        assert_eq!(ranges, Ok(&[][..]), "{name}");
    }
}

#[test]
fn who_has_a_group_is_behind_the_unit_of_amd() {
    for table in AMD {
        let (capture, functions) = machine("amd-iommu");
        let ivrs = Ivrs::parse(table).unwrap();
        let facts = |address| find(&functions, address);
        let found = behind(&functions, |address| ivrs.unit_of(address, &facts));
        assert_eq!(found, with_group(&capture));
        assert!(found.len() < functions.len(), "the unit itself is behind none");
        assert_eq!(ivrs.direct_ranges(functions.iter(), &mut []), Ok(&[][..]));
    }
}

/// From bytes to groups: functions behind a bridge carry the id that the table says.
#[test]
fn what_the_table_says_of_ids_is_in_the_groups() {
    let (_, mut functions) = machine("amd-iommu");
    let ivrs = Ivrs::parse(AMD[0]).unwrap();
    let known = functions.clone();
    for function in &mut functions {
        function.unit = ivrs.unit_of(function.address, &|address| find(&known, address));
    }
    let address = |device| PciDevice::new(0, 2, device, 0);
    let mut room = [IdAlias { function: address(0), id: SourceId(address(0)) }; 4];
    let aliases = ivrs.aliases(known.iter(), &mut room).unwrap();
    let expected =
        [1, 2].map(|device| IdAlias { function: address(device), id: SourceId(address(0)) });
    assert_eq!(aliases, expected);

    let mut nodes: Vec<Node> = functions.into_iter().map(Node::new).collect();
    let count = nodes.len();
    let firmware = Firmware { aliases, direct: &[], amd_ivrs: true };
    let topology = Topology::build(&mut nodes, count, firmware, Mode::Safe).unwrap();
    let mut ids = BTreeSet::new();
    topology.ids_of(address(1), &mut |id| {
        ids.insert(id.0.sbdf());
    });
    assert!(ids.contains(&address(0).sbdf()) && ids.contains(&address(1).sbdf()));
    let group = topology.group_of(address(1)).unwrap();
    assert!(group.members().any(|member| member.address == address(2)));
}
