//! The device table: entries as words, and what units make of them.

use pviommu_abi::PciDevice;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{TableRoot, Tag},
    unit::amdvi::{command, device_entry as service},
};
use pviommu_testbed::{
    iommu::{
        DeviceEntry, Direction, FaultReason, Rights, UnitModel,
        amdvi::{Words, device_entry},
    },
    machine::{UnitKind, Violation, amd_facts, memory::Memory},
};

use crate::kit::{DEVICE, OTHER, RAM, TAG, UNIT, memory, read, table, violations, write};

const V: u64 = 1;
const TV: u64 = 2;
const IR: u64 = 1 << 61;
const IW: u64 = 1 << 62;
const ROOT: TableRoot = TableRoot { frame: Mfn(0xf_1234_5678), levels: 4 };

#[test]
fn what_the_service_encodes_is_read_as_it_was_meant() {
    for levels in [3, 4, 5] {
        for tag in [1, 0x8000, 0xffff].map(Tag) {
            let root = TableRoot { levels, ..ROOT };
            let expected = DeviceEntry::Translated { root, tag, rights: Rights::ALL };
            assert_eq!(device_entry::decode(service::translated(root, tag)), expected);
            assert_eq!(
                device_entry::encode(root, tag, Rights::ALL),
                service::translated(root, tag)
            );
        }
    }
    assert_eq!(device_entry::decode(service::BLOCKED), DeviceEntry::Blocked);
}

#[test]
fn v_tv_and_mode_decide_whether_requests_pass() {
    let root = ROOT.frame.0 << 12;
    let passes = [
        [0, 0],
        // Without V nothing else counts, and without a table IR or IW is enough.
        [!V, u64::MAX],
        [V | TV | IR, 0],
        [V | TV | IW, 0],
    ];
    let blocks = [[V | TV, 0], [V, 0], [V | 4 << 9 | root | IR | IW, 7]];
    for words in passes {
        assert_eq!(device_entry::decode(words), DeviceEntry::Untranslated, "{words:x?}");
    }
    for words in blocks {
        assert_eq!(device_entry::decode(words), DeviceEntry::Blocked, "{words:x?}");
    }
    for (word, rights) in [
        (0, Rights { read: false, write: false }),
        (IR, Rights { read: true, write: false }),
        (IW, Rights { read: false, write: true }),
    ] {
        let words = [V | TV | 4 << 9 | root | word, 7];
        let expected = DeviceEntry::Translated { root: ROOT, tag: Tag(7), rights };
        assert_eq!(device_entry::decode(words), expected);
    }
}

#[test]
fn every_other_bit_makes_an_entry_illegal() {
    let [low, high] = service::translated(ROOT, TAG);
    let legal = |words: Words| !matches!(device_entry::decode(words), DeviceEntry::Illegal(_));
    // V and TV, mode, root, IR and IW; domain id, SE and SA.
    for bit in 0..64 {
        let known = matches!(bit, 0..=1 | 9..=51 | 61..=62);
        // 11 would make mode 4 a mode 7 with the other two.
        assert_eq!(legal([low ^ 1 << bit, high]), known, "bit {bit}");
        let known = matches!(bit, 0..=15 | 33..=34);
        assert_eq!(legal([low, high ^ 1 << bit]), known, "bit {}", 64 + bit);
    }
    assert!(!legal([low | 7 << 9, high]), "mode 7 is reserved");
}

fn read_by(unit: &UnitModel, memory: &Memory, device: PciDevice) -> Result<u64, FaultReason> {
    unit.access_at(memory, device, 7 << 12, Direction::Read, |at| at.frame.0)
}

/// An oracle: seen to fire.
#[test]
fn an_entry_that_lets_requests_pass_is_seen_when_it_is_written_and_when_it_is_used() {
    for words in [[0, 0], [V | TV | IW, 0]] {
        let memory = memory();
        let unit = UnitModel::new(UNIT, amd_facts());
        unit.write_device_entry(&memory, DEVICE, words);
        let seen = Violation::Untranslated { unit: UNIT, device: DEVICE };
        assert_eq!(violations(&memory), [seen]);
        assert_eq!(read(&unit, &memory, RAM), Err(FaultReason::Stopped));
        assert_eq!(violations(&memory), [seen, seen]);
    }
}

/// An oracle: seen to fire.
#[test]
fn an_illegal_entry_is_seen_and_refuses_everything() {
    let memory = memory();
    let table = table(UnitKind::AmdVi, &memory);
    table.map(7, 1, Mfn(RAM));
    let unit = UnitModel::new(UNIT, amd_facts());
    let [low, high] = service::translated(table.root(), TAG);
    // I: the device may say that its addresses are translated.
    let entry = [low, high | 1 << 32];
    unit.write_device_entry(&memory, DEVICE, entry);
    let seen = Violation::IllegalDeviceEntry { unit: UNIT, device: DEVICE, entry };
    assert_eq!(violations(&memory), [seen]);
    assert_eq!(read(&unit, &memory, 7), Err(FaultReason::IllegalEntry));
}

#[test]
fn a_table_that_nobody_filled_lets_everybody_pass() {
    let memory = memory();
    let zeroed = UnitModel::new(UNIT, amd_facts()).with_device_table([0, 0]);
    assert_eq!(read(&zeroed, &memory, RAM), Err(FaultReason::Stopped));
    let seen = Violation::Untranslated { unit: UNIT, device: DEVICE };
    assert_eq!(violations(&memory), [seen]);
    let filled = UnitModel::new(UNIT, amd_facts()).with_device_table(service::BLOCKED);
    assert_eq!(read(&filled, &memory, RAM), Err(FaultReason::Blocked));
    assert_eq!(violations(&memory), [seen]);
}

#[test]
fn a_device_entry_stays_cached_until_its_command() {
    let memory = memory();
    let (old, new) = (table(UnitKind::AmdVi, &memory), table(UnitKind::AmdVi, &memory));
    old.map(7, 1, Mfn(RAM));
    new.map(7, 1, Mfn(RAM + 1));
    let unit = UnitModel::new(UNIT, amd_facts());
    for device in [DEVICE, OTHER] {
        unit.write_device_entry(&memory, device, service::translated(old.root(), TAG));
        assert_eq!(read_by(&unit, &memory, device), Ok(RAM));
    }
    let moved = service::translated(new.root(), Tag(4));
    for device in [DEVICE, OTHER] {
        unit.write_device_entry(&memory, device, moved);
    }
    // Of another device, and of pages: neither is it.
    unit.execute(&memory, command::forget_device(OTHER));
    assert_eq!(read_by(&unit, &memory, OTHER), Ok(RAM + 1));
    let everything = pviommu_hypervisor::platform::Invalidation::Everything;
    unit.execute(&memory, command::invalidate(TAG, everything));
    assert_eq!(write(&unit, &memory, 7), Ok(RAM));
    unit.execute(&memory, command::forget_device(DEVICE));
    assert_eq!(write(&unit, &memory, 7), Ok(RAM + 1));
    unit.write_device_entry(&memory, DEVICE, service::BLOCKED);
    assert_eq!(write(&unit, &memory, 7), Ok(RAM + 1));
    unit.execute(&memory, command::forget_device(DEVICE));
    assert_eq!(write(&unit, &memory, 7), Err(FaultReason::Blocked));
    assert_eq!(violations(&memory), []);
}

/// INV-07: a root is named as long as the unit may walk it.
#[test]
fn a_root_is_named_until_its_entry_is_forgotten() {
    let memory = memory();
    let table = table(UnitKind::AmdVi, &memory);
    let unit = UnitModel::new(UNIT, amd_facts());
    unit.write_device_entry(&memory, DEVICE, service::translated(table.root(), TAG));
    assert_eq!(read(&unit, &memory, 7), Err(FaultReason::NotPresent));
    unit.write_device_entry(&memory, DEVICE, service::BLOCKED);
    let frame = table.root().frame;
    unit.check_table_freed(&memory, frame);
    let named = Violation::TableFreedWhileNamed { unit: UNIT, frame };
    assert_eq!(violations(&memory), [named]);
    unit.execute(&memory, command::forget_device(DEVICE));
    unit.check_table_freed(&memory, frame);
    assert_eq!(violations(&memory), [named]);
}

#[test]
fn the_access_of_the_device_entry_is_that_of_all_its_pages() {
    for (word, rights) in [(IR, (true, false)), (IW, (false, true)), (0, (false, false))] {
        let memory = memory();
        let table = table(UnitKind::AmdVi, &memory);
        table.map(7, 1, Mfn(RAM));
        let unit = UnitModel::new(UNIT, amd_facts());
        let [low, high] = service::translated(table.root(), TAG);
        unit.write_device_entry(&memory, DEVICE, [low & !(IR | IW) | word, high]);
        assert_eq!((read(&unit, &memory, 7).is_ok(), write(&unit, &memory, 7).is_ok()), rights);
        // Cached with it.
        assert_eq!((read(&unit, &memory, 7).is_ok(), write(&unit, &memory, 7).is_ok()), rights);
        assert_eq!(violations(&memory), []);
    }
}

/// INV-08 and INV-10, by words.
#[test]
fn entries_with_a_wrong_tag_or_root_are_seen() {
    let memory = memory();
    let (one, two) = (table(UnitKind::AmdVi, &memory), table(UnitKind::AmdVi, &memory));
    let unit = UnitModel::new(UNIT, amd_facts());
    let root = one.root();
    unit.write_device_entry(&memory, DEVICE, service::translated(root, TAG));
    let same = |levels, frame| TableRoot { frame, levels };
    let [low, high] = service::translated(root, TAG);
    let bad: [(Words, Violation); 6] = [
        (service::translated(root, Tag(0)), Violation::BadTag { unit: UNIT, tag: Tag(0) }),
        (service::translated(root, Tag(256)), Violation::BadTag { unit: UNIT, tag: Tag(256) }),
        (
            service::translated(same(6, root.frame), Tag(4)),
            Violation::BadRoot { unit: UNIT, frame: root.frame, levels: 6 },
        ),
        (
            service::translated(same(4, Mfn(RAM)), Tag(4)),
            Violation::BadRoot { unit: UNIT, frame: Mfn(RAM), levels: 4 },
        ),
        (service::translated(two.root(), TAG), Violation::TagWithTwoRoots { unit: UNIT, tag: TAG }),
        ([low & !IW, high], Violation::TagWithTwoRoots { unit: UNIT, tag: TAG }),
    ];
    for (words, violation) in bad {
        let before = violations(&memory).len();
        unit.write_device_entry(&memory, OTHER, words);
        assert_eq!(violations(&memory)[before..], [violation]);
        unit.execute(&memory, command::forget_device(OTHER));
        let walked = read_by(&unit, &memory, OTHER);
        let levels = matches!(violation, Violation::BadRoot { levels: 6, .. });
        assert_eq!(walked == Err(FaultReason::IllegalEntry), levels, "{walked:?}");
    }
}
