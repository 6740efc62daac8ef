//! Each block and entry of an IVRS table, byte by byte from chapter 5.

use pviommu_hypervisor::{
    platform::Access,
    topology::Window,
    unit::acpi::{
        Block, DeviceSettings, Entry, IvInfo, IvhdFlags, IvhdType, IvmdFlags, IvmdFor, Ivrs,
        Variety,
    },
};

use crate::kit::{function, ivhd, ivmd, ivrs};

const NONE: DeviceSettings = DeviceSettings { data: 0, extended: 0 };

/// What the entries of a unit are read as.
fn read(entries: &[&[u8]], check: impl Fn(&[Entry<'_>])) {
    let table = ivrs(&[ivhd(0x40, 0, 2, 0x4000, entries)]);
    let ivrs = Ivrs::parse(&table).unwrap();
    let (_, unit) = ivrs.units().next().unwrap();
    check(&unit.entries().collect::<Vec<_>>());
}

fn ids(first: u16, last: u16, carried: Option<u16>, settings: DeviceSettings) -> Entry<'static> {
    Entry::Ids { first, last, carried, settings }
}

#[test]
fn widths_and_flags_are_those_of_the_table() {
    let table = ivrs(&[]);
    let info = Ivrs::parse(&table).unwrap().info();
    assert_eq!(info, IvInfo(0x20_3041));
    assert!(info.has_extended_features() && !info.dma_remapping());
    assert_eq!((info.physical_address_bits(), info.virtual_address_bits()), (48, 64));
    assert!(!info.reserves_hypertransport());
    let other = IvInfo(0x40_2802);
    assert!(!other.has_extended_features() && other.dma_remapping());
    assert_eq!((other.physical_address_bits(), other.virtual_address_bits()), (40, 0));
    assert!(other.reserves_hypertransport());
}

#[test]
fn a_unit_of_the_first_type_has_no_extended_features() {
    let bytes = b"\x10\xb0\x1c\x00\x02\x00\x40\x00\x00\x00\x30\xfd\x01\x00\x00\x00\
        \x03\x00\x05\x01\x6f\x8f\x04\x80\x02\x08\x00\x00";
    let table = ivrs(&[bytes.to_vec()]);
    let ivrs = Ivrs::parse(&table).unwrap();
    let (id, unit) = ivrs.units().next().unwrap();
    assert_eq!((id.0, unit.kind, unit.offset), (0, IvhdType::Basic, 48));
    let flags = IvhdFlags::REMOTE_IOTLB | IvhdFlags::COHERENT | IvhdFlags::PAGE_REQUESTS;
    assert_eq!(unit.flags, flags);
    assert_eq!(unit.function, pviommu_hypervisor::abi::PciDevice::new(3, 0, 0, 2));
    assert_eq!((unit.capability, unit.registers), (0x40, 0x1_fd30_0000));
    assert_eq!((unit.info, unit.features), (0x105, 0x8004_8f6f));
    assert_eq!(unit.extended_features, None);
    assert_eq!(unit.entries().collect::<Vec<_>>(), [ids(8, 8, None, NONE)]);
}

#[test]
fn a_unit_of_a_later_type_has_extended_features() {
    for (number, kind) in [(0x11, IvhdType::Extended), (0x40, IvhdType::Named)] {
        let mut block = ivhd(number, 0, 2, 0x4000, &[b"\x02\x08\x00\x00"]);
        block[24..40].copy_from_slice(b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\0\0\0\0\0\0\0");
        let table = ivrs(&[block]);
        let (_, unit) = Ivrs::parse(&table).unwrap().units().next().unwrap();
        assert_eq!((unit.kind, unit.kind.number()), (kind, number));
        assert_eq!(unit.extended_features, Some([0x0807_0605_0403_0201, 9]));
        assert_eq!(unit.entries().collect::<Vec<_>>(), [ids(8, 8, None, NONE)]);
    }
}

#[test]
fn of_each_unit_the_highest_type_counts() {
    let block =
        |kind, id, registers, device: u8| ivhd(kind, 0, id, registers, &[&[2, device, 0, 0]]);
    let table = ivrs(&[
        block(0x10, 2, 0x4000, 0x10),
        block(0x11, 0x102, 0x8000, 0x20),
        block(0x40, 2, 0x4000, 0x30),
        block(0x11, 2, 0x4000, 0x40),
        block(0x10, 0x102, 0x8000, 0x50),
        block(0x10, 0x202, 0xc000, 0x60),
    ]);
    let ivrs = Ivrs::parse(&table).unwrap();
    let found: Vec<_> =
        ivrs.units().map(|(id, unit)| (id.0, unit.kind, unit.entries().next().unwrap())).collect();
    assert_eq!(
        found,
        [
            (0, IvhdType::Named, ids(0x30, 0x30, None, NONE)),
            (1, IvhdType::Extended, ids(0x20, 0x20, None, NONE)),
            (2, IvhdType::Basic, ids(0x60, 0x60, None, NONE)),
        ]
    );
    assert_eq!(ivrs.blocks().count(), 6);
}

#[test]
fn entries_name_ids() {
    let with = |data| DeviceSettings { data, extended: 0 };
    read(&[b"\x01\x00\x00\xd7"], |found| {
        assert_eq!(found, [Entry::All { settings: with(0xd7) }]);
    });
    read(&[b"\x02\x34\x12\x01"], |found| assert_eq!(found, [ids(0x1234, 0x1234, None, with(1))]));
    read(&[b"\x03\x00\x01\x02\x04\xff\x01\x00"], |found| {
        assert_eq!(found, [ids(0x100, 0x1ff, None, with(2))]);
    });
    read(&[b"\x42\x08\x02\x04\x00\x00\x02\x00"], |found| {
        assert_eq!(found, [ids(0x208, 0x208, Some(0x200), with(4))]);
    });
    read(&[b"\x43\x08\x02\x00\x00\x00\x02\x00", b"\x04\x0f\x02\x00"], |found| {
        assert_eq!(found, [ids(0x208, 0x20f, Some(0x200), NONE)]);
    });
    let ats_off = DeviceSettings { data: 1, extended: 0x8000_0000 };
    assert!(ats_off.ats_disabled() && !with(0xff).ats_disabled());
    read(&[b"\x46\x08\x02\x01\x00\x00\x00\x80"], |found| {
        assert_eq!(found, [ids(0x208, 0x208, None, ats_off)]);
    });
    read(&[b"\x47\x08\x02\x01\x00\x00\x00\x80", b"\x04\x0f\x02\x00"], |found| {
        assert_eq!(found, [ids(0x208, 0x20f, None, ats_off)]);
    });
}

#[test]
fn entries_name_what_is_no_function() {
    let special = |variety| Entry::Special { variety, handle: 0x20, id: 0xa0, settings: NONE };
    for (byte, variety) in
        [(1, Variety::Ioapic), (2, Variety::Hpet), (0, Variety::Other(0)), (3, Variety::Other(3))]
    {
        read(&[&[0x48, 0, 0, 0, 0x20, 0xa0, 0x00, byte]], |found| {
            assert_eq!(found, [special(variety)]);
        });
    }
    let named = b"\xf0\x98\x00\x40AMDI0020\0\0\0\0\0\0\0\0\x02\x05\\_SB_";
    read(&[named, b"\x02\x08\x00\x00"], |found| {
        let settings = DeviceSettings { data: 0x40, extended: 0 };
        let expected = Entry::Named {
            id: 0x98,
            hardware_id: *b"AMDI0020",
            compatible_id: [0; 8],
            unique_format: 2,
            unique_id: b"\\_SB_",
            settings,
        };
        assert_eq!(found, [expected, ids(8, 8, None, NONE)]);
    });
}

#[test]
fn padding_and_unknown_entries_are_skipped_by_their_length() {
    let long = |kind: u8, length: usize| {
        let mut entry = vec![0xff; length];
        entry[0] = kind;
        entry
    };
    let entries = [
        long(0x00, 4),
        long(0x05, 4),
        long(0x3f, 4),
        long(0x40, 8),
        long(0x41, 8),
        long(0x7f, 8),
        long(0x80, 16),
        long(0xbf, 16),
        long(0xc0, 32),
        long(0xef, 32),
        vec![3, 8, 0, 0],
        long(0x00, 4),
        long(0x40, 8),
        vec![4, 9, 0, 0],
    ];
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    read(&entries, |found| assert_eq!(found, [ids(8, 9, None, NONE)]));
}

#[test]
fn the_last_entry_of_an_id_has_its_settings() {
    let table = ivrs(&[ivhd(
        0x11,
        0,
        2,
        0x4000,
        &[
            b"\x03\x00\x01\x02\x04\xff\x01\x00",
            b"\x02\x08\x01\x03",
            b"\x42\x10\x01\x04\x00\x00\x02\x00",
            b"\x48\x00\x00\xd7\x20\xa0\x00\x01",
        ],
    )]);
    let ivrs = Ivrs::parse(&table).unwrap();
    let (_, unit) = ivrs.units().next().unwrap();
    let data = |id| unit.settings_of(id).map(|it| it.data);
    assert_eq!([0x107, 0x108, 0x110].map(data), [Some(2), Some(3), Some(4)]);
    assert_eq!(data(0x200), Some(4), "what is carried");
    assert_eq!(data(0xa0), Some(0xd7), "a special device");
    assert_eq!(data(0xff), None);
    let all = ivrs_with_all();
    let (_, unit) = Ivrs::parse(&all).unwrap().units().next().unwrap();
    assert_eq!([7, 8].map(|id| unit.settings_of(id).map(|it| it.data)), [Some(1), Some(2)]);
}

fn ivrs_with_all() -> Vec<u8> {
    ivrs(&[ivhd(0x10, 0, 2, 0x4000, &[b"\x01\x00\x00\x01", b"\x02\x08\x00\x02"])])
}

#[test]
fn memory_says_whose_it_is_and_what_for() {
    let table = ivrs(&[
        ivmd(0x20, 0x07, [0, 0], 0x1000, 0x1000),
        ivmd(0x21, 0x03, [0x108, 0xffff], 0x2000, 0x3000),
        ivmd(0x22, 0x05, [0x108, 0x10f], 0xffff_ffff_ffff_f000, 0x1000),
        ivmd(0x20, 0x08, [0, 0], 0x1000, 0x1000),
        ivmd(0x20, 0x01, [0, 0], 0x1000, 0x1000),
        vec![0x23, 0, 4, 0],
    ]);
    let ivrs = Ivrs::parse(&table).unwrap();
    let [all, one, some, excluded, nothing] = ivrs.memory().collect::<Vec<_>>()[..] else {
        unreachable!()
    };
    assert_eq!((all.whose, all.segment), (IvmdFor::All, 0));
    assert_eq!(all.flags, IvmdFlags::UNITY | IvmdFlags::READ | IvmdFlags::WRITE);
    assert_eq!(all.bytes, Window { first: 0x1000, last: 0x1fff });
    assert_eq!((one.whose, one.access()), (IvmdFor::Ids(0x108, 0x108), Access::READ));
    assert_eq!(one.bytes, Window { first: 0x2000, last: 0x4fff });
    assert_eq!((some.whose, some.access()), (IvmdFor::Ids(0x108, 0x10f), Access::WRITE));
    assert_eq!(some.bytes, Window { first: 0xffff_ffff_ffff_f000, last: u64::MAX });
    assert_eq!(excluded.access(), Access::READ | Access::WRITE);
    assert_eq!(nothing.access(), Access::empty());
    let is_of = |memory: pviommu_hypervisor::unit::acpi::Ivmd| {
        [function(1, 0, 7), function(1, 1, 0), function(1, 1, 7), function(1, 2, 0)]
            .map(|it| memory.is_of(it))
    };
    assert_eq!(is_of(all), [true; 4]);
    assert_eq!(is_of(one), [false, true, false, false]);
    assert_eq!(is_of(some), [false, true, true, false]);
    let last = ivrs.blocks().last().unwrap();
    assert_eq!(last, Block::Other { kind: 0x23, bytes: b"\x23\x00\x04\x00" });
}
