//! The place of the embedder's interrupt remapping.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::RegisterBlock,
    unit::{
        Driver,
        vtd::{IrqTable, IrqTableError},
    },
};
use pviommu_testbed::hardware::vtd::{
    Act, Config, Manner,
    global::{CFI, IRE, SIRTP},
};

use super::kit::{Rig, settings, up};

const TABLE: IrqTable = IrqTable { frame: Mfn(0x77), entries: 256, x2apic: true };

/// INV-47: what the unit says, not what was asked for.
#[test]
fn a_table_is_taken_over_forgotten_and_only_then_in_force() {
    let (rig, driver) = up(Config::SERVER);
    assert!(!driver.isolates_interrupts());
    driver.set_irq_table(TABLE).unwrap();
    assert_eq!(rig.unit.take_acts(), [Act::Once(SIRTP), Act::Descriptor([4, 0]), Act::On(IRE)]);
    // EIME, and S: 2^(7 + 1) entries.
    assert_eq!(rig.unit.interrupt_table(), Some(0x7_7000 | 1 << 11 | 7));
    assert!(driver.isolates_interrupts());
    rig.clean();
}

#[test]
fn the_table_of_firmware_gives_way_without_a_moment_between() {
    let rig = Rig::new(Config::SERVER);
    rig.unit.leave_on(0, 0, true);
    let driver = rig.prepare(settings()).unwrap();
    driver.set_irq_table(TABLE).unwrap();
    assert_eq!(rig.unit.take_acts(), [], "remembered");
    driver.enable().unwrap();
    let acts = rig.unit.take_acts();
    assert_eq!(acts[acts.len() - 3..], [Act::Once(SIRTP), Act::Descriptor([4, 0]), Act::Off(CFI)]);
    assert!(driver.isolates_interrupts() && !acts.contains(&Act::Off(IRE)));
    rig.clean();
}

#[test]
fn entries_are_forgotten_by_the_smallest_block_that_the_unit_takes() {
    let (rig, driver) = up(Config::SERVER);
    let cases = [
        (None, [4, 0]),
        (Some((5, 5)), [0x0005_0000_0014, 0]),
        (Some((0x340, 0x347)), [0x0340_1800_0014, 0]),
        (Some((0x343, 0x344)), [0x0340_1800_0014, 0]),
        (Some((0, 0xffff)), [4, 0]),
    ];
    for (entries, words) in cases {
        driver.invalidate_interrupts(entries).unwrap();
        assert_eq!(rig.unit.take_acts(), [Act::Descriptor(words)], "{entries:?}");
    }
    rig.clean();
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let without = |bits| up(Config::SERVER.without_ecap(bits));
    for (rig, driver) in [without(Config::REMAPPING), without(Config::X2APIC), up(Config::QEMU)] {
        assert_eq!(driver.set_irq_table(TABLE), Err(IrqTableError::NotSupported));
        assert_eq!(rig.unit.take_acts(), []);
    }
    let (rig, driver) = up(Config::SERVER);
    for entries in [0, 1, 3, 257, 1 << 17] {
        let table = IrqTable { entries, ..TABLE };
        assert_eq!(driver.set_irq_table(table), Err(IrqTableError::BadTable), "{entries}");
    }
    for frame in [1 << 34, u64::MAX] {
        let table = IrqTable { frame: Mfn(frame), ..TABLE };
        assert_eq!(driver.set_irq_table(table), Err(IrqTableError::BadTable), "{frame:x}");
    }
    assert_eq!((rig.unit.take_acts(), rig.unit.read64(0xb8)), (vec![], 0));
}

#[test]
fn a_unit_that_does_not_take_a_table_over_has_failed() {
    for bit in [SIRTP, IRE] {
        let (rig, driver) = up(Config::SERVER);
        rig.unit.set(Manner { deaf: bit, ..Manner::default() });
        assert_eq!(driver.set_irq_table(TABLE), Err(IrqTableError::Failed));
        assert!(!driver.isolates_interrupts());
        assert_eq!(driver.set_irq_table(TABLE), Err(IrqTableError::Failed));
    }
}
