//! A device that is stopped, and started again.

use pviommu_hypervisor::{
    platform::{Invalidation, Tag},
    unit::Driver,
};
use pviommu_testbed::hardware::vtd::{Act, Config, Manner, Outcome};

use super::kit::{TAG, root, source, through, up};

/// INV-48: at once, without waiting, and without a word more of it.
#[test]
fn a_device_that_is_stopped_reaches_nothing_and_records_nothing() {
    for config in [Config::SERVER, Config::QEMU, Config::SERVER.with_cap(Config::CACHING_MODE)] {
        let (rig, driver) = up(config);
        driver.attach(source(1), root(0x123), TAG).unwrap();
        driver.attach(source(2), root(0x123), TAG).unwrap();
        assert_eq!(rig.read(1, 5), through(0x123, TAG));
        let before = rig.bench.looks();
        driver.stop(source(1));
        assert_eq!(rig.bench.looks(), before, "it waits for nothing");
        assert_eq!(rig.read(1, 5), Outcome::Refused(2));
        assert_eq!(driver.next_event(), None, "silent");
        assert!(!rig.unit.in_flight(0x123 << 12), "drained");
        assert_eq!(rig.read(2, 5), through(0x123, TAG), "the neighbour goes on");
        driver.restart(source(1));
        driver.restart(source(2));
        assert_eq!(rig.read(1, 5), through(0x123, TAG));
        assert_eq!(rig.read(2, 5), through(0x123, TAG));
        rig.clean();
    }
}

#[test]
fn what_a_stopped_device_is_given_counts_when_it_is_started() {
    let (rig, driver) = up(Config::SERVER);
    driver.attach(source(1), root(0x123), TAG).unwrap();
    driver.stop(source(1));
    driver.attach(source(1), root(0x456), Tag(8)).unwrap();
    assert_eq!(rig.read(1, 5), Outcome::Refused(2));
    driver.restart(source(1));
    assert_eq!(rig.read(1, 5), through(0x456, Tag(8)));
    driver.stop(source(1));
    driver.block(source(1)).unwrap();
    driver.restart(source(1));
    assert_eq!(rig.read(1, 5), Outcome::Refused(2));
    assert!(driver.next_event().is_some(), "not silent any more");
    rig.clean();
}

#[test]
fn a_device_can_be_stopped_before_it_is_attached() {
    let (rig, driver) = up(Config::SERVER);
    driver.stop(source(0x0200));
    driver.attach(source(0x0200), root(0x123), TAG).unwrap();
    assert_eq!(rig.read(0x0200, 5), Outcome::Refused(2));
    driver.restart(source(0x0200));
    assert_eq!(rig.read(0x0200, 5), through(0x123, TAG));
    rig.clean();
}

/// There is no room in the queue: the next call makes up for it.
#[test]
fn what_could_not_be_said_at_once_is_said_by_the_next_call() {
    let (rig, driver) = up(Config::SERVER);
    let ids: Vec<u16> = (0..200).collect();
    for id in &ids {
        driver.attach(source(*id), root(0x123), TAG).unwrap();
        assert_eq!(rig.read(*id, 5), through(0x123, TAG));
    }
    rig.unit.set(Manner { stuck: true, ..Manner::default() });
    let before = rig.bench.looks();
    for id in &ids {
        driver.stop(source(*id));
    }
    assert_eq!(rig.bench.looks(), before);
    assert_eq!(rig.read(199, 5), through(0x123, TAG), "not yet");
    rig.unit.set(Manner::default());
    rig.unit.catch_up();
    rig.unit.take_acts();
    driver.invalidate(Tag(9), Invalidation::Everything).unwrap();
    let acts = rig.unit.take_acts();
    let all = [Act::Descriptor([0x11, 0]), Act::Descriptor([0xd2, 0])];
    assert_eq!(acts[acts.len() - 2..], all);
    for id in &ids {
        assert_eq!(rig.read(*id, 5), Outcome::Refused(2), "{id}");
    }
    assert!(!rig.unit.in_flight(0x123 << 12), "drained");
    rig.clean();
}
