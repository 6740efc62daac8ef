//! Sleep, and the end.

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{AttachError, Invalidation, UnitError},
    unit::{Driver, vtd::IrqTable},
};
use pviommu_testbed::hardware::vtd::{
    Act, Config, Manner, Outcome, Waits,
    global::{IRE, QIE, SRTP, TE},
};

use super::kit::{TAG, TIMEOUT, root, source, through, up};

#[test]
fn all_is_as_before_after_the_machine_slept() {
    let (rig, driver) = up(Config::SERVER);
    driver.attach(source(1), root(0x123), TAG).unwrap();
    driver.attach(source(2), root(0x123), TAG).unwrap();
    driver.stop(source(2));
    let table = IrqTable { frame: Mfn(0x77), entries: 256, x2apic: false };
    driver.set_irq_table(table).unwrap();
    driver.set_interrupt_message(Some((0xfee0_0000, 0x41)));
    driver.suspend().unwrap();
    rig.unit.reset();
    rig.unit.take_acts();
    driver.resume().unwrap();
    let acts = rig.unit.take_acts();
    assert_eq!(acts[..2], [Act::On(QIE), Act::Once(SRTP)]);
    assert_eq!(rig.read(1, 5), through(0x123, TAG));
    assert_eq!(rig.read(2, 5), Outcome::Refused(2));
    assert!(driver.isolates_interrupts());
    rig.read(0x0100, 5);
    assert_eq!(rig.unit.take_acts(), [Act::Message(0xfee0_0000, 0x41)]);
    driver.restart(source(2));
    assert_eq!(rig.read(2, 5), through(0x123, TAG));
    driver.invalidate(TAG, Invalidation::Everything).unwrap();
    rig.clean();
}

#[test]
fn a_unit_that_does_not_wake_has_failed() {
    let (rig, driver) = up(Config::SERVER);
    driver.suspend().unwrap();
    rig.unit.reset();
    rig.unit.set(Manner { deaf: TE, ..Manner::default() });
    assert_eq!(driver.resume(), Err(UnitError));
    rig.unit.set(Manner::default());
    assert_eq!(driver.attach(source(1), root(1), TAG), Err(AttachError::Failed));
    assert_eq!(driver.block(source(1)), Err(UnitError));
}

/// It translates, so that nothing passes, and is not believed.
#[test]
fn a_unit_that_had_failed_translates_again_but_is_not_believed() {
    let (rig, driver) = up(Config::SERVER);
    rig.unit.set(Manner { waits: Waits::Never, ..Manner::default() });
    assert_eq!(driver.invalidate(TAG, Invalidation::Everything), Err(UnitError));
    rig.unit.reset();
    assert_eq!(driver.resume(), Err(UnitError));
    assert_eq!(rig.unit.is_on(), (true, false));
    assert_eq!(rig.read(1, 5), Outcome::Refused(1));
    assert_eq!(driver.invalidate(TAG, Invalidation::Everything), Err(UnitError));
    rig.clean();
}

#[test]
fn after_a_crash_all_is_off_and_nothing_cached() {
    let (rig, driver) = up(Config::SERVER);
    driver.attach(source(1), root(0x123), TAG).unwrap();
    assert_eq!(rig.read(1, 5), through(0x123, TAG));
    driver.crash_shutdown();
    assert_eq!(rig.unit.status() & (TE | QIE | IRE), 0);
    assert_eq!(rig.unit.holds(TAG.0, 5), (false, false));
    let acts = rig.unit.take_acts();
    assert_eq!(acts[acts.len() - 2..], [Act::ForgotContexts, Act::ForgotTranslations]);
    rig.clean();
}

/// Whatever the unit does not do.
#[test]
fn the_end_after_a_crash_comes() {
    for manner in [
        Manner { deaf: TE, ..Manner::default() },
        Manner { deaf: u32::MAX, ..Manner::default() },
        Manner { registers_hang: true, ..Manner::default() },
        Manner { stuck: true, ..Manner::default() },
        Manner { absent: true, ..Manner::default() },
    ] {
        let (rig, driver) = up(Config::SERVER);
        rig.unit.set(manner);
        let before = rig.bench.looks();
        driver.crash_shutdown();
        assert!(rig.bench.looks() - before < 6 * TIMEOUT, "{manner:?}");
        let off = if manner.absent || manner.deaf != 0 { TE } else { 0 };
        assert_eq!(rig.unit.status() & (TE | QIE) & !QIE, off, "{manner:?}");
    }
}
