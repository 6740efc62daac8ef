//! Tables of machines.

use pviommu_hypervisor::{
    platform::{Access, UnitId},
    unit::acpi::{
        DeviceSettings, Dmar, DmarFlags, Entry, IvhdFlags, IvhdType, Ivrs, ScopeKind, Structure,
        Variety,
    },
};

use crate::kit::{Machine, function, vacant};

pub(crate) const DMAR: [&[u8]; 9] = [
    include_bytes!("tables/dmi-to-pci-intremap-on.dmar.bin"),
    include_bytes!("tables/many-intremap-on.dmar.bin"),
    include_bytes!("tables/pcie-pci-bridge-intremap-on.dmar.bin"),
    include_bytes!("tables/pxb-intremap-on.dmar.bin"),
    include_bytes!("tables/rciep-intremap-on.dmar.bin"),
    include_bytes!("tables/rootports-intremap-off.dmar.bin"),
    include_bytes!("tables/rootports-intremap-on.dmar.bin"),
    include_bytes!("tables/rootports-multifunction-intremap-on.dmar.bin"),
    include_bytes!("tables/sriov-nvme-intremap-on.dmar.bin"),
];

/// Of real machines.
pub(crate) const REAL: [&[u8]; 3] = [
    include_bytes!("tables/nuc5i5ry.dmar.bin"),
    include_bytes!("tables/two-sockets.dmar.bin"),
    include_bytes!("tables/amd-table.ivrs.bin"),
];

pub(crate) const IVRS: [&[u8]; 2] = [
    include_bytes!("tables/amd-iommu-intremap-off.ivrs.bin"),
    include_bytes!("tables/amd-iommu-intremap-on.ivrs.bin"),
];

#[test]
fn all_of_emulated_machines_are_without_mistakes() {
    for table in DMAR {
        let dmar = Dmar::parse(table).unwrap();
        assert_eq!(dmar.host_address_width(), 39);
        let [(id, unit)] = dmar.units().collect::<Vec<_>>()[..] else { unreachable!() };
        assert_eq!((id, unit.registers, unit.registers_size), (UnitId(0), 0xfed9_0000, 4096));
        assert!(!unit.include_pci_all);
        assert_eq!(dmar.structures().count(), 1);
    }
    for table in IVRS {
        let ivrs = Ivrs::parse(table).unwrap();
        assert_eq!(ivrs.info().physical_address_bits(), 40);
        assert_eq!(ivrs.units().count(), 1);
        assert_eq!(ivrs.blocks().count(), 1);
    }
}

#[test]
fn root_ports_lead_to_all_that_is_below_them() {
    let dmar = Dmar::parse(DMAR[6]).unwrap();
    let (_, unit) = dmar.units().next().unwrap();
    let scopes: Vec<_> = unit.scopes().collect();
    let [ioapic, rest @ ..] = &scopes[..] else { unreachable!() };
    assert_eq!((ioapic.kind, ioapic.enumeration_id), (ScopeKind::Ioapic, 0));
    assert_eq!((ioapic.bus, ioapic.path), (0xff, &[[0, 0]][..]));
    let rest: Vec<_> = rest.iter().map(|it| (it.kind, it.bus, it.path[0])).collect();
    let (one, all) = (ScopeKind::Endpoint, ScopeKind::SubHierarchy);
    assert_eq!(
        rest,
        [
            (one, 0, [0, 0]),
            (all, 0, [1, 0]),
            (all, 0, [2, 0]),
            (all, 0, [3, 0]),
            (all, 0, [4, 0]),
            (one, 0, [0x1f, 0]),
            (one, 0, [0x1f, 2]),
            (one, 0, [0x1f, 3]),
        ]
    );
}

#[test]
fn whether_interrupts_are_remapped_is_said() {
    let dmar = |table| Dmar::parse(table).unwrap().flags();
    assert_eq!((dmar(DMAR[5]), dmar(DMAR[6])), (DmarFlags::empty(), DmarFlags::INTR_REMAP));
    let special = |table| {
        let (_, unit) = Ivrs::parse(table).unwrap().units().next().unwrap();
        unit.entries().filter(|it| matches!(it, Entry::Special { .. })).collect::<Vec<_>>()
    };
    assert_eq!(special(IVRS[0]), []);
    let settings = DeviceSettings { data: 0, extended: 0 };
    let ioapic = Entry::Special { variety: Variety::Ioapic, handle: 0, id: 0xa0, settings };
    assert_eq!(special(IVRS[1]), [ioapic]);
}

#[test]
fn a_bridge_to_a_conventional_bus_gives_its_id_to_all_below_it() {
    let ivrs = Ivrs::parse(IVRS[1]).unwrap();
    let (_, unit) = ivrs.units().next().unwrap();
    assert_eq!((unit.kind, unit.function), (IvhdType::Basic, function(0, 1, 0)));
    let flags = IvhdFlags::TUNNEL | IvhdFlags::REMOTE_IOTLB;
    let others = IvhdFlags::PREFETCH | IvhdFlags::PAGE_REQUESTS;
    assert_eq!((unit.flags, unit.capability), (flags | others, 0x40));
    assert_eq!((unit.registers, unit.features), (0xfed8_0000, 0x44));
    let settings = DeviceSettings { data: 0, extended: 0 };
    let alias = Entry::Ids { first: 0x200, last: 0x2ff, carried: Some(0x200), settings };
    assert_eq!(unit.entries().nth(4), Some(alias));
}

#[test]
fn a_unit_of_its_own_has_graphics_of_a_nuc() {
    let dmar = Dmar::parse(REAL[0]).unwrap();
    assert_eq!(dmar.flags(), DmarFlags::INTR_REMAP | DmarFlags::X2APIC_OPT_OUT);
    let [graphics, usb, old_usb, disk] = [2, 0x14, 0x1d, 0x1f].map(|device| function(0, device, 0));
    let machine =
        [graphics, usb, old_usb, disk].into_iter().fold(Machine::default(), Machine::plain);
    let facts = |address| machine.find(address);
    let unit = |function| dmar.unit_of(function, &facts).unwrap().map(|unit| unit.0);
    assert_eq!([graphics, usb, disk].map(unit), [Some(0), Some(1), Some(1)]);
    let mut room = [vacant(); 4];
    let ranges = dmar.direct_ranges(machine.0.iter(), &facts, |_| true, &mut room).unwrap();
    let ranges: Vec<_> = ranges.iter().map(|it| (it.bytes.first, it.bytes.last)).collect();
    let (usb, graphics) = ((0xa2ef_2000, 0xa2f0_2fff), (0xa380_0000, 0xa7ff_ffff));
    assert_eq!(ranges, [usb, usb, graphics]);
    let name = dmar.structures().find_map(|it| match it {
        Structure::Andd(name) => Some((name.device_number, name.name)),
        _ => None,
    });
    assert_eq!(name, Some((2, &b"\\_SB.PCI0.SDHC"[..])));
}

#[test]
fn many_units_of_two_sockets_have_no_device() {
    let dmar = Dmar::parse(REAL[1]).unwrap();
    assert_eq!((dmar.units().count(), dmar.structures().count()), (10, 10 + 2 + 1 + 10));
    let machine = Machine::default().bridge(function(0x64, 2, 0), 0x65, 0x66);
    let facts = |address| machine.find(address);
    let unit = |function| dmar.unit_of(function, &facts).unwrap().map(|unit| unit.0);
    assert_eq!(unit(function(0x80, 1, 3)), Some(0));
    assert_eq!(unit(function(0x4a, 4, 0)), Some(7));
    assert_eq!(unit(function(0x66, 0, 0)), Some(8), "below a root port");
    assert_eq!(unit(function(0x80, 2, 0)), Some(9), "as all others");
    // Each affinity is that of a unit.
    let near = dmar.structures().filter_map(|it| match it {
        Structure::Rhsa(near) => Some(near.registers),
        _ => None,
    });
    let registers: Vec<_> = dmar.units().map(|(_, unit)| unit.registers).collect();
    assert!(near.into_iter().all(|near| registers.contains(&near)));
}

#[test]
fn of_three_descriptions_of_one_unit_the_last_counts() {
    let ivrs = Ivrs::parse(REAL[2]).unwrap();
    assert_eq!(ivrs.blocks().count(), 5);
    let [(id, unit)] = ivrs.units().collect::<Vec<_>>()[..] else { unreachable!() };
    assert_eq!((id, unit.kind, unit.function), (UnitId(0), IvhdType::Named, function(0, 0, 2)));
    assert_eq!(unit.extended_features, Some([0x2465_77ef_a225_4afa, 0x10]));
    assert_eq!(unit.entries().filter(|it| matches!(it, Entry::Named { .. })).count(), 6);
    assert_eq!(unit.settings_of(0xa0).map(|it| it.data), Some(0xd7), "of its I/O APIC");
    let machine = Machine::default().plain(function(0, 0x0c, 0)).plain(function(0xc4, 0, 7));
    let mut room = [vacant(); 2];
    let ranges = ivrs.direct_ranges(machine.0.iter(), &mut room).unwrap();
    let both = Access::READ | Access::WRITE;
    let found: Vec<_> = ranges.iter().map(|it| (it.function, it.bytes.first, it.access)).collect();
    let [mapped, excluded] = [function(0, 0x0c, 0), function(0xc4, 0, 7)];
    assert_eq!(found, [(excluded, 0x7600_0000, both), (mapped, 0x7d90_0000, both)]);
    assert_eq!(ivrs.unit_of(excluded, &|it| machine.find(it)), Some(UnitId(0)));
}
