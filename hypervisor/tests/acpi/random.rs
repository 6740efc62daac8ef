//! Bytes that are no tables, and tables with a few bytes changed: no panic, and an end.

use proptest::prelude::*;
use pviommu_hypervisor::{
    abi::PciDevice,
    platform::SourceId,
    topology::IdAlias,
    unit::acpi::{Dmar, Ivrs, table_length},
};

use crate::{
    kit::{self, Machine, function},
    recorded::{DMAR, IVRS, REAL},
};

/// Bridges that lead in circles, and what there may be below.
fn machine() -> Machine {
    let mut machine = Machine::default().plain(function(0, 0, 0)).plain(function(2, 1, 0));
    for device in 0..8 {
        machine = machine.bridge(function(0, device, 1), 1, 3).bridge(function(1, device, 0), 0, 9);
    }
    let virtual_function = function(2, 1, 1);
    machine
        .virtual_function(virtual_function, virtual_function)
        .sends_as(function(2, 2, 0), function(2, 2, 0))
}

/// Asks a table for everything, if it is one.
fn ask(bytes: &[u8]) {
    let _ = table_length(bytes);
    let machine = machine();
    let facts = |it: PciDevice| machine.find(it);
    match Dmar::parse(bytes) {
        Ok(dmar) => {
            dmar.structures().for_each(drop);
            for function in &machine.0 {
                let _ = dmar.unit_of(function.address, &facts);
            }
            let mut room = [kit::vacant(); 40];
            let _ = dmar.direct_ranges(machine.0.iter(), &facts, |_| true, &mut room);
        }
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error}");
            drop(error.to_string());
        }
    }
    match Ivrs::parse(bytes) {
        Ok(ivrs) => {
            ivrs.blocks().for_each(drop);
            for function in &machine.0 {
                let _ = ivrs.unit_of(function.address, &facts);
            }
            let mut room = [kit::vacant(); 40];
            let _ = ivrs.direct_ranges(machine.0.iter(), &mut room);
            let vacant = IdAlias { function: function(0, 0, 0), id: SourceId(function(0, 0, 0)) };
            let _ = ivrs.aliases(machine.0.iter(), &mut [vacant; 40]);
            for (_, unit) in ivrs.units() {
                unit.entries().for_each(drop);
                let _ = unit.settings_of(0x10);
            }
        }
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error}");
            drop(error.to_string());
        }
    }
}

/// Tables to change.
fn tables() -> Vec<Vec<u8>> {
    let scopes = [
        kit::scope(1, 0, 0, &[[0, 0]]),
        kit::scope(2, 0, 0, &[[0, 1]]),
        kit::scope(1, 0, 0, &[[1, 1], [1, 0], [0, 1], [2, 0]]),
        kit::scope(3, 0, 0xff, &[[0, 0]]),
    ];
    let whole = [
        kit::drhd(0, 0, 0xfed9_0000, &scopes),
        kit::drhd(1, 0, 0xfed9_1000, &[]),
        kit::rmrr(0, 0x1000, 0x1fff, &scopes),
        kit::structure(2, &[&[0; 4], &scopes[1]]),
        kit::structure(3, &[&[0; 16]]),
        kit::structure(4, &[b"\0\0\0\x01abc\0"]),
        kit::structure(5, &[&[0; 4], &scopes[0]]),
    ];
    let entries: [&[u8]; 6] = [
        &[1, 0, 0, 0],
        &[3, 0, 0, 0, 4, 0xff, 0, 0],
        &[0x43, 0, 2, 0, 0, 0, 1, 0, 4, 0xff, 2, 0],
        &[0x46, 8, 3, 0, 0, 0, 0, 0x80],
        &[0x48, 0, 0, 0, 0, 0xa0, 0, 1],
        b"\xf0\x98\x00\x40AMDI0020\0\0\0\0\0\0\0\0\x02\x05\\_SB_",
    ];
    let blocks = [
        kit::ivhd(0x10, 0, 2, 0x4000, &entries[..5]),
        kit::ivhd(0x40, 0, 2, 0x4000, &entries),
        kit::ivhd(0x11, 0, 0x902, 0x8000, &[&[2, 0, 9, 0]]),
        kit::ivmd(0x20, 7, [0, 0], 0x1000, 0x1000),
        kit::ivmd(0x22, 7, [0, 0xffff], 0x4000, 0x1000),
    ];
    let mut tables = vec![kit::dmar(&whole), kit::ivrs(&blocks)];
    tables.extend(DMAR.iter().chain(&IVRS).chain(&REAL).map(|it| it.to_vec()));
    tables
}

/// A byte of a table: half of the time one that means something.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        prop::sample::select(&[0, 1, 2, 3, 4, 5, 8, 0x10, 0x40, 0xf0, 0xff][..])
    ]
}

#[test]
fn the_tables_to_change_have_no_mistake() {
    for table in tables() {
        if table.starts_with(b"DMAR") {
            assert_eq!(Dmar::parse(&table).err(), None);
        }
        if table.starts_with(b"IVRS") {
            assert_eq!(Ivrs::parse(&table).err(), None);
        }
        ask(&table);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        ask(&bytes);
    }

    #[test]
    fn any_structures_are_read_to_an_end(
        bytes in prop::collection::vec(byte(), 0..400),
        between in any::<[u8; 12]>(),
    ) {
        for signature in [b"DMAR", b"IVRS"] {
            ask(&kit::table(signature, between, core::slice::from_ref(&bytes)));
        }
    }

    #[test]
    fn a_changed_table_is_a_table_or_an_error(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), byte()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let tables = tables();
        let mut table = which.get(&tables).clone();
        for (at, byte) in changes {
            let at = at.index(table.len());
            table[at] = byte;
        }
        if let Some(cut) = cut {
            table.truncate(48 + cut.index(table.len() - 47));
            let length = u32::try_from(table.len()).unwrap();
            table[4..8].copy_from_slice(&length.to_le_bytes());
        }
        kit::seal(&mut table);
        ask(&table);
    }
}
