//! A unit that does not do a step of bring-up.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::RegisterBlock,
    unit::vtd::{BringUpError, IrqTable, Step},
};
use pviommu_testbed::hardware::vtd::{
    Config, Manner, Waits,
    global::{CFI, EAFL, IRE, QIE, SIRTP, SRTP, TE, WBF},
};

use super::kit::{Rig, TIMEOUT, settings};

/// A unit that firmware left on, and behaves like that from then on.
fn fails_at(config: Config, left_on: bool, manner: Manner) -> Step {
    let rig = Rig::new(config);
    if left_on {
        rig.unit.leave_on(0, 0x4000_0000, true);
    }
    rig.unit.write32(0x18, rig.unit.status() | EAFL);
    let driver = rig.prepare(settings()).unwrap();
    if config.ecap & Config::REMAPPING != 0 {
        let table = IrqTable { frame: Mfn(0x77), entries: 256, x2apic: false };
        driver.set_irq_table(table).unwrap();
    }
    rig.unit.set(manner);
    let before = rig.bench.looks();
    let Err(BringUpError::NoAnswer(step)) = driver.enable() else { panic!("it answered") };
    assert!(rig.bench.looks() - before < 3 * TIMEOUT, "bounded");
    step
}

#[test]
fn what_a_unit_does_not_do_is_named_and_waited_for_no_longer_than_allowed() {
    let deaf = |deaf| Manner { deaf, ..Manner::default() };
    let buffered = Config::SERVER.with_cap(Config::WRITE_BUFFER);
    let mute = Manner { waits: Waits::Never, ..Manner::default() };
    let stuck = Manner { stuck: true, ..Manner::default() };
    let protects = Manner { protects_for_ever: true, ..Manner::default() };
    let cases = [
        (Config::SERVER, false, deaf(EAFL), Step::FaultLog),
        (Config::SERVER, true, deaf(QIE), Step::FormerQueue),
        (Config::SERVER, false, deaf(QIE), Step::Queue),
        (buffered, false, deaf(WBF), Step::WriteBuffer),
        (Config::SERVER, false, deaf(SRTP), Step::RootTable),
        (Config::SERVER, false, mute, Step::Invalidation),
        (Config::SERVER, false, stuck, Step::Invalidation),
        (Config::SERVER, false, deaf(TE), Step::Translation),
        (Config::SERVER, true, protects, Step::ProtectedMemory),
        (Config::SERVER, false, deaf(SIRTP), Step::Interrupts),
        (Config::SERVER, false, deaf(IRE), Step::Interrupts),
        (Config::SERVER, true, deaf(CFI), Step::Interrupts),
    ];
    for (config, left_on, manner, step) in cases {
        assert_eq!(fails_at(config, left_on, manner), step, "{manner:?}");
    }
}

#[test]
fn a_unit_that_vanishes_is_absent() {
    let rig = Rig::new(Config::SERVER);
    let driver = rig.prepare(settings()).unwrap();
    rig.unit.set(Manner { absent: true, ..Manner::default() });
    assert_eq!(driver.enable(), Err(BringUpError::Absent));
}
