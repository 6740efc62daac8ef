//! A unit that is late, silent or gone is never taken for one that is done (INV-11, INV-12).

use pviommu_hypervisor::{
    platform::{AttachError, Invalidation, RegisterBlock, UnitError},
    unit::Driver,
};
use pviommu_testbed::hardware::amdvi::{Manner, Unit, control};

use super::kit::{TAG, TIMEOUT, root, source, unit, up};

/// Asks for something; how many microseconds that took.
fn ask(unit: &Unit, driver: &impl Driver) -> (Result<(), UnitError>, u64) {
    let begin = unit.now();
    let result = driver.invalidate(TAG, Invalidation::Everything);
    (result, unit.now() - begin)
}

#[test]
fn a_unit_that_takes_its_time_is_waited_for() {
    let unit = unit();
    let driver = up(&unit);
    for looks in [1, 7, 100] {
        unit.set_manner(Manner::After(looks));
        assert_eq!(ask(&unit, &driver).0, Ok(()));
    }
    assert_eq!(unit.mistakes(), []);
}

/// The head is looked at only where the ring seems full, so it takes a while until it is at the end just then.
#[test]
fn a_head_at_the_end_of_the_ring_is_at_its_begin() {
    let unit = unit();
    let driver = up(&unit);
    unit.count_to_the_end();
    for _ in 0..20_000 {
        assert_eq!(ask(&unit, &driver).0, Ok(()));
    }
    assert_eq!(unit.mistakes(), []);
}

#[test]
fn a_unit_that_is_not_done_in_time_has_failed_for_ever() {
    for manner in [Manner::Never, Manner::Silent] {
        let unit = unit();
        let driver = up(&unit);
        unit.set_manner(manner);
        let (result, took) = ask(&unit, &driver);
        assert_eq!(result, Err(UnitError), "{manner:?}");
        assert!((TIMEOUT..TIMEOUT + 10).contains(&took), "{took}");
        // Its answer comes after all.
        unit.set_manner(Manner::AtOnce);
        unit.run();
        assert_eq!(ask(&unit, &driver), (Err(UnitError), 2));
        assert_eq!(driver.attach(source(3), root(1), TAG), Err(AttachError::Failed));
        assert_eq!(driver.block(source(3)), Err(UnitError));
        assert_eq!(driver.suspend(), Err(UnitError));
        assert_eq!(driver.resume(), Err(UnitError));
    }
}

#[test]
fn a_unit_that_has_stopped_or_is_gone_is_not_waited_for() {
    let stopped = unit();
    let driver = up(&stopped);
    let (control, _) = stopped.control_and_status();
    stopped.write64(0x18, control & !control::COMMANDS);
    let (result, took) = ask(&stopped, &driver);
    assert_eq!(result, Err(UnitError));
    assert!(took < 10, "{took}");
    let gone = unit();
    let driver = up(&gone);
    gone.vanish();
    let (result, took) = ask(&gone, &driver);
    assert_eq!(result, Err(UnitError));
    assert!(took < 10, "{took}");
    assert!(!driver.isolates_interrupts());
    assert_eq!(driver.next_event(), None);
}
