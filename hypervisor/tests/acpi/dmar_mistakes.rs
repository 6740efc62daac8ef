//! Each mistake that a DMAR table can have, with the byte that is wrong.

use core::slice;

use pviommu_hypervisor::unit::acpi::{Dmar, MAX_UNITS};

use crate::kit::{FIRST, bytes, dmar, drhd, rmrr, scope, seal, structure, table, told};

fn wrong(structures: &[Vec<u8>]) -> String {
    let table = dmar(structures);
    told(Dmar::parse(&table).unwrap_err())
}

fn right(structures: &[Vec<u8>]) {
    assert_eq!(Dmar::parse(&dmar(structures)).err(), None);
}

#[test]
fn addresses_have_64_bits_at_most() {
    let table = table(b"DMAR", [64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]);
    let error = told(Dmar::parse(&table).unwrap_err());
    assert_eq!(error, "at byte 0x24: addresses cannot have 65 bits");
}

#[test]
fn a_structure_ends_where_it_has_to() {
    let least = [(0, 16), (1, 24), (2, 8), (3, 20), (4, 9), (5, 8), (6, 4), (0xffff, 4)];
    for (kind, least) in least {
        for length in 0..least {
            let mut short = structure(kind, &[&vec![0; usize::from(least) - 4]]);
            short[2..4].copy_from_slice(&u16::to_le_bytes(length));
            let expected = format!(
                "at byte 0x32: a structure of type {kind:#x} cannot be {length} bytes long"
            );
            assert_eq!(wrong(&[short]), expected);
        }
        let mut long = structure(kind, &[&vec![0; usize::from(least) - 4]]);
        long[2..4].copy_from_slice(&u16::to_le_bytes(least + 1));
        let expected = format!("a structure of type {kind:#x} cannot be {} bytes long", least + 1);
        assert!(wrong(&[long]).ends_with(&expected));
    }
}

#[test]
fn a_table_ends_with_a_structure() {
    for count in 1..4 {
        let rest = wrong(&[structure(9, &[]), vec![0; count]]);
        let needed = if count == 1 { 2 } else { 4 };
        let expected = format!("at byte 0x34: {needed} bytes are needed, and there are less");
        assert_eq!(rest, expected);
    }
}

#[test]
fn a_scope_has_an_even_length_and_a_path() {
    for length in [0, 1, 5, 6, 7, 9] {
        let mut odd = scope(1, 0, 0, &[[1, 0], [2, 0]]);
        odd[1] = length;
        let expected = format!("at byte 0x41: a device scope cannot be {length} bytes long");
        assert_eq!(wrong(&[drhd(0, 0, 0x1000, &[odd])]), expected);
    }
    let mut long = scope(1, 0, 0, &[[1, 0]]);
    long[1] = 10;
    let expected = "at byte 0x40: 10 bytes are needed, and there are less";
    assert_eq!(wrong(&[drhd(0, 0, 0x1000, &[long])]), expected);
    let cut = wrong(&[drhd(0, 0, 0x1000, &[vec![1]])]);
    assert_eq!(cut, "at byte 0x40: 2 bytes are needed, and there are less");
}

#[test]
fn scopes_of_each_structure_are_looked_at() {
    let bad = scope(1, 0, 0, &[[1, 0], [32, 0]]);
    let expected = "there is no device 0x20 with a function 0x0";
    let head = [0; 4];
    for broken in [
        drhd(0, 0, 0x1000, slice::from_ref(&bad)),
        rmrr(0, 0, 0xfff, slice::from_ref(&bad)),
        structure(2, &[&head, &bad]),
        structure(5, &[&head, &bad]),
    ] {
        let told = wrong(&[broken]);
        assert!(told.ends_with(expected), "{told}");
    }
    let function = wrong(&[drhd(0, 0, 0x1000, &[scope(2, 0, 0, &[[31, 8]])])]);
    assert_eq!(function, "at byte 0x46: there is no device 0x1f with a function 0x8");
    right(&[drhd(0, 0, 0x1000, &[scope(7, 0, 0, &[[0xff, 0xff]])])]);
}

#[test]
fn a_unit_without_registers_is_absent() {
    let absent = wrong(&[drhd(1, 0, 0, &[])]);
    assert_eq!(absent, "at byte 0x38: a unit with its registers at 0x0 is absent");
    let absent = wrong(&[drhd(1, 0, u64::MAX, &[])]);
    assert!(absent.ends_with("at 0xffffffffffffffff is absent"), "{absent}");
    let odd = wrong(&[drhd(1, 0, 0xfed9_0800, &[])]);
    assert_eq!(odd, "at byte 0x38: registers of a unit cannot begin at 0xfed90800");
    let mut beyond = drhd(1, 0, 0xffff_ffff_ffff_f000, &[]);
    right(slice::from_ref(&beyond));
    beyond[5] = 1;
    assert!(wrong(&[beyond]).contains("cannot begin at 0xfffffffffffff000"));
}

#[test]
fn no_two_units_share_registers() {
    let mut large = drhd(0, 0, 0x1000, &[]);
    large[5] = 1;
    let next = |registers, segment| drhd(0, segment, registers, &[]);
    right(&[large.clone(), next(0x3000, 0)]);
    for registers in [0x1000, 0x2000] {
        let expected = format!(
            "at byte 0x40: another unit has registers where this one has its own, at {registers:#x}"
        );
        assert_eq!(wrong(&[large.clone(), next(registers, 1)]), expected);
    }
    let before = wrong(&[next(0x2000, 0), large]);
    assert!(before.ends_with("where this one has its own, at 0x1000"), "{before}");
}

#[test]
fn one_unit_of_a_segment_has_all_others() {
    let expected = "at byte 0x40: a second unit has all that no other has of segment 0007";
    assert_eq!(wrong(&[drhd(1, 7, 0x1000, &[]), drhd(1, 7, 0x2000, &[])]), expected);
    right(&[drhd(1, 7, 0x1000, &[]), drhd(1, 6, 0x2000, &[]), drhd(0, 7, 0x3000, &[])]);
}

#[test]
fn nothing_is_named_by_two_units() {
    let end = |kind, device| scope(kind, 0, 0, &[[device, 0], [1, 2]]);
    let one = drhd(0, 0, 0x1000, &[end(1, 1), end(1, 2)]);
    let expected = "at byte 0x64: a second unit has 0000:00:02.0, or what it leads to";
    let second = |segment, scope: Vec<u8>| drhd(0, segment, 0x2000, &[scope]);
    assert_eq!(wrong(&[one.clone(), second(0, end(1, 2))]), expected);
    assert!(wrong(&[one.clone(), second(0, end(2, 2))]).contains("a second unit"));
    right(&[one.clone(), second(1, end(1, 2))]);
    right(&[one.clone(), second(0, end(1, 3))]);
    right(&[one.clone(), second(0, end(3, 2))]);
    right(&[drhd(0, 0, 0x1000, &[end(1, 1), end(1, 1)])]);
    let ioapic = drhd(0, 0, 0x1000, &[end(3, 1)]);
    assert!(wrong(&[ioapic, second(0, end(3, 1))]).contains("a second unit"));
}

#[test]
fn memory_is_made_of_pages() {
    let expected = |base, limit| {
        format!("reserved memory from {base:#x} to {limit:#x} is empty or not of pages")
    };
    for (base, limit) in [(0x1000, 0xfff), (0x2000, 0x1000), (0x800, 0xfff), (0, 0x800), (0, 0)] {
        let told = wrong(&[rmrr(0, base, limit, &[])]);
        assert_eq!(told, format!("at byte 0x38: {}", expected(base, limit)));
    }
    right(&[rmrr(0, 0x1000, 0x1fff, &[])]);
}

#[test]
fn a_name_has_an_end() {
    let told = wrong(&[structure(4, &[b"\0\0\0\x01abc"])]);
    assert_eq!(told, "at byte 0x38: the name has no end");
    right(&[structure(4, &[b"\0\0\0\x01\0"])]);
}

#[test]
fn units_are_counted() {
    let units = |count: usize| -> Vec<Vec<u8>> {
        (1..=count).map(|it| drhd(0, 0, (it as u64) << 12, &[])).collect()
    };
    right(&units(MAX_UNITS));
    let told = wrong(&units(MAX_UNITS + 1));
    let offset = FIRST + MAX_UNITS * 16;
    assert_eq!(told, format!("at byte {offset:#x}: there are more than {MAX_UNITS} units"));
}

#[test]
fn every_cut_of_a_table_is_refused_or_shorter() {
    let name = structure(4, &[b"\0\0\0\x01abc\0"]);
    let structures =
        bytes(&[&drhd(1, 0, 0x1000, &[scope(1, 0, 0, &[[1, 0]])]), &rmrr(0, 0, 0xfff, &[]), &name]);
    let ends = [0, 24, 48, structures.len()];
    for count in 0..=structures.len() {
        let mut table = dmar(&[structures[..count].to_vec()]);
        seal(&mut table);
        assert_eq!(Dmar::parse(&table).is_ok(), ends.contains(&count), "{count}");
    }
}
