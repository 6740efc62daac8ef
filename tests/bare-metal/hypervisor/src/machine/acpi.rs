//! Firmware's tables: from the root to the one that is asked for.
//!
//! Source: ACPI Specification 6.5, sections 5.2.5 (RSDP), 5.2.7 (RSDT) and 5.2.8 (XSDT). What is in a table
//! of units is read by the service ([`pviommu_hypervisor::unit::acpi`]).

use pviommu_hypervisor::unit::acpi::table_length;

use super::memory::firmware;

/// Bytes before the list in RSDT and XSDT.
const HEADER: usize = 36;

/// The table with this signature, all bytes of it; `None` if there is none.
#[must_use]
pub fn table(rsdp: u64, signature: &[u8; 4]) -> Option<&'static [u8]> {
    let root = firmware(rsdp, 36).filter(|root| root.starts_with(b"RSD PTR "))?;
    let word = |at: usize| root.get(at..).and_then(<[u8]>::first_chunk).copied();
    let has_xsdt = root.get(15).is_some_and(|revision| *revision >= 2);
    let wide = if has_xsdt { word(24).map(u64::from_le_bytes) } else { None };
    let (list, entry) = match wide {
        Some(xsdt) if xsdt != 0 => (xsdt, 8),
        _ => (
            u64::from(
                root.get(16..).and_then(<[u8]>::first_chunk).copied().map_or(0, u32::from_le_bytes),
            ),
            4,
        ),
    };
    whole(list)?.get(HEADER..)?.chunks_exact(entry).find_map(|entry| {
        let mut address = [0; 8];
        address.get_mut(..entry.len())?.copy_from_slice(entry);
        whole(u64::from_le_bytes(address)).filter(|table| table.starts_with(signature))
    })
}

fn whole(address: u64) -> Option<&'static [u8]> {
    let length = table_length(firmware(address, 8)?).ok()?;
    firmware(address, length)
}

/// Where configuration space is as memory, of the segment 0: the first entry of MCFG.
#[must_use]
pub fn configuration_window(rsdp: u64) -> Option<u64> {
    let entry = table(rsdp, b"MCFG")?.get(44..)?;
    entry.first_chunk().copied().map(u64::from_le_bytes)
}
