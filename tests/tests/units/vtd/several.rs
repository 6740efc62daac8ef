//! Several units as one: a call is for the unit that it names.

use pviommu_abi::Bfn;
use pviommu_hypervisor::{
    addr::BfnRange,
    platform::{AttachError, Invalidation, IommuHw, Tag, UnitError, UnitId},
    unit::{Driver, Drivers},
};
use pviommu_testbed::hardware::vtd::{Act, Config, Outcome};

use super::kit::{Rig, TAG, root, source, through};

const UNITS: [UnitId; 2] = [UnitId(0), UnitId(1)];

/// How many descriptors it carried out since this was asked last.
fn descriptors(rig: &Rig) -> usize {
    rig.unit.take_acts().iter().filter(|act| matches!(act, Act::Descriptor(_))).count()
}

#[test]
fn a_call_reaches_the_unit_that_it_names_and_no_other() {
    // They cache what is not there, so that a map is told to them.
    let rigs = UNITS.map(|_| Rig::new(Config::SERVER.with_cap(Config::CACHING_MODE)));
    let [one, other] = rigs.map(|rig| rig.up());
    let listed: [&dyn Driver; 2] = [&one, &other];
    let units = Drivers(&listed);
    for unit in UNITS {
        let [here, there] = if unit == UNITS[0] { rigs } else { [rigs[1], rigs[0]] };
        // The same id on both, as in two segments.
        units.attach(unit, source(1), root(0x123), TAG).unwrap();
        assert_eq!(here.read(1, 5), through(0x123, TAG));
        assert!(matches!(there.read(1, 5), Outcome::Refused(_)));
        rigs.iter().for_each(|rig| drop(rig.unit.take_acts()));
        units.invalidate(unit, TAG, Invalidation::Everything).unwrap();
        assert_eq!((descriptors(&here), descriptors(&there)), (1, 0));
        units.sync_map(unit, TAG, BfnRange::single(Bfn(5))).unwrap();
        assert_eq!((descriptors(&here), descriptors(&there)), (1, 0));

        units.stop(unit, source(1));
        assert_eq!(here.read(1, 5), Outcome::Refused(2));
        units.restart(unit, source(1));
        assert_eq!(here.read(1, 5), through(0x123, TAG));
        units.block(unit, source(1)).unwrap();
        assert_eq!(here.read(1, 5), Outcome::Refused(2));
        rigs.iter().for_each(Rig::clean);
    }
}

/// A unit that is not there holds nothing back, so it may not be reported as done.
#[test]
fn what_names_a_unit_that_is_not_listed_fails_and_does_nothing() {
    let rig = Rig::new(Config::SERVER);
    let driver = rig.up();
    let listed: [&dyn Driver; 1] = [&driver];
    let units = Drivers(&listed);
    for unit in [UnitId(1), UnitId(u16::MAX)] {
        assert!(units.of(unit).is_err());
        let attached = units.attach(unit, source(1), root(0x123), TAG);
        assert_eq!(attached, Err(AttachError::Failed));
        assert_eq!(units.block(unit, source(1)), Err(UnitError));
        assert_eq!(units.invalidate(unit, Tag(7), Invalidation::Everything), Err(UnitError));
        assert_eq!(units.sync_map(unit, TAG, BfnRange::single(Bfn(5))), Err(UnitError));
        units.stop(unit, source(1));
        units.restart(unit, source(1));
    }
    assert_eq!(rig.unit.take_acts(), []);
    assert!(matches!(rig.read(1, 5), Outcome::Refused(_)));
    rig.clean();
}
