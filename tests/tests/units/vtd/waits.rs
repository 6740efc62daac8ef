//! A unit that is late, stops at errors, or never answers.

use pviommu_hypervisor::{
    platform::{AttachError, Invalidation, UnitError},
    unit::{Driver, Event},
};
use pviommu_testbed::hardware::vtd::{Act, Config, Manner, Outcome, Waits};

use super::kit::{Driven, TAG, TIMEOUT, range, root, source, through, up};

fn manner(waits: Waits) -> Manner {
    Manner { waits, ..Manner::default() }
}

fn everything(driver: &Driven) -> Result<(), UnitError> {
    driver.invalidate(TAG, Invalidation::Everything)
}

fn pages(driver: &Driven) -> Result<(), UnitError> {
    driver.invalidate(TAG, Invalidation::Leaves(range(5, 5)))
}

#[test]
fn a_unit_that_is_late_is_waited_for() {
    let (rig, driver) = up(Config::SERVER);
    for late in [1, 10, 300] {
        rig.unit.set(manner(Waits::After(late)));
        everything(&driver).unwrap();
    }
    rig.clean();
}

/// INV-11, INV-12: it has failed for ever, whatever it says later, and nothing waits for it any more.
#[test]
fn a_unit_that_was_late_once_too_often_is_never_believed_again() {
    let (rig, driver) = up(Config::SERVER);
    driver.attach(source(1), root(0x123), TAG).unwrap();
    rig.unit.set(manner(Waits::Never));
    assert_eq!(everything(&driver), Err(UnitError));
    rig.unit.catch_up();
    rig.unit.set(Manner::default());
    let before = rig.bench.looks();
    assert_eq!(everything(&driver), Err(UnitError));
    assert_eq!(driver.attach(source(1), root(0x456), TAG), Err(AttachError::Failed));
    assert_eq!(driver.block(source(1)), Err(UnitError));
    assert_eq!(driver.sync_map(TAG, range(1, 1)), Err(UnitError));
    assert_eq!(driver.suspend(), Err(UnitError));
    assert!(rig.bench.looks() - before < 10);
}

#[test]
fn a_wait_has_an_end() {
    for manner in [
        manner(Waits::Never),
        Manner { stuck: true, ..Manner::default() },
        Manner { absent: true, ..Manner::default() },
        Manner { refuses: Some(|_| true), ..Manner::default() },
        Manner { refuses: Some(|[low, _]| low & 0xf == 5), ..Manner::default() },
        Manner { time_outs: u32::MAX, ..Manner::default() },
    ] {
        let (rig, driver) = up(Config::SERVER);
        rig.unit.set(manner);
        let before = rig.bench.looks();
        assert_eq!(everything(&driver), Err(UnitError), "{manner:?}");
        assert!(rig.bench.looks() - before < 3 * TIMEOUT, "{manner:?}");
        let after = rig.bench.looks();
        assert!(!matches!(driver.next_event(), Some(Event::Fault(_))));
        driver.stop(source(1));
        assert_eq!(rig.bench.looks(), after, "nobody waits");
    }
}

/// ITE: all waits that were fetched are dropped, and submitted again.
#[test]
fn dropped_waits_are_asked_for_again() {
    for times in [1, 2, 5] {
        let (rig, driver) = up(Config::SERVER);
        rig.unit.set(Manner { time_outs: times, ..Manner::default() });
        everything(&driver).unwrap();
        assert_eq!(rig.unit.manner().time_outs, 0);
        assert_eq!(driver.next_event(), Some(Event::Unit(1 << 6)));
        assert_eq!(driver.next_event(), None);
        let acts = rig.unit.take_acts();
        assert_eq!(*acts.last().unwrap(), Act::Descriptor([0x0007_00e2, 0]));
        rig.clean();
    }
}

/// IQE: what the unit does not take is replaced by what forgets more, and the rest is done.
#[test]
fn a_descriptor_that_is_not_taken_gives_way_to_a_wider_one() {
    let (rig, driver) = up(Config::SERVER);
    driver.attach(source(1), root(0x123), TAG).unwrap();
    assert_eq!(rig.read(1, 5), through(0x123, TAG));
    let refuses: fn([u64; 2]) -> bool = |[low, _]| low & 0x3f == 0x32;
    rig.unit.set(Manner { refuses: Some(refuses), ..Manner::default() });
    rig.unit.take_acts();
    pages(&driver).unwrap();
    assert_eq!(rig.unit.take_acts(), [Act::Descriptor([0xd2, 0])]);
    assert_eq!(rig.unit.holds(7, 5), (false, false));
    assert_eq!(driver.next_event(), Some(Event::Unit(1 << 4)));
    let refuses: fn([u64; 2]) -> bool = |[low, _]| low & 0x3f == 0x31;
    rig.unit.set(Manner { refuses: Some(refuses), ..Manner::default() });
    driver.block(source(1)).unwrap();
    let wide = [Act::Descriptor([0x11, 0]), Act::Descriptor([0x0007_00e2, 0])];
    assert_eq!(rig.unit.take_acts(), wide);
    assert_eq!(rig.read(1, 5), Outcome::Refused(2));
    rig.clean();
}

/// ICE: it stops the queue, and nothing is lost.
#[test]
fn an_answer_that_nobody_asked_for_is_cleared() {
    let (rig, driver) = up(Config::SERVER);
    rig.unit.confuse();
    everything(&driver).unwrap();
    assert_eq!(driver.next_event(), Some(Event::Unit(1 << 5)));
    rig.unit.confuse();
    assert_eq!(driver.next_event(), Some(Event::Unit(1 << 5)), "also if nobody waits");
    everything(&driver).unwrap();
    rig.clean();
}

#[test]
fn the_queue_goes_round_and_nothing_is_lost() {
    let (rig, driver) = up(Config::SERVER);
    for _ in 0..1000 {
        pages(&driver).unwrap();
    }
    assert_eq!(rig.unit.take_acts(), vec![Act::Descriptor([0x0007_00f2, 0x5040]); 1000]);
    rig.clean();
}
