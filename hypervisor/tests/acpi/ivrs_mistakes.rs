//! Each mistake that an IVRS table can have, with the byte that is wrong.

use pviommu_hypervisor::unit::acpi::{Ivrs, MAX_UNITS};

use crate::kit::{ivhd, ivmd, ivrs, told};

fn wrong(blocks: &[Vec<u8>]) -> String {
    let table = ivrs(blocks);
    told(Ivrs::parse(&table).unwrap_err())
}

fn right(blocks: &[Vec<u8>]) {
    assert_eq!(Ivrs::parse(&ivrs(blocks)).err(), None);
}

/// What is wrong with the entries of a unit, of which the first is at byte 0x58.
fn wrong_entries(entries: &[&[u8]]) -> String {
    wrong(&[ivhd(0x40, 0, 2, 0x4000, entries)])
}

#[test]
fn a_block_ends_where_it_has_to() {
    let least = [(0x10, 24), (0x11, 40), (0x40, 40), (0x20, 32), (0x21, 32), (0x22, 32), (0x55, 4)];
    for (kind, least) in least {
        for length in (0..least).chain([least + 1]) {
            let mut block = vec![0; usize::from(least)];
            block[0] = kind;
            block[2..4].copy_from_slice(&u16::to_le_bytes(length));
            let expected = format!(
                "at byte 0x32: a structure of type {kind:#x} cannot be {length} bytes long"
            );
            assert_eq!(wrong(&[block]), expected);
        }
    }
    for count in 1..4 {
        assert!(wrong(&[vec![0x55, 0, 4, 0], vec![0; count]]).contains("bytes are needed"));
    }
}

#[test]
fn a_unit_without_registers_is_absent() {
    for registers in [0, u64::MAX] {
        let expected =
            format!("at byte 0x38: a unit with its registers at {registers:#x} is absent");
        assert_eq!(wrong(&[ivhd(0x10, 0, 2, registers, &[])]), expected);
    }
    let odd = wrong(&[ivhd(0x11, 0, 2, 0xfd30_1000, &[])]);
    assert_eq!(odd, "at byte 0x38: registers of a unit cannot begin at 0xfd301000");
}

#[test]
fn an_entry_ends_within_its_unit() {
    for entry in [
        &[2, 0, 0][..],
        &[0x42, 0, 0, 0, 0, 0, 0],
        &[0x80; 15],
        &[0xc0; 31],
        b"\xf0\x98\x00\x00AMDI0020\0\0\0\0\0\0\0\0\x00",
        b"\xf0\x98\x00\x00AMDI0020\0\0\0\0\0\0\0\0\x01\x08\0\0\0\0\0\0\0",
    ] {
        let told = wrong_entries(&[entry]);
        assert!(told.contains("needed, and there are less"), "{told}");
    }
    for kind in [0xf1, 0xff] {
        let told = wrong_entries(&[&[0; 4], &[kind; 40]]);
        let expected =
            format!("at byte 0x5c: how long an entry of type {kind:#04x} is, is not known");
        assert_eq!(told, expected);
    }
}

#[test]
fn a_range_begins_and_ends() {
    let open = "at byte 0x58: the range of device ids from 0x0008 on is not ended next";
    for start in [&[3, 8, 0, 0][..], &[0x43, 8, 0, 0, 0, 0, 1, 0], &[0x47, 8, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(wrong_entries(&[start]), open);
        assert_eq!(wrong_entries(&[start, &[2, 9, 0, 0], &[4, 9, 0, 0]]), open);
        assert_eq!(wrong_entries(&[start, &[3, 9, 0, 0], &[4, 9, 0, 0]]), open);
        assert!(wrong_entries(&[start, &[0, 0]]).contains("bytes are needed"));
        let none = wrong_entries(&[start, &[4, 7, 0, 0]]);
        assert!(none.ends_with("the device ids from 0x0008 to 0x0007 are none"), "{none}");
    }
    let end = wrong_entries(&[&[4, 7, 0, 0]]);
    assert_eq!(end, "at byte 0x58: the range of device ids up to 0x0007 was not begun");
    right(&[ivhd(0x40, 0, 2, 0x4000, &[&[3, 8, 0, 0], &[4, 8, 0, 0]])]);
}

#[test]
fn blocks_are_about_one_unit_or_about_two() {
    let block = |kind, id, registers| ivhd(kind, 0, id, registers, &[]);
    right(&[block(0x10, 2, 0x4000), block(0x11, 2, 0x4000), block(0x10, 0x102, 0x8000)]);
    let twice = wrong(&[block(0x10, 2, 0x4000), block(0x10, 2, 0x4000)]);
    let expected = "at byte 0x48: a second structure of type 0x10 describes the unit 0000:00:00.2";
    assert_eq!(twice, expected);
    let moved = wrong(&[block(0x10, 2, 0x4000), block(0x11, 2, 0x8000)]);
    let expected = "at byte 0x48: the unit 0000:00:00.2 has other registers elsewhere in the table";
    assert_eq!(moved, expected);
    let shared = wrong(&[block(0x10, 2, 0x4000), block(0x10, 3, 0x4000)]);
    assert!(shared.starts_with("at byte 0x48: another unit has registers"), "{shared}");
}

#[test]
fn no_id_has_two_units() {
    let range = &[3, 8, 0, 0, 4, 0x10, 0, 0][..];
    let one = ivhd(0x11, 0, 2, 0x4000, &[range]);
    let two = |kind, segment, entry: &[u8]| ivhd(kind, segment, 0x102, 0x8000, &[entry]);
    let expected = "at byte 0x60: a second unit has 0000:00:02.0, or what it leads to";
    assert_eq!(wrong(&[one.clone(), two(0x11, 0, &[2, 0x10, 0, 0])]), expected);
    let expected = "at byte 0x60: a second unit has 0000:00:01.0, or what it leads to";
    assert_eq!(wrong(&[one.clone(), two(0x11, 0, &[3, 1, 0, 0, 4, 8, 0, 0])]), expected);
    right(&[one.clone(), two(0x11, 0, &[2, 0x11, 0, 0])]);
    right(&[one.clone(), two(0x11, 1, &[2, 0x10, 0, 0])]);
    right(&[one.clone(), two(0x11, 0, &[1, 0, 0, 0])]);
    let lower = two(0x10, 0, &[2, 0x10, 0, 0]);
    right(&[one.clone(), lower, two(0x11, 0, &[2, 0x20, 0, 0])]);
    let other = two(0x11, 0, &[2, 0x20, 0, 0]);
    right(&[two(0x10, 0, &[2, 0x10, 0, 0]), other, one]);
    let all = |id, registers| ivhd(0x10, 7, id, registers, &[&[1, 0, 0, 0]]);
    let expected = "at byte 0x4c: a second unit has all that no other has of segment 0007";
    assert_eq!(wrong(&[all(2, 0x4000), all(3, 0x8000)]), expected);
}

#[test]
fn memory_is_made_of_pages() {
    for (start, length) in [
        (0x1000, 0),
        (0x1000, 0x800),
        (0x1800, 0x1000),
        (0xffff_ffff_ffff_f000, 0x2000),
        (0x1000, u64::MAX),
    ] {
        let told = wrong(&[ivmd(0x20, 7, [0, 0], start, length)]);
        let expected =
            format!("at byte 0x48: reserved memory cannot be {length:#x} bytes long here");
        assert_eq!(told, expected);
    }
    let ids = wrong(&[ivmd(0x22, 7, [9, 8], 0x1000, 0x1000)]);
    assert_eq!(ids, "at byte 0x34: the device ids from 0x0009 to 0x0008 are none");
    right(&[ivmd(0x21, 7, [9, 8], 0x1000, 0x1000)]);
}

#[test]
fn units_are_counted() {
    let of_type = |kind, count: u16| -> Vec<Vec<u8>> {
        (1..=count).map(|it| ivhd(kind, 0, it, u64::from(it) << 14, &[])).collect()
    };
    let units = |count| of_type(0x10, count);
    let most = u16::try_from(MAX_UNITS).unwrap();
    right(&[units(most), of_type(0x11, most)].concat());
    let expected = format!("there are more than {MAX_UNITS} units");
    assert!(wrong(&units(most + 1)).ends_with(&expected));
    assert!(wrong(&units(most * 3 + 1)).ends_with(&expected));
}
