//! Tables of firmware from bytes that nobody vouches for: what is told of them must hold together.

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::{Access, SourceId},
    topology::{BusNumbers, DirectRange, Function, IdAlias, Traits, Window},
    unit::acpi::{Dmar, Ivrs, MAX_UNITS, table_length},
};

/// Bytes from the begin of a table to its length, and to its checksum.
const LENGTH: usize = 4;
const CHECKSUM: usize = 9;

/// Reads `data` as a table of firmware, as it is and with the length and the checksum that it should have.
///
/// # Panics
/// If what is told of a table contradicts itself, or an error is not within the table.
pub fn firmware_table(data: &[u8]) {
    ask(data);
    let mut table = data.to_vec();
    let Ok(length) = u32::try_from(table.len()) else { return };
    if let Some(place) = table.get_mut(LENGTH..LENGTH + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    if let Some(place) = table.get_mut(CHECKSUM) {
        *place = 0;
    }
    let checksum = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    if let Some(place) = table.get_mut(CHECKSUM) {
        *place = checksum;
    }
    ask(&table);
}

/// Root ports and bridges, what is below them, and bridges that lead nowhere or in a circle.
fn machine() -> Vec<Function> {
    let at = |bus, device, function| Function::new(PciDevice::new(0, bus, device, function));
    let bridge = |function: Function, secondary, subordinate| {
        let buses = Some(BusNumbers { secondary, subordinate });
        Function { buses, ..function }
    };
    let physical = at(2, 0, 0);
    vec![
        at(0, 0, 0),
        bridge(at(0, 1, 0), 1, 3),
        bridge(at(0, 2, 0), 0, 0),
        bridge(at(0, 3, 0), 0xff, 0),
        bridge(at(1, 0, 0), 2, 3),
        bridge(at(1, 1, 0), 1, 1),
        physical,
        Function { traits: Traits::VIRTUAL, physical: Some(physical.address), ..at(3, 0, 1) },
        Function { requests_as: Some(physical.address), ..at(9, 0, 0) },
    ]
}

fn ask(data: &[u8]) {
    let functions = machine();
    let facts = |address: PciDevice| functions.iter().find(|it| it.address == address).copied();
    if let Ok(length) = table_length(data) {
        assert!(length >= 36, "a table has a header");
    }
    match Dmar::parse(data) {
        Ok(dmar) => {
            let units = dmar.units().count();
            assert!(units <= MAX_UNITS, "units are bounded");
            for function in &functions {
                match dmar.unit_of(function.address, &facts) {
                    Ok(unit) => assert!(unit.is_none_or(|it| usize::from(it.0) < units)),
                    Err(error) => assert!(error.offset < data.len(), "{error}"),
                }
            }
            let mut room = vec![vacant(); functions.len() * dmar.reserved_memory().count()];
            let ranges = dmar.direct_ranges(functions.iter(), &facts, |_| false, &mut room);
            in_order(ranges.expect("there is room for each function and memory"));
        }
        Err(error) => assert!(error.offset <= data.len(), "{error}"),
    }
    match Ivrs::parse(data) {
        Ok(ivrs) => {
            let units = ivrs.units().count();
            assert!(units <= MAX_UNITS, "units are bounded");
            for function in &functions {
                let unit = ivrs.unit_of(function.address, &facts);
                assert!(unit.is_none_or(|it| usize::from(it.0) < units), "it is one of these");
            }
            for (_, unit) in ivrs.units() {
                let _ = unit.settings_of(0);
                assert_eq!(ivrs.unit_of(unit.function, &facts), None, "no unit is behind one");
            }
            let mut room = vec![vacant(); functions.len() * ivrs.memory().count()];
            let ranges = ivrs.direct_ranges(functions.iter(), &mut room);
            in_order(ranges.expect("there is room for each function and memory"));
            let none = PciDevice::new(0, 0, 0, 0);
            let mut room = [IdAlias { function: none, id: SourceId(none) }; 16];
            let aliases = ivrs.aliases(functions.iter(), &mut room);
            let aliases = aliases.expect("there is one at most for each function");
            assert!(aliases.is_sorted_by_key(|alias| alias.id.0.sbdf()), "as a topology wants it");
            assert!(aliases.iter().all(|alias| alias.function != alias.id.0), "not their own");
        }
        Err(error) => assert!(error.offset <= data.len(), "{error}"),
    }
}

/// Checks what a topology takes for granted of direct ranges.
fn in_order(ranges: &[DirectRange]) {
    assert!(ranges.is_sorted_by_key(|range| range.bytes.first), "as a topology wants it");
    for DirectRange { bytes: Window { first, last }, access, .. } in ranges {
        assert!(first % 4096 == 0 && last % 4096 == 4095 && first < last, "of pages");
        assert!(!access.is_empty(), "something is done there");
    }
}

fn vacant() -> DirectRange {
    let function = PciDevice::new(0, 0, 0, 0);
    let bytes = Window { first: 0, last: 0 };
    DirectRange { function, bytes, relaxable: false, access: Access::empty() }
}
