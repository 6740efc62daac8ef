//! The machine sleeps, and wakes up; or it crashes.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Invalidation, UnitError},
    unit::{
        Driver,
        amdvi::{Interrupts, IrqTable},
    },
};
use pviommu_testbed::hardware::amdvi::{
    Command, Interrupt, Manner, Mistake, Unit, Verdict, status,
};

use super::{
    kit::{ONE_BY_ONE, TAG, TIMEOUT, root, source, through, unit, up},
    stop::interrupted,
};

#[test]
fn after_sleep_everybody_is_where_they_were() {
    let unit = unit();
    let driver = up(&unit);
    unit.watch(&[3, 4, 5]);
    driver.attach(source(3), root(0x10), TAG).unwrap();
    driver.attach(source(5), root(0x20), TAG).unwrap();
    driver.stop(source(5));
    let table = Interrupts::Remap(IrqTable { frame: Mfn(0x99), entries_log2: 8 });
    driver.set_interrupts(source(3), table).unwrap();
    driver.suspend().unwrap();
    unit.lose_power();
    assert_eq!(unit.request(4, 1), Verdict::Passed, "the unit is off");
    unit.take_done();
    driver.resume().unwrap();
    let done = unit.take_done();
    assert!(matches!(done[..], [Command::ForgetAll, Command::Wait { .. }]), "{done:?}");
    let met = [3, 4, 5].map(|id| unit.request(id, 1));
    assert_eq!(met, [through(0x10), Verdict::Refused, Verdict::Refused]);
    assert_eq!(unit.interrupt(3), Interrupt::Remapped(Mfn(0x99), 8));
    assert!(driver.next_event().is_some(), "of 4, and none of before");
    assert_eq!(driver.next_event(), None);
    driver.invalidate(TAG, Invalidation::Everything).unwrap();
    assert_eq!(unit.mistakes(), []);
}

#[test]
fn a_machine_that_did_not_sleep_after_all_goes_on() {
    let unit = unit();
    let driver = up(&unit);
    driver.attach(source(3), root(0x10), TAG).unwrap();
    unit.watch(&[3, 4]);
    for _ in 0..3 {
        driver.suspend().unwrap();
        driver.resume().unwrap();
        assert_eq!(unit.request(3, 1), through(0x10));
    }
    assert_eq!(unit.mistakes(), []);
}

#[test]
fn suspend_returns_when_all_is_done() {
    let unit = unit();
    let driver = up(&unit);
    unit.set_manner(Manner::After(50));
    driver.suspend().unwrap();
    assert!(matches!(unit.take_done().last(), Some(Command::Wait { .. })));
}

#[test]
fn a_unit_that_does_not_come_back_is_an_error() {
    let unit = unit();
    let driver = up(&unit);
    driver.suspend().unwrap();
    unit.lose_power();
    unit.set_deaf(status::COMMANDS_RUN);
    assert_eq!(driver.resume(), Err(UnitError));
    unit.vanish();
    assert_eq!(driver.resume(), Err(UnitError));
}

/// Nothing cached, and off.
fn assert_left(unit: &Unit, forgot: bool) {
    let (control, status) = unit.control_and_status();
    assert_eq!((control, status & status::COMMANDS_RUN), (0, 0));
    assert_eq!(unit.stored(3), Some([3, 0, 0, 0]), "blocked");
    let done = unit.take_done();
    assert_eq!(done.contains(&Command::ForgetAll), forgot, "{done:?}");
    assert_eq!(unit.mistakes(), [Mistake::SwitchedOff]);
}

#[test]
fn after_a_crash_nothing_is_cached_and_the_unit_is_off() {
    let unit = unit();
    let driver = up(&unit);
    driver.attach(source(3), root(0x10), TAG).unwrap();
    for _ in 0..100 {
        driver.invalidate(TAG, Invalidation::Everything).unwrap();
    }
    unit.take_done();
    unit.watch(&[3, 4]);
    driver.crash_shutdown();
    assert_left(&unit, true);
}

#[test]
fn after_a_crash_each_is_forgotten_by_a_unit_without_a_command_for_all() {
    let unit = Unit::new(16, ONE_BY_ONE);
    let driver = up(&unit);
    unit.take_done();
    driver.crash_shutdown();
    let done = unit.take_done();
    let count = |is: fn(&Command) -> bool| done.iter().filter(|it| is(it)).count();
    assert_eq!(count(|it| matches!(it, Command::ForgetDevice(_))), 0x200);
    assert_eq!(count(|it| matches!(it, Command::ForgetPages { .. })), 0x1_0000);
    assert_eq!(unit.mistakes(), [Mistake::SwitchedOff]);
}

/// Nobody knows what the crash interrupted.
#[test]
fn a_crash_while_somebody_submits_takes_no_lock() {
    let (unit, driver) = interrupted(Driver::crash_shutdown);
    let begin = unit.now();
    let _ = driver.attach(source(4), root(0x10), TAG);
    assert!(unit.now() - begin < 4 * TIMEOUT);
    assert_left(unit, true);
}

#[test]
fn after_a_crash_a_unit_that_does_not_answer_is_switched_off_in_time() {
    for manner in [Manner::Never, Manner::Silent] {
        let unit = unit();
        let driver = up(&unit);
        unit.set_manner(manner);
        let begin = unit.now();
        driver.crash_shutdown();
        assert!(unit.now() - begin < 2 * TIMEOUT);
        assert_left(&unit, manner == Manner::Silent);
    }
    let gone = unit();
    let driver = up(&gone);
    gone.vanish();
    driver.crash_shutdown();
}
