//! Each structure of a DMAR table, byte by byte from chapter 8.

use pviommu_hypervisor::{
    platform::UnitId,
    unit::acpi::{Dmar, DmarFlags, Rhsa, ScopeKind, Structure},
};

use crate::kit::{dmar, drhd, rmrr, scope, structure, table};

#[test]
fn width_and_flags_are_those_of_the_table() {
    let with = |width: u8, flags: u8| {
        let table = table(b"DMAR", [width, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]);
        let dmar = Dmar::parse(&table).unwrap();
        (dmar.host_address_width(), dmar.flags())
    };
    assert_eq!(with(38, 0), (39, DmarFlags::empty()));
    assert_eq!(with(63, 0), (64, DmarFlags::empty()));
    assert_eq!(with(0x2f, 1), (48, DmarFlags::INTR_REMAP));
    assert_eq!(with(0x2f, 2), (48, DmarFlags::X2APIC_OPT_OUT));
    assert_eq!(with(0x2f, 4), (48, DmarFlags::DMA_CTRL_PLATFORM_OPT_IN));
    assert_eq!(with(0x2f, 0xff), (48, DmarFlags::all()), "reserved bits mean nothing");
}

#[test]
fn a_unit_has_registers_segment_and_scopes() {
    let bytes = b"\x00\x00\x22\x00\x01\x02\x34\x12\x00\x00\xd9\xfe\x01\x00\x00\x00\
        \x01\x08\x00\x00\x00\x00\x1f\x03\
        \x02\x0a\x00\x00\x00\x05\x01\x00\x02\x07";
    let table = dmar(&[bytes.to_vec()]);
    let dmar = Dmar::parse(&table).unwrap();
    let [(id, unit)] = dmar.units().collect::<Vec<_>>()[..] else { unreachable!() };
    assert_eq!((id, unit.segment, unit.include_pci_all), (UnitId(0), 0x1234, true));
    assert_eq!((unit.registers, unit.registers_size, unit.offset), (0x1_fed9_0000, 0x4000, 48));
    let [one, two] = unit.scopes().collect::<Vec<_>>()[..] else { unreachable!() };
    assert_eq!((one.kind, one.bus, one.path), (ScopeKind::Endpoint, 0, &[[0x1f, 3]][..]));
    let path: &[[u8; 2]] = &[[1, 0], [2, 7]];
    assert_eq!((two.kind, two.bus, two.path), (ScopeKind::SubHierarchy, 5, path));
    assert_eq!((one.offset, two.offset), (64, 72));
}

#[test]
fn a_scope_can_name_what_is_no_function() {
    let scopes = [3, 4, 5, 6, 0].map(|kind| scope(kind, 9, 0xff, &[[0, 0]]));
    let table = dmar(&[drhd(0, 0, 0x1000, &scopes)]);
    let dmar = Dmar::parse(&table).unwrap();
    let (_, unit) = dmar.units().next().unwrap();
    let found: Vec<_> = unit.scopes().map(|it| (it.kind, it.enumeration_id)).collect();
    let (ioapic, hpet) = (ScopeKind::Ioapic, ScopeKind::Hpet);
    let others = [ScopeKind::Namespace, ScopeKind::Other(6), ScopeKind::Other(0)];
    assert_eq!(found, [ioapic, hpet, others[0], others[1], others[2]].map(|it| (it, 9)));
}

#[test]
fn units_are_numbered_as_they_come() {
    let memory = rmrr(0, 0, 0xfff, &[]);
    let units = [0x1000, 0x3000, 0x2000].map(|registers| drhd(0, 0, registers, &[]));
    let table = dmar(&[memory, units[0].clone(), units[1].clone(), units[2].clone()]);
    let dmar = Dmar::parse(&table).unwrap();
    let found: Vec<_> = dmar.units().map(|(id, unit)| (id.0, unit.registers)).collect();
    assert_eq!(found, [(0, 0x1000), (1, 0x3000), (2, 0x2000)]);
}

#[test]
fn reserved_memory_has_a_first_and_a_last_byte() {
    let bytes = b"\x01\x00\x20\x00\x00\x00\x02\x00\x00\x00\x00\x7b\x00\x00\x00\x00\
        \xff\xff\x7f\x7f\x00\x00\x00\x00\x01\x08\x00\x00\x00\x00\x02\x00";
    let table = dmar(&[bytes.to_vec(), rmrr(0, 0, u64::MAX, &[])]);
    let dmar = Dmar::parse(&table).unwrap();
    let [memory, all] = dmar.reserved_memory().collect::<Vec<_>>()[..] else { unreachable!() };
    assert_eq!((memory.segment, memory.base, memory.limit), (2, 0x7b00_0000, 0x7f7f_ffff));
    assert_eq!(memory.scopes().map(|it| it.path[0]).collect::<Vec<_>>(), [[2, 0]]);
    assert_eq!((all.base, all.limit), (0, u64::MAX));
}

#[test]
fn the_other_structures_are_told_too() {
    let table = dmar(&[
        structure(2, &[b"\x01\x00\x03\x00"]),
        structure(2, &[b"\x00\x00\x03\x00", &scope(2, 0, 0, &[[1, 0]])]),
        structure(3, &[b"\0\0\0\0\x00\x00\xd9\xfe\0\0\0\0\x05\0\0\0"]),
        structure(4, &[b"\0\0\0\x07\\_SB.I2C0\0"]),
        structure(5, &[b"\x01\x00\x00\x00", &scope(1, 0, 0, &[[2, 0]])]),
        structure(6, &[b"\x00\x00\x00\x00"]),
        structure(0xffff, &[]),
    ]);
    let dmar = Dmar::parse(&table).unwrap();
    let found: Vec<_> = dmar.structures().collect();
    let [all, some, Structure::Rhsa(near), Structure::Andd(name), cached, other, last] = found[..]
    else {
        unreachable!("{found:?}")
    };
    let (Structure::Atsr(all), Structure::Atsr(some)) = (all, some) else { unreachable!() };
    assert_eq!((all.segment, all.all_ports, all.scopes().count()), (3, true, 0));
    assert_eq!((some.segment, some.all_ports, some.scopes().count()), (3, false, 1));
    assert_eq!(near, Rhsa { registers: 0xfed9_0000, proximity_domain: 5 });
    assert_eq!((name.device_number, name.name), (7, &b"\\_SB.I2C0"[..]));
    let Structure::Satc(cached) = cached else { unreachable!() };
    assert_eq!((cached.segment, cached.atc_required, cached.scopes().count()), (0, true, 1));
    assert_eq!(other, Structure::Other { kind: 6, bytes: b"\x06\x00\x08\x00\0\0\0\0" });
    assert_eq!(last, Structure::Other { kind: 0xffff, bytes: b"\xff\xff\x04\x00" });
}
