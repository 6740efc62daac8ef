//! What was refused, as the unit records it.

use pviommu_abi::FaultReason;
use pviommu_hypervisor::{
    platform::Access,
    unit::{Driver, Event},
};
use pviommu_testbed::hardware::vtd::{Act, Config};

use super::kit::{Driven, TAG, root, source, up};

/// Ids of what was refused, until nothing is left; and if some were lost.
fn drain(driver: &Driven) -> (Vec<u16>, usize) {
    let (mut ids, mut lost) = (vec![], 0);
    while let Some(event) = driver.next_event() {
        match event {
            Event::Fault(fault) => {
                let device = fault.source.0;
                ids.push(u16::from(device.bus) << 8 | u16::from(device.devfn));
            }
            Event::Lost => lost += 1,
            other => panic!("{other:?}"),
        }
        assert!(ids.len() < 100, "it ends");
    }
    (ids, lost)
}

#[test]
fn a_fault_says_who_wanted_what() {
    let (rig, driver) = up(Config::QEMU);
    driver.attach(source(0x0310), root(0x123), TAG).unwrap();
    rig.unit.set_hole(0x123 << 12, 0x55, true);
    let cases = [
        (0x0310, 0x5_5123, false, FaultReason::NOT_MAPPED),
        (0x0310, 0x5_5ffc, true, FaultReason::NOT_MAPPED),
        (0x0310, 1 << 48, true, FaultReason::ABOVE_APERTURE),
        (0x0311, 0x5_5000, false, FaultReason::BLOCKED),
        (0x0411, 0x5_5000, true, FaultReason::BLOCKED),
    ];
    for (id, address, write, reason) in cases {
        rig.unit.request(id, address, write);
        let Some(Event::Fault(fault)) = driver.next_event() else { panic!("{id:x} {address:x}") };
        let access = if write { Access::WRITE } else { Access::READ };
        assert_eq!((fault.source, fault.address), (source(id), address & !0xfff));
        assert_eq!((fault.access, fault.reason), (access, reason));
        assert_eq!(driver.next_event(), None);
    }
    rig.clean();
}

#[test]
fn records_come_in_turn_and_go_round() {
    let (rig, driver) = up(Config::SERVER);
    let mut id = 0x100;
    for faults in [1, 2, 3, 4, 4, 3, 1] {
        let ids: Vec<u16> = (id..id + faults).collect();
        for id in &ids {
            rig.read(*id, 1);
        }
        assert_eq!(drain(&driver), (ids, 0));
        id += faults;
    }
    rig.clean();
}

/// PFO is cleared, or nothing would ever be recorded again.
#[test]
fn what_was_lost_is_said_once_and_recording_goes_on() {
    for (config, records) in [(Config::SERVER, 4), (Config::QEMU, 1)] {
        let (rig, driver) = up(config);
        for _ in 0..3 {
            for id in 0x100..0x108 {
                rig.read(id, 1);
            }
            assert_eq!(drain(&driver), ((0x100..0x100 + records).collect(), 1));
        }
        rig.clean();
    }
}

#[test]
fn many_faults_of_one_device_are_one_record() {
    let (rig, driver) = up(Config::SERVER);
    for page in 0..100 {
        rig.read(0x100, page);
    }
    assert_eq!(drain(&driver), (vec![0x100], 0));
}

#[test]
fn the_interrupt_is_sent_as_it_was_said_and_again_after_all_was_taken() {
    let (rig, driver) = up(Config::SERVER);
    let messages = || {
        let acts = rig.unit.take_acts();
        acts.into_iter().filter(|act| matches!(act, Act::Message(..))).collect::<Vec<_>>()
    };
    rig.read(0x100, 1);
    assert_eq!((messages(), drain(&driver).0.len()), (vec![], 1), "masked at first");
    driver.set_interrupt_message(Some((0x1_fee0_1000, 0x41)));
    for _ in 0..2 {
        rig.read(0x100, 1);
        rig.read(0x101, 1);
        assert_eq!(messages(), [Act::Message(0x1_fee0_1000, 0x41)]);
        assert_eq!(drain(&driver).0.len(), 2);
    }
    driver.set_interrupt_message(None);
    rig.read(0x100, 1);
    assert_eq!(messages(), []);
    rig.clean();
}
