//! A unit that somebody left on is taken over, and at no instant a device reaches more than before.

use pviommu_hypervisor::{
    platform::{RegisterBlock, UnitMemory},
    unit::{Driver, amdvi::BringUpError},
};
use pviommu_testbed::hardware::amdvi::{Mistake, Unit, Verdict, control, status};

use super::kit::{FEATURES, TAG, root, settings, source, through, try_with};

/// Page requests, guest translation, the guest's APIC, and something nobody knows.
const MORE: u64 = 1 << 13 | 1 << 15 | 1 << 16 | 1 << 28 | 1 << 44;

/// A unit that firmware has on: device 3 has a table, 4 is blocked, 5 passes. What else it uses is `more`
/// of the control register.
fn left_on(more: u64) -> Unit {
    let unit = Unit::new(16, FEATURES);
    let (table, ring, log) = (unit.ram.lend(1), unit.ram.lend(1), unit.ram.lend(1));
    let put = |at: UnitMemory<'_>, word, value| at.store(word, value);
    put(table, 12, 0x6000_0000_0999_9803);
    put(table, 13, 1);
    put(table, 16, 3);
    // A command that stores, and that nobody has waited for.
    put(ring, 0, 1 << 60 | log.address() | 1);
    unit.write64(0x00, table.address());
    unit.write64(0x08, ring.address() | 8 << 56);
    unit.write64(0x10, log.address() | 8 << 56);
    let usual = control::ENABLED | control::COMMANDS | control::EVENT_LOG | control::COHERENT;
    unit.write64(0x18, usual | more);
    unit
}

fn mistakes_of(unit: &Unit) -> Vec<Mistake> {
    let not_ours = |it: &Mistake| !matches!(it, Mistake::Control(bits) if bits & !MORE == 0);
    unit.mistakes().into_iter().filter(not_ours).collect()
}

#[test]
fn a_device_reaches_what_it_did_or_nothing() {
    for more in [0, MORE] {
        let unit = left_on(more);
        assert_eq!(unit.request(3, 1), through(0x9999));
        assert_eq!(unit.request(4, 1), Verdict::Refused);
        unit.watch(&[3, 4]);
        let driver = try_with(&unit, &settings()).unwrap();
        assert_eq!(mistakes_of(&unit), []);
        for id in [3, 4, 5, 0x1ff] {
            assert_eq!(unit.request(id, 1), Verdict::Refused, "{id}");
        }
        driver.attach(source(3), root(0x1234), TAG).unwrap();
        assert_eq!(unit.request(3, 1), through(0x1234));
        assert_eq!(unit.control_and_status().0 & MORE, 0);
    }
}

#[test]
fn who_passed_passes_no_more() {
    let unit = left_on(0);
    assert_eq!(unit.request(5, 1), Verdict::Passed);
    let _driver = try_with(&unit, &settings()).unwrap();
    assert_eq!(unit.request(5, 1), Verdict::Refused);
    assert_eq!(mistakes_of(&unit), []);
}

#[test]
fn memory_that_was_excluded_from_translation_is_so_no_more() {
    let unit = left_on(0);
    unit.write64(0x20, 0x10_0000 | 3);
    unit.write64(0x28, 0x1f_ffff);
    assert_eq!(unit.request(4, 0x120), Verdict::Passed);
    let _driver = try_with(&unit, &settings()).unwrap();
    assert_eq!(unit.request(4, 0x120), Verdict::Refused);
}

/// What was logged before is of others; a log that was full starts again.
#[test]
fn what_was_left_in_the_status_register_is_gone() {
    let unit = left_on(0);
    for _ in 0..300 {
        let _ = unit.request(4, 1);
    }
    assert_ne!(unit.control_and_status().1 & status::OVERFLOW, 0);
    let driver = try_with(&unit, &settings()).unwrap();
    assert_eq!(unit.control_and_status().1, status::COMMANDS_RUN | status::EVENT_LOG_RUNS);
    assert_eq!(driver.next_event(), None);
}

/// A crashed kernel's memory may be anybody's now.
#[test]
fn a_unit_whose_rings_do_not_rest_is_left_on_and_not_used() {
    let unit = left_on(0);
    unit.watch(&[3, 4]);
    unit.set_deaf(status::COMMANDS_RUN);
    assert_eq!(try_with(&unit, &settings()).err(), Some(BringUpError::NoAnswer));
    assert_eq!(unit.mistakes(), []);
    assert!(unit.now() < 1200);
}
