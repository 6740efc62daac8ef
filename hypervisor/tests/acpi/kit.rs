//! Tables put together byte by byte.

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::Access,
    topology::{BusNumbers, DirectRange, Function, Traits, Window},
    unit::acpi::AcpiError,
};

/// Puts bytes one behind the other.
pub(crate) fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A table of these structures, with the 12 bytes between header and structures, of the right length
/// and checksum.
pub(crate) fn table(signature: &[u8; 4], between: [u8; 12], structures: &[Vec<u8>]) -> Vec<u8> {
    let head = b"\x01\x00OEMID OEMTABLE\x01\x00\x00\x00MAKE\x01\x00\x00\x00";
    let mut table = bytes(&[signature, &[0; 4], head, &between, &structures.concat()]);
    assert_eq!(table.len(), 48 + structures.concat().len());
    let length = u32::try_from(table.len()).unwrap();
    table[4..8].copy_from_slice(&length.to_le_bytes());
    seal(&mut table);
    table
}

/// Makes the checksum right.
pub(crate) fn seal(table: &mut [u8]) {
    table[9] = 0;
    table[9] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// A DMAR table: 39 bits, interrupts can be remapped.
pub(crate) fn dmar(structures: &[Vec<u8>]) -> Vec<u8> {
    table(b"DMAR", [38, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], structures)
}

/// An IVRS table: 48 bits.
pub(crate) fn ivrs(structures: &[Vec<u8>]) -> Vec<u8> {
    table(b"IVRS", [0x41, 0x30, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0], structures)
}

/// Where the first structure begins.
pub(crate) const FIRST: usize = 48;

/// A structure of a DMAR table: type, length, the rest.
pub(crate) fn structure(kind: u16, rest: &[&[u8]]) -> Vec<u8> {
    let rest = bytes(rest);
    let length = u16::try_from(rest.len() + 4).unwrap();
    bytes(&[&kind.to_le_bytes(), &length.to_le_bytes(), &rest])
}

/// A device scope: type, enumeration id, bus, path.
pub(crate) fn scope(kind: u8, id: u8, bus: u8, path: &[[u8; 2]]) -> Vec<u8> {
    let length = u8::try_from(6 + 2 * path.len()).unwrap();
    bytes(&[&[kind, length, 0, 0, id, bus], path.as_flattened()])
}

/// A unit of VT-d.
pub(crate) fn drhd(flags: u8, segment: u16, registers: u64, scopes: &[Vec<u8>]) -> Vec<u8> {
    let scopes = scopes.concat();
    structure(0, &[&[flags, 0], &segment.to_le_bytes(), &registers.to_le_bytes(), &scopes])
}

/// Reserved memory of VT-d.
pub(crate) fn rmrr(segment: u16, base: u64, limit: u64, scopes: &[Vec<u8>]) -> Vec<u8> {
    let scopes = scopes.concat();
    let [base, limit] = [base.to_le_bytes(), limit.to_le_bytes()];
    structure(1, &[&[0, 0], &segment.to_le_bytes(), &base, &limit, &scopes])
}

/// A unit of AMD-Vi.
pub(crate) fn ivhd(kind: u8, segment: u16, id: u16, registers: u64, entries: &[&[u8]]) -> Vec<u8> {
    let entries = bytes(entries);
    let features: &[u8] = if kind == 0x10 { &[] } else { &[0xef; 16] };
    let length = u16::try_from(24 + features.len() + entries.len()).unwrap();
    bytes(&[
        &[kind, 0xb0],
        &length.to_le_bytes(),
        &id.to_le_bytes(),
        &[0x40, 0],
        &registers.to_le_bytes(),
        &segment.to_le_bytes(),
        &[0x03, 0x01],
        &[0x6e, 0x8f, 0x04, 0x80],
        features,
        &entries,
    ])
}

/// Reserved memory of AMD-Vi.
pub(crate) fn ivmd(kind: u8, flags: u8, ids: [u16; 2], start: u64, length: u64) -> Vec<u8> {
    let [one, other] = ids.map(u16::to_le_bytes);
    let [start, length] = [start.to_le_bytes(), length.to_le_bytes()];
    bytes(&[&[kind, flags, 32, 0], &one, &other, &[0; 8], &start, &length])
}

/// What is wrong, and at which byte.
pub(crate) fn told(error: AcpiError) -> String {
    assert!(error.to_string().starts_with(&format!("at byte {:#x}: ", error.offset)));
    error.to_string()
}

pub(crate) fn function(bus: u8, device: u8, function: u8) -> PciDevice {
    PciDevice::new(0, bus, device, function)
}

/// Functions of a machine, for those who ask after them.
#[derive(Default)]
pub(crate) struct Machine(pub(crate) Vec<Function>);

impl Machine {
    pub(crate) fn plain(mut self, address: PciDevice) -> Self {
        self.0.push(Function::new(address));
        self
    }

    pub(crate) fn bridge(mut self, address: PciDevice, secondary: u8, subordinate: u8) -> Self {
        let buses = Some(BusNumbers { secondary, subordinate });
        self.0.push(Function { buses, ..Function::new(address) });
        self
    }

    pub(crate) fn virtual_function(mut self, address: PciDevice, physical: PciDevice) -> Self {
        let (traits, physical) = (Traits::VIRTUAL, Some(physical));
        self.0.push(Function { traits, physical, ..Function::new(address) });
        self
    }

    pub(crate) fn sends_as(mut self, address: PciDevice, sender: PciDevice) -> Self {
        self.0.push(Function { requests_as: Some(sender), ..Function::new(address) });
        self
    }

    pub(crate) fn find(&self, address: PciDevice) -> Option<Function> {
        self.0.iter().find(|function| function.address == address).copied()
    }
}

/// Room for direct ranges.
pub(crate) fn vacant() -> DirectRange {
    DirectRange {
        function: PciDevice::new(0, 0, 0, 0),
        bytes: Window { first: 0, last: 0 },
        relaxable: false,
        access: Access::empty(),
    }
}
