//! The header that both tables have.

use pviommu_hypervisor::unit::acpi::{Dmar, Ivrs, MAX_TABLE, Problem, table_length};

use crate::kit::{dmar, ivrs, seal, told};

/// What is wrong with a table, whichever of both it is.
fn problem(bytes: &[u8]) -> Option<String> {
    let error = match bytes.first() {
        Some(b'I') => Ivrs::parse(bytes).err(),
        _ => Dmar::parse(bytes).err(),
    };
    error.map(told)
}

fn tables() -> [Vec<u8>; 2] {
    [dmar(&[]), ivrs(&[])]
}

#[test]
fn eight_bytes_say_how_long_a_table_is() {
    assert_eq!(table_length(&dmar(&[])[..8]), Ok(48));
    assert_eq!(table_length(b"DMAR\x24\0\0").unwrap_err().problem, Problem::Truncated(8));
    for wrong in [0u32, 35, 0x1_0001, u32::MAX] {
        let start = [*b"DMAR", wrong.to_le_bytes()].concat();
        let error = table_length(&start).unwrap_err();
        assert_eq!((error.offset, error.problem), (4, Problem::TableLength(wrong)));
    }
    let most = [*b"DMAR", 0x1_0000u32.to_le_bytes()].concat();
    assert_eq!(table_length(&most), Ok(MAX_TABLE));
}

#[test]
fn a_table_may_have_something_behind_it() {
    for mut table in tables() {
        assert_eq!(problem(&table), None);
        table.extend([0xff; 100]);
        assert_eq!(problem(&table), None);
    }
}

#[test]
fn a_table_that_is_cut_off_is_refused() {
    for table in tables() {
        for count in 0..table.len() {
            let told = problem(&table[..count]).unwrap();
            assert!(told.contains("bytes are needed"), "{count}: {told}");
        }
        // Its own length may end before what it has to have.
        for length in 36..48u8 {
            let mut table = table.clone();
            table[4] = length;
            table.truncate(length.into());
            seal(&mut table);
            assert!(problem(&table).unwrap().contains("bytes are needed"), "{length}");
        }
    }
}

#[test]
fn signature_checksum_and_revision_are_checked() {
    for table in tables() {
        let changed = |at: usize, to: u8, sealed: bool| {
            let mut table = table.clone();
            table[at] = to;
            if sealed {
                seal(&mut table);
            }
            problem(&table).unwrap_or_default()
        };
        let signature = changed(3, b'X', true);
        assert!(signature.starts_with("at byte 0x0: the signature is "), "{signature}");
        let sum = changed(20, table[20].wrapping_add(3), false);
        assert_eq!(sum, "at byte 0x9: the bytes add up to 0x03 instead of 0");
        assert_eq!(changed(8, 0, true), "at byte 0x8: there is no revision 0");
        assert_eq!(changed(8, 2, true), "", "later revisions have what earlier ones have");
    }
}
