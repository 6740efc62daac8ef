//! A device is stopped, perhaps in an interrupt, and started again.

use std::sync::{Mutex, OnceLock};

use pviommu_hypervisor::{
    platform::{Invalidation, RegisterBlock},
    unit::{Driver, Event, amdvi::AmdVi},
};
use pviommu_testbed::hardware::amdvi::{Command, Unit, Verdict};

use super::kit::{TAG, resources, root, settings, source, through, unit, up};

#[test]
fn a_device_that_is_stopped_does_no_dma_and_is_not_logged() {
    let unit = unit();
    let driver = up(&unit);
    driver.attach(source(3), root(0x10), TAG).unwrap();
    assert_eq!(unit.request(3, 1), through(0x10));
    unit.take_done();
    driver.stop(source(3));
    let pages = Command::ForgetPages { tag: TAG, first: 0, last: u64::MAX, tables: true };
    assert_eq!(unit.take_done(), [Command::ForgetDevice(3), pages]);
    assert_eq!(unit.request(3, 1), Verdict::Refused);
    assert_eq!(driver.next_event(), None);
    driver.restart(source(3));
    assert_eq!(unit.request(3, 1), through(0x10));
    assert_eq!(unit.request(4, 1), Verdict::Refused, "others are logged");
    assert!(matches!(driver.next_event(), Some(Event::Fault(_))));
}

#[test]
fn whatever_its_entry_says_from_then_on_it_stays_stopped() {
    let unit = unit();
    let driver = up(&unit);
    driver.stop(source(3));
    driver.attach(source(3), root(0x10), TAG).unwrap();
    assert_eq!(unit.request(3, 1), Verdict::Refused);
    driver.stop(source(3));
    driver.attach(source(3), root(0x20), TAG).unwrap();
    assert_eq!(unit.request(3, 1), Verdict::Refused);
    driver.restart(source(3));
    assert_eq!(unit.request(3, 1), through(0x20), "it is where it was put last");
    driver.stop(source(3));
    driver.block(source(3)).unwrap();
    driver.restart(source(3));
    assert_eq!(unit.request(3, 1), Verdict::Refused);
    assert_eq!(unit.mistakes(), []);
}

#[test]
fn what_has_no_entry_is_not_stopped() {
    let unit = unit();
    let driver = up(&unit);
    unit.take_done();
    driver.stop(source(0x200));
    driver.restart(source(0x200));
    assert_eq!(unit.take_done(), []);
}

/// What happens in an interrupt.
type Handler = fn(&AmdVi<'static>);

/// Registers, with an interrupt that comes while the command tail is written: the lock of the queue is held.
struct Interrupted {
    unit: &'static Unit,
    handler: Mutex<Option<Handler>>,
    driver: OnceLock<AmdVi<'static>>,
}

impl RegisterBlock for Interrupted {
    fn read32(&self, offset: usize) -> u32 {
        self.unit.read32(offset)
    }
    fn write32(&self, offset: usize, value: u32) {
        self.unit.write32(offset, value);
    }
    fn read64(&self, offset: usize) -> u64 {
        self.unit.read64(offset)
    }
    fn write64(&self, offset: usize, value: u64) {
        if offset == 0x2008
            && let Some(driver) = self.driver.get()
        {
            let handler = self.handler.lock().unwrap().take();
            if let Some(handler) = handler {
                handler(driver);
            }
        }
        self.unit.write64(offset, value);
    }
}

/// A driver whose first submission is interrupted by `handler`.
pub(crate) fn interrupted(handler: Handler) -> (&'static Unit, &'static AmdVi<'static>) {
    let unit: &'static Unit = Box::leak(Box::new(unit()));
    let registers: &'static Interrupted = Box::leak(Box::new(Interrupted {
        unit,
        handler: Mutex::new(Some(handler)),
        driver: OnceLock::new(),
    }));
    let driver = AmdVi::bring_up(resources(unit, registers), &settings(), |_| None).unwrap();
    registers.driver.set(driver).unwrap();
    (unit, registers.driver.get().unwrap())
}

/// INV-59: the interrupted CPU has the lock. What the unit could not be told then it is told later.
#[test]
fn an_interrupt_that_stops_a_device_waits_for_nobody() {
    let (unit, driver) = interrupted(|driver| driver.stop(source(3)));
    assert_eq!(unit.request(3, 1), Verdict::Refused);
    driver.attach(source(4), root(0x10), TAG).unwrap();
    unit.take_done();
    driver.invalidate(TAG, Invalidation::Everything).unwrap();
    // The first wait is for what is owed, the last for what is asked for.
    let told = unit.take_done();
    let of = |what: &str| told.iter().position(|it| format!("{it:?}").starts_with(what));
    let (forgotten, waited) = (of("ForgetDevice(3)"), of("Wait"));
    assert_eq!(forgotten, Some(0), "{told:?}");
    assert!(waited < told.iter().rposition(|it| format!("{it:?}").starts_with("Forget")));
    driver.invalidate(TAG, Invalidation::Everything).unwrap();
    assert!(!format!("{:?}", unit.take_done()).contains("ForgetDevice"), "once");
}

/// The handler that stops one device goes on to ask for the next event.
#[test]
fn the_next_event_tells_the_unit_too() {
    let (unit, driver) = interrupted(|driver| {
        driver.stop(source(3));
        assert_eq!(driver.next_event(), None);
    });
    driver.attach(source(4), root(0x10), TAG).unwrap();
    unit.take_done();
    assert_eq!(driver.next_event(), None);
    assert!(format!("{:?}", unit.take_done()).contains("ForgetDevice(3)"));
}
