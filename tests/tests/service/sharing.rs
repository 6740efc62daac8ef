//! Several CPUs in one context at a time, while a device works.

use std::sync::atomic::{AtomicBool, Ordering};

use pviommu_abi::{ContextId, Errno, PciDevice};
use pviommu_testbed::machine::{Config, DeviceConfig};

use crate::deferred::{flush_all as flush, unmap_later};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with};

const ROUNDS: u64 = 400;

fn config(cpus: usize) -> Config {
    Config { cpus, ..Config::one_guest(4096) }
}

/// Runs `work` on CPUs 1 and 2 at a time, with the device striking at random.
fn two_cpus(work: impl Fn(&Vm<'_>, ContextId, u64) + Sync) {
    with(&config(3), |vm| {
        let context = vm.attached_context();
        let stop = AtomicBool::new(false);
        let bed = vm.bed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut address = 1u64;
                while !stop.load(Ordering::Relaxed) {
                    address = address.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let _ = bed.dma_write(DEVICE, (address >> 40) % (2048 << 12), &[7; 8]);
                }
            });
            let workers: Vec<_> = (1..3)
                .map(|cpu| {
                    let work = &work;
                    scope.spawn(move || work(&Vm::new(bed, GUEST, cpu), context, cpu as u64))
                })
                .collect();
            for worker in workers {
                worker.join().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        vm.end();
    });
}

/// INV-21: the room for what waits is one for all CPUs of a domain.
#[test]
fn removals_that_wait_are_recorded_for_both() {
    two_cpus(|vm, context, cpu| {
        for round in 0..ROUNDS {
            let bfn = 1000 * (cpu - 1) + round % 7;
            assert_eq!(vm.map(context, bfn, 512 * cpu, 256, RW), (0, 256));
            assert_eq!(unmap_later(vm, context, bfn, 256), (0, 256));
            if round % 5 == cpu {
                assert_eq!(flush(vm, context), (0, 0));
            }
        }
        assert_eq!(flush(vm, context), (0, 0));
    });
}

#[test]
fn disjoint_ranges_do_not_disturb_each_other() {
    two_cpus(|vm, context, cpu| {
        for round in 0..ROUNDS {
            // Neighbours in the same leaf tables.
            let bfn = 300 * (cpu - 1) + round % 7;
            assert_eq!(vm.map(context, bfn, 512 * cpu, 256, RW), (0, 256));
            assert_eq!(vm.unmap(context, bfn, 256), (0, 256));
        }
    });
}

/// INV-21: of two that unmap one page, one gets its reference.
#[test]
fn the_same_pages_are_mapped_and_unmapped_once() {
    two_cpus(|vm, context, cpu| {
        for round in 0..ROUNDS {
            let bfn = (round % 5) * 600;
            let (status, _) = vm.map(context, bfn, 64 * cpu, 32, RW);
            assert!([0, err(Errno::EADDRINUSE)].contains(&status));
            let (status, _) = vm.unmap(context, bfn, 32);
            assert!([0, err(Errno::ENOENT)].contains(&status));
        }
    });
}

#[test]
fn a_trim_and_a_reattach_may_come_at_any_moment() {
    two_cpus(|vm, context, cpu| {
        for round in 0..ROUNDS {
            if cpu == 1 {
                let bfn = (round % 40) * 512;
                assert_eq!(vm.map(context, bfn, 3, 2, RW), (0, 2));
                assert_eq!(vm.unmap(context, bfn, 2), (0, 2));
            } else {
                vm.bed.trim(GUEST, 2).unwrap();
                assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
                assert_eq!(vm.attach(DEVICE, context), 0);
            }
        }
    });
}

/// INV-45: a context that goes while others map is gone for them, and takes everything with it.
#[test]
fn a_context_may_be_freed_while_it_is_mapped_into() {
    with(&config(3), |vm| {
        vm.context();
        for _ in 0..40 {
            let context = vm.context();
            let bed = vm.bed;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let vm = Vm::new(bed, GUEST, 1);
                    for bfn in 0..2000 {
                        let (status, _) = vm.map(context, bfn * 7, bfn % 4096, 3, RW);
                        if status == err(Errno::EINVAL) {
                            break;
                        }
                        assert_eq!(status, 0);
                    }
                });
                let vm = Vm::new(bed, GUEST, 2);
                assert_eq!(vm.free(context, pviommu_abi::FreeFlags::empty()), 0);
            });
            assert_eq!(vm.bed.counters().references_live, 0);
        }
        vm.end();
    });
}

/// INV-59, D15: two devices that change places over and over, one CPU each, in opposite directions. Nobody
/// waits for a lock that the other holds, so this ends.
#[test]
fn devices_that_cross_each_other_between_two_contexts_never_stop() {
    const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
    let mut config = config(3);
    config.devices.push(DeviceConfig { function: SECOND, ..DeviceConfig::default() });
    with(&config, |vm| {
        let contexts = [vm.context(), vm.context()];
        for (context, gfn) in contexts.into_iter().zip(1..) {
            assert_eq!(vm.map(context, 10, gfn, 1, RW), (0, 1));
        }
        let bed = vm.bed;
        std::thread::scope(|scope| {
            for (cpu, device, places) in
                [(1, DEVICE, contexts), (2, SECOND, [contexts[1], contexts[0]])]
            {
                scope.spawn(move || {
                    let vm = Vm::new(bed, GUEST, cpu);
                    for round in 0..ROUNDS as usize {
                        assert_eq!(vm.attach(device, places[round % 2]), 0);
                    }
                });
            }
        });
        assert!(vm.lands_in(DEVICE, 10, 2) && vm.lands_in(SECOND, 10, 1));
        vm.end();
    });
}
