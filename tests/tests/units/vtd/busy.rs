//! Several CPUs at once.

use pviommu_hypervisor::{
    platform::{Invalidation, Tag},
    unit::Driver,
};
use pviommu_testbed::hardware::vtd::{Config, Outcome};

use super::kit::{Rig, patient, range, root, source, through};

/// INV-09, INV-12: each CPU finds what it has asked for done, whatever others ask for meanwhile.
#[test]
fn each_cpu_finds_done_what_it_asked_for() {
    let rig = Rig::new(Config::SERVER);
    let driver = rig.up_with(patient());
    std::thread::scope(|scope| {
        for cpu in 1..=4u16 {
            let driver = &driver;
            scope.spawn(move || {
                // Two of them share a bus, and so a context table.
                let id = ((cpu / 2) << 8) | cpu;
                for round in 0..300 {
                    let tag = Tag(cpu * 16 + round % 2);
                    let frame = u64::from(cpu * 16 + round % 3);
                    driver.attach(source(id), root(frame), tag).unwrap();
                    assert_eq!(rig.read(id, 5), through(frame, tag));
                    driver.invalidate(tag, Invalidation::Leaves(range(5, 5))).unwrap();
                    assert!(!rig.unit.holds(tag.0, 5).0);
                    driver.block(source(id)).unwrap();
                    assert_eq!(rig.read(id, 5), Outcome::Refused(2));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..300 {
                driver.stop(source(0x0077));
                driver.restart(source(0x0077));
                let _ = driver.next_event();
            }
        });
    });
    rig.clean();
}

/// A device that is stopped by an interrupt of one CPU stays stopped, whatever the others do.
#[test]
fn a_stop_among_all_else_is_in_force_with_the_next_call() {
    let rig = Rig::new(Config::SERVER);
    let driver = rig.up_with(patient());
    driver.attach(source(1), root(0x123), Tag(1)).unwrap();
    std::thread::scope(|scope| {
        for tag in 2..5 {
            let driver = &driver;
            scope.spawn(move || {
                for _ in 0..500 {
                    driver.invalidate(Tag(tag), Invalidation::Everything).unwrap();
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..300 {
                let _ = rig.read(1, 5);
                driver.stop(source(1));
                driver.invalidate(Tag(9), Invalidation::Everything).unwrap();
                assert_eq!(rig.read(1, 5), Outcome::Refused(2));
                driver.restart(source(1));
            }
        });
    });
    rig.clean();
}
