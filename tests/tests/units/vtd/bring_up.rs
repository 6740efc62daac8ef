//! In which order a unit is switched on.

use pviommu_hypervisor::{
    platform::RegisterBlock,
    unit::{Driver, vtd::Vtd},
};
use pviommu_testbed::hardware::vtd::{
    Act, Config, Manner, Outcome,
    global::{EAFL, QIE, SRTP, TE, WBF},
};

use super::kit::{Rig, TAG, root, settings, source, through, up};

/// All contexts, all translations with all drains, all interrupts.
const FORGET: [Act; 3] =
    [Act::Descriptor([0x11, 0]), Act::Descriptor([0xd2, 0]), Act::Descriptor([4, 0])];

#[test]
fn the_queue_comes_before_the_table_and_translation_after_all_is_forgotten() {
    let rig = Rig::new(Config::SERVER);
    rig.try_up().unwrap();
    let [contexts, translations, interrupts] = FORGET;
    let order = [Act::On(QIE), Act::Once(SRTP), contexts, translations, interrupts, Act::On(TE)];
    assert_eq!(rig.unit.take_acts(), order);
    rig.clean();
}

#[test]
fn each_command_is_waited_for() {
    for slow in [1, 2, 17] {
        let rig = Rig::new(Config::SERVER);
        rig.unit.set(Manner { slow, ..Manner::default() });
        rig.try_up().unwrap();
        assert_eq!(rig.unit.is_on(), (true, false));
        rig.clean();
    }
}

#[test]
fn a_write_buffer_is_flushed_before_the_table_is_taken_over() {
    let rig = Rig::new(Config::QEMU.with_cap(Config::WRITE_BUFFER));
    rig.try_up().unwrap();
    let [contexts, translations, _] = FORGET;
    let order =
        [Act::On(QIE), Act::Once(WBF), Act::Once(SRTP), contexts, translations, Act::On(TE)];
    assert_eq!(rig.unit.take_acts(), order);
    rig.clean();
}

#[test]
fn a_fault_log_of_firmware_is_switched_off_first() {
    let rig = Rig::new(Config::SERVER);
    rig.unit.write32(0x18, EAFL);
    rig.unit.take_acts();
    rig.try_up().unwrap();
    assert_eq!(rig.unit.take_acts()[0], Act::Off(EAFL));
    rig.clean();
}

/// INV-41.
#[test]
fn nobody_passes_who_was_not_attached() {
    for config in [Config::QEMU, Config::QEMU_39, Config::SERVER] {
        let (rig, driver) = up(config);
        assert_eq!(rig.read(0x0100, 5), Outcome::Refused(1), "no context table");
        let levels = if config == Config::QEMU_39 { 3 } else { 4 };
        let root = pviommu_hypervisor::platform::TableRoot { levels, ..root(0x123) };
        driver.attach(source(0x0100), root, TAG).unwrap();
        assert_eq!(rig.read(0x0100, 5), through(0x123, TAG));
        assert_eq!(rig.read(0x0108, 5), Outcome::Refused(2), "no entry");
        assert_eq!(rig.read(0x0200, 5), Outcome::Refused(1), "another bus");
        driver.block(source(0x0100)).unwrap();
        assert_eq!(rig.read(0x0100, 5), Outcome::Refused(2));
        rig.clean();
    }
}

/// Of three pages two are a power of two: IQA.QS is 1.
#[test]
fn a_queue_has_as_many_entries_as_fit_and_begins_where_it_was_lent() {
    let rig = Rig::new(Config::SERVER);
    let mut memory = rig.memory();
    memory.queue = rig.ram.lend(3);
    let driver = Vtd::bring_up(rig.unit, rig.bench, memory, settings()).unwrap();
    assert_eq!(rig.unit.read64(0x90), memory.queue.address() | 1);
    for _ in 0..600 {
        driver.block(source(0)).unwrap();
        driver.invalidate(TAG, pviommu_hypervisor::platform::Invalidation::Everything).unwrap();
    }
    rig.clean();
}
