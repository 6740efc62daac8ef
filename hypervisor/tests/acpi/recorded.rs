//! Tables of machines.

use pviommu_hypervisor::{
    platform::UnitId,
    unit::acpi::{
        DeviceSettings, Dmar, DmarFlags, Entry, IvhdFlags, IvhdType, Ivrs, ScopeKind, Variety,
    },
};

use crate::kit::function;

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

pub(crate) const IVRS: [&[u8]; 2] = [
    include_bytes!("tables/amd-iommu-intremap-off.ivrs.bin"),
    include_bytes!("tables/amd-iommu-intremap-on.ivrs.bin"),
];

#[test]
fn all_are_without_mistakes() {
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
