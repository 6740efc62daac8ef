//! The place for who remaps interrupts.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{AttachError, RegisterBlock},
    unit::{
        Driver,
        acpi::DeviceSettings,
        amdvi::{AmdVi, Interrupts, IrqTable, Settings},
    },
};
use pviommu_testbed::hardware::amdvi::{Command, Interrupt};

use super::kit::{TAG, resources, root, settings, source, through, unit, up, with};

fn table(frame: u64, entries_log2: u8) -> Interrupts {
    Interrupts::Remap(IrqTable { frame: Mfn(frame), entries_log2 })
}

#[test]
fn interrupts_go_through_the_table_that_was_set_last() {
    let unit = unit();
    let driver = up(&unit);
    assert_eq!(unit.interrupt(3), Interrupt::Passed, "and that is cached");
    driver.set_interrupts(source(3), table(0x99, 8)).unwrap();
    assert_eq!(unit.interrupt(3), Interrupt::Remapped(Mfn(0x99), 8));
    driver.set_interrupts(source(3), table(0x77, 11)).unwrap();
    assert_eq!(unit.interrupt(3), Interrupt::Remapped(Mfn(0x77), 11));
    driver.set_interrupts(source(3), Interrupts::Refuse).unwrap();
    assert_eq!(unit.interrupt(3), Interrupt::Refused);
    driver.set_interrupts(source(3), Interrupts::Pass).unwrap();
    assert_eq!(unit.interrupt(3), Interrupt::Passed);
    unit.take_done();
    driver.forget_interrupts(source(3)).unwrap();
    assert_eq!(unit.take_done()[0], Command::ForgetInterrupts(3));
}

#[test]
fn dma_and_interrupts_of_a_device_are_independent() {
    let unit = unit();
    let driver = up(&unit);
    driver.set_interrupts(source(3), table(0x99, 8)).unwrap();
    let remapped = Interrupt::Remapped(Mfn(0x99), 8);
    driver.attach(source(3), root(0x10), TAG).unwrap();
    assert_eq!((unit.request(3, 1), unit.interrupt(3)), (through(0x10), remapped));
    driver.stop(source(3));
    assert_eq!(unit.interrupt(3), remapped);
    driver.restart(source(3));
    driver.set_interrupts(source(3), Interrupts::Refuse).unwrap();
    assert_eq!((unit.request(3, 1), unit.interrupt(3)), (through(0x10), Interrupt::Refused));
    driver.block(source(3)).unwrap();
    assert_eq!(unit.interrupt(3), Interrupt::Refused);
}

#[test]
fn a_table_that_cannot_be_told_and_a_device_without_entry_are_refused() {
    let unit = unit();
    let driver = up(&unit);
    let refused = Err(AttachError::Refused);
    assert_eq!(driver.set_interrupts(source(3), table(0x99, 12)), refused);
    assert_eq!(driver.set_interrupts(source(0x200), table(0x99, 1)), refused);
    assert_eq!(unit.interrupt(3), Interrupt::Passed);
}

#[test]
fn a_device_is_isolated_by_what_the_hardware_has() {
    let unit = unit();
    let driver = up(&unit);
    let isolated = |id| driver.isolates_interrupts_of(source(id));
    assert!(!isolated(3));
    driver.set_interrupts(source(3), table(0x99, 8)).unwrap();
    assert_eq!([isolated(3), isolated(4), isolated(0x200)], [true, false, false]);
    assert!(!driver.isolates_interrupts(), "others' interrupts pass");
    let (control, _) = unit.control_and_status();
    unit.write64(0x18, control & !1);
    assert!(!isolated(3), "the unit is off");
    unit.write64(0x18, control);
    assert!(isolated(3));
    unit.write64(0x00, 0);
    assert!(!isolated(3), "the unit has another device table");
}

#[test]
fn a_unit_isolates_if_it_does_so_for_all() {
    let unit = unit();
    let driver = with(&unit, &Settings { interrupts: Interrupts::Refuse, ..settings() });
    assert_eq!(unit.interrupt(3), Interrupt::Refused);
    assert!(driver.isolates_interrupts());
    driver.set_interrupts(source(3), table(0x99, 8)).unwrap();
    assert!(driver.isolates_interrupts());
    driver.set_interrupts(source(0x1ff), Interrupts::Pass).unwrap();
    assert!(!driver.isolates_interrupts());
}

/// INIT, NMI and the like, which firmware lets pass.
#[test]
fn what_firmware_lets_pass_is_not_isolated() {
    let unit = unit();
    let of_device = |id| (id == 3).then_some(DeviceSettings { data: 0x04, extended: 0 });
    let driver = AmdVi::bring_up(resources(&unit, &unit), &settings(), of_device).unwrap();
    for id in [3, 4] {
        driver.set_interrupts(source(id), table(0x99, 8)).unwrap();
    }
    let isolated = [3, 4].map(|id| driver.isolates_interrupts_of(source(id)));
    assert_eq!(isolated, [false, true]);
}
