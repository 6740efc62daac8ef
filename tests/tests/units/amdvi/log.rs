//! The event log as a ring: its end, its overflow, and its errata.

use pviommu_hypervisor::{
    Fault,
    platform::RegisterBlock,
    unit::{Driver, Event, amdvi::AmdVi},
};
use pviommu_testbed::hardware::amdvi::{Unit, status};

use super::kit::{TIMEOUT, unit, up};

/// A page fault, told from others by its address.
fn log(unit: &Unit, number: u64) {
    unit.log(0x51, [2 << 60 | 7 << 32, number]);
}

/// The numbers of the faults that are told, until there is no event; and how many are not faults.
fn drain(driver: &AmdVi<'_>) -> (Vec<u64>, usize) {
    let (mut numbers, mut others) = (Vec::new(), 0);
    while let Some(event) = driver.next_event() {
        assert!(numbers.len() + others < 1000, "there is no end");
        match event {
            Event::Fault(Fault { address, .. }) => numbers.push(address),
            _ => others += 1,
        }
    }
    (numbers, others)
}

fn numbers(range: std::ops::Range<u64>) -> (Vec<u64>, usize) {
    (range.collect(), 0)
}

#[test]
fn events_are_told_in_order_once_round_the_ring_and_again() {
    let unit = unit();
    let driver = up(&unit);
    for round in 0..20 {
        let range = 100 * round..100 * (round + 1);
        range.clone().for_each(|number| log(&unit, number));
        assert_eq!(drain(&driver), numbers(range));
    }
    assert_eq!(unit.mistakes(), []);
}

#[test]
fn a_log_that_was_full_is_told_and_starts_again() {
    let unit = unit();
    let driver = up(&unit);
    for round in 0..3 {
        // One entry stays empty.
        (0..300).for_each(|number| log(&unit, number));
        let (told, others) = drain(&driver);
        assert_eq!((told, others), ((0..255).collect(), 1), "round {round}");
        let (_, status) = unit.control_and_status();
        assert_eq!(status, status::COMMANDS_RUN | status::EVENT_LOG_RUNS);
        log(&unit, 7);
        assert_eq!(drain(&driver), numbers(7..8));
    }
    assert_eq!(unit.mistakes(), []);
}

#[test]
fn a_full_log_that_does_not_rest_is_not_waited_for_without_end() {
    let unit = unit();
    let driver = up(&unit);
    unit.set_deaf(status::EVENT_LOG_RUNS);
    (0..300).for_each(|number| log(&unit, number));
    let (told, others) = drain(&driver);
    assert_eq!((told.len(), others), (255, 0));
    assert!(unit.now() < 3 * TIMEOUT);
    unit.set_deaf(0);
    assert_eq!(driver.next_event(), Some(Event::Lost), "it is tried again");
    assert_eq!(driver.next_event(), None);
}

/// Errata 732 and 733.
#[test]
fn an_entry_that_comes_after_its_tail_is_waited_for() {
    let unit = unit();
    let driver = up(&unit);
    for lateness in [1, 5, 200] {
        unit.set_lateness(lateness);
        // More than once round: what is found there is not of the round before.
        for number in 0..300 {
            log(&unit, number);
            assert_eq!(drain(&driver), numbers(number..number + 1), "{lateness}");
        }
    }
}

#[test]
fn an_entry_that_never_comes_is_lost_and_no_more() {
    let unit = unit();
    let driver = up(&unit);
    unit.set_lateness(u64::MAX);
    log(&unit, 1);
    unit.set_lateness(0);
    log(&unit, 2);
    let begin = unit.now();
    assert_eq!(driver.next_event(), Some(Event::Lost));
    assert!(unit.now() - begin < TIMEOUT + 10);
    assert_eq!(drain(&driver), numbers(2..3));
}

/// Or the unit would not interrupt again.
#[test]
fn when_all_is_told_the_unit_may_interrupt_again() {
    let unit = unit();
    let driver = up(&unit);
    log(&unit, 1);
    assert_ne!(unit.control_and_status().1 & status::EVENT, 0);
    assert_eq!(drain(&driver), numbers(1..2));
    assert_eq!(unit.control_and_status().1 & status::EVENT, 0);
}

#[test]
fn a_tail_beyond_the_log_is_no_event() {
    let unit = unit();
    let driver = up(&unit);
    // As if the unit had gone mad.
    unit.write64(0x2018, 0x1000);
    assert_eq!(driver.next_event(), None);
}
