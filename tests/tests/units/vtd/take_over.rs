//! A unit that firmware has left on.

use pviommu_hypervisor::{
    platform::{Invalidation, RegisterBlock, Tag},
    unit::{Driver, vtd::BringUpError},
};
use pviommu_testbed::hardware::vtd::{
    Act, Config, Outcome,
    global::{CFI, IRE, QIE, SRTP, TE},
};

use super::kit::{Rig, TAG, root, settings, source, through};

/// The root table of firmware, by which 00:02.0 and 00:03.0 reach what is behind frame 0x99.
fn firmware(rig: &Rig) -> u64 {
    let (top, table) = (rig.ram.lend(1), rig.ram.lend(1));
    for words in [top, table] {
        words.words().iter().for_each(|word| word.store(0, std::sync::atomic::Ordering::Relaxed));
    }
    top.store(0, table.address() | 1);
    for devfn in [0x10, 0x18] {
        table.store(2 * devfn, 0x99 << 12 | 1);
        table.store(2 * devfn + 1, 1 << 8 | 2);
    }
    top.address()
}

/// INV-41: both devices make a request at every access to a register, and if one of those passed
/// untranslated that would be a violation.
#[test]
fn a_device_reaches_what_it_did_or_what_it_was_given_or_nothing() {
    let rig = Rig::new(Config::SERVER);
    rig.unit.leave_on(firmware(&rig), rig.ram.lend(1).address(), true);
    rig.unit.keep_busy(&[(0x10, 5), (0x18, 5)]);
    assert_eq!(rig.read(0x10, 5), through(0x99, Tag(1)));
    let driver = rig.prepare(settings()).unwrap();
    driver.attach(source(0x10), root(0x123), TAG).unwrap();
    assert_eq!(rig.unit.take_acts(), [], "nothing before it is enabled");
    driver.enable().unwrap();
    assert_eq!(rig.read(0x10, 5), through(0x123, TAG));
    assert_eq!(rig.read(0x18, 5), Outcome::Refused(2));
    let unit_acts = rig.unit.take_acts();
    let off = [Act::Off(TE), Act::Off(IRE)];
    assert!(off.iter().all(|act| !unit_acts.contains(act)), "{unit_acts:?}");
    let first = [Act::Off(QIE), Act::On(QIE), Act::Once(SRTP)];
    assert_eq!(unit_acts[..3], first);
    assert_eq!(*unit_acts.last().unwrap(), Act::Unprotected, "after all else");
    assert_ne!(rig.unit.status() & IRE & !CFI, 0, "as firmware left it");
    assert!(!driver.isolates_interrupts(), "the old format passes");
    rig.clean();
}

#[test]
fn memory_is_protected_until_translation_is_on() {
    let rig = Rig::new(Config::SERVER);
    rig.unit.leave_on(0, 0, false);
    rig.try_up().unwrap();
    let acts = rig.unit.take_acts();
    assert_eq!(acts[acts.len() - 2..], [Act::On(TE), Act::Unprotected]);
    rig.clean();
}

/// In the queue of firmware there is rubbish: an error has stopped it, and it will never be done.
#[test]
fn a_queue_that_stands_still_does_not_stop_a_take_over() {
    let rig = Rig::new(Config::SERVER);
    rig.unit.leave_on(0, rig.ram.lend(1).address(), false);
    rig.unit.write64(0x88, 0x10);
    assert_eq!(rig.unit.violations().len(), 1, "the rubbish");
    let driver = rig.try_up().unwrap();
    driver.invalidate(TAG, Invalidation::Everything).unwrap();
    assert_eq!(driver.next_event(), None);
    assert_eq!(rig.unit.violations().len(), 1);
}

/// TTM may change only while translation is off: that would be a window.
#[test]
fn a_unit_that_translates_in_another_mode_is_left_as_it_is() {
    let rig = Rig::new(Config::SERVER);
    let table = rig.ram.lend(1).address() | 1 << 10;
    rig.unit.leave_on(table, 0, false);
    assert_eq!(rig.try_up().unwrap_err(), BringUpError::OtherMode(table));
    assert_eq!((rig.unit.take_acts(), rig.unit.read64(0x20)), (vec![], table));
    rig.clean();
}

#[test]
fn what_was_recorded_before_is_not_reported() {
    let rig = Rig::new(Config::SERVER);
    rig.unit.leave_on(firmware(&rig), 0, false);
    for id in 0x100..0x108 {
        assert_eq!(rig.read(id, 1), Outcome::Refused(1));
    }
    let driver = rig.up();
    assert_eq!(driver.next_event(), None);
}
