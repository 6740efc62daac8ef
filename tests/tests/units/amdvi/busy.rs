//! Several CPUs at once, and a device that never rests.

use std::sync::atomic::{AtomicBool, Ordering};

use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Invalidation, Tag},
    unit::{
        Driver,
        amdvi::{Interrupts, IrqTable},
    },
};
use pviommu_testbed::hardware::amdvi::Verdict;

use super::kit::{TAG, root, settings, source, through, unit, with};

/// INV-01, INV-41: an entry of DMA and one of interrupts change in one word each, and neither loses what the
/// other says; at no instant a device is let through.
#[test]
fn cpus_that_change_one_device_lose_nothing_of_each_other() {
    let unit = unit();
    let settings = pviommu_hypervisor::unit::amdvi::Settings { timeout_us: 1 << 40, ..settings() };
    let driver = with(&unit, &settings);
    let done = AtomicBool::new(false);
    let table = |frame| Interrupts::Remap(IrqTable { frame: Mfn(frame), entries_log2: 3 });
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for round in 0..500 {
                driver.attach(source(3), root(0x10 + round % 2), TAG).unwrap();
                driver.invalidate(TAG, Invalidation::Everything).unwrap();
                driver.block(source(3)).unwrap();
                driver.attach(source(3), root(0x77), TAG).unwrap();
            }
        });
        let remaps = scope.spawn(|| {
            for round in 0..500 {
                driver.set_interrupts(source(3), table(0x20 + round % 2)).unwrap();
                driver.set_interrupts(source(3), table(0x99)).unwrap();
            }
        });
        let stops = scope.spawn(|| {
            for _ in 0..500 {
                driver.stop(source(3));
                driver.restart(source(3));
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_ne!(unit.request(3, 1), Verdict::Passed);
                let _ = driver.next_event();
            }
        });
        for thread in [changes, remaps, stops] {
            thread.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    driver.invalidate(TAG, Invalidation::Everything).unwrap();
    assert_eq!(unit.request(3, 1), through(0x77));
    let [low, high, interrupts, _] = unit.stored(3).unwrap();
    assert_eq!((low, high), (0x6000_0000_0007_7803, 7));
    assert_eq!(interrupts, 2 << 60 | 0x99 << 12 | 3 << 1 | 1);
    assert_eq!(unit.mistakes(), []);
}

/// INV-48: a device that is stopped is stopped when the next call returns, however many CPUs have the unit do
/// other things.
#[test]
fn a_stop_among_all_else_is_in_force_with_the_next_call() {
    let unit = unit();
    let settings = pviommu_hypervisor::unit::amdvi::Settings { timeout_us: 1 << 40, ..settings() };
    let driver = with(&unit, &settings);
    driver.attach(source(3), root(0x123), TAG).unwrap();
    let all = Invalidation::Everything;
    std::thread::scope(|scope| {
        for tag in 20..23 {
            let driver = &driver;
            scope.spawn(move || {
                for _ in 0..500 {
                    driver.invalidate(Tag(tag), all).unwrap();
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..300 {
                assert_eq!(unit.request(3, 1), through(0x123));
                driver.stop(source(3));
                driver.invalidate(Tag(19), all).unwrap();
                assert_ne!(unit.request(3, 1), through(0x123));
                driver.restart(source(3));
            }
        });
    });
    assert_eq!(unit.mistakes(), []);
}
