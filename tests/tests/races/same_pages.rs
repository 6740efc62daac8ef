//! CPUs that map and unmap the same bus frames, and neighbours in one table.

use std::sync::atomic::{AtomicU32, Ordering};

use pviommu_abi::{Errno, Gfn};
use pviommu_hypervisor::addr::GfnRange;
use pviommu_testbed::machine::Config;

use crate::{
    explore::{Act, clear, explore, race, strike},
    kit::{DEVICE, RW, Vm, err},
};

fn one_guest() -> Config {
    Config::one_guest(64)
}

/// A guest with memory for a large leaf.
fn one_large() -> Config {
    let mut config = Config::one_guest(1024);
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(512), 512).unwrap()];
    config
}

/// INV-21: who unmaps a page gives its reference back, and nobody else does.
#[test]
fn two_cpus_map_and_unmap_the_same_bus_frames() {
    explore(one_guest, |vm| {
        let context = vm.attached_context();
        let work = |vm: &Vm<'_>| {
            for gfn in [1, 11] {
                let (status, _) = vm.map(context, 10, gfn, 2, RW);
                assert!([0, err(Errno::EADDRINUSE)].contains(&status), "map {status}");
                let (status, _) = vm.unmap(context, 10, 2);
                assert!([0, err(Errno::ENOENT)].contains(&status), "unmap {status}");
            }
        };
        race(vm, &[&work, &work, &|vm| strike(vm, DEVICE, &[10, 11, 10])]);
        clear(vm, context, 10..12);
        vm.end();
    });
}

/// INV-07, INV-21: in a leaf table that empties and is freed while a neighbour goes in.
#[test]
fn neighbours_come_and_go_in_a_table_that_is_freed_when_it_is_empty() {
    explore(one_guest, |vm| {
        let context = vm.attached_context();
        // As many tables without entries as a context keeps: the next one that empties goes.
        for table in 1..9 {
            assert_eq!(vm.map(context, table << 9, 1, 1, RW), (0, 1));
            assert_eq!(vm.unmap(context, table << 9, 1), (0, 1));
        }
        let work = |bfn: u64| {
            move |vm: &Vm<'_>| {
                for gfn in [bfn, bfn + 2] {
                    assert_eq!(vm.map(context, bfn, gfn, 1, RW), (0, 1));
                    assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
                }
            }
        };
        let (low, high) = (work(10), work(11));
        race(vm, &[&low, &high, &|vm| strike(vm, DEVICE, &[10, 11, 10])]);
        vm.end();
    });
}

/// INV-06, INV-21: a large leaf is split once, whoever comes first.
#[test]
fn two_cpus_unmap_pages_of_one_large_leaf() {
    explore(one_large, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x200, 512, 512, RW), (0, 512));
        let unmap = |bfn: u64| move |vm: &Vm<'_>| assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
        let (one, another) = (unmap(0x203), unmap(0x280));
        let stays = |vm: &Vm<'_>| assert!(vm.writes(DEVICE, 0x300) && vm.reads(DEVICE, 0x202));
        race(vm, &[&one, &another, &stays]);
        assert!(vm.hits_background(DEVICE, 0x203) && vm.hits_background(DEVICE, 0x280));
        assert!(vm.lands_in(DEVICE, 0x204, 516));
        vm.end();
    });
}

/// INV-21: what was put aside for the split of a leaf is asked for once, and goes with it.
#[test]
fn one_cpu_unmaps_a_page_of_a_large_leaf_and_another_all_of_it() {
    explore(one_large, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x200, 512, 512, RW), (0, 512));
        let all = |vm: &Vm<'_>| {
            let (status, pages) = vm.unmap(context, 0x200, 512);
            let after = [(0, 512), (err(Errno::ENOENT), 0x80)];
            assert!(after.contains(&(status, pages)), "{status} {pages}");
        };
        let part = |vm: &Vm<'_>| {
            let after = [(0, 1), (err(Errno::ENOENT), 0)];
            assert!(after.contains(&vm.unmap(context, 0x280, 1)));
        };
        race(vm, &[&all, &part, &|vm| strike(vm, DEVICE, &[0x280, 0x300])]);
        let _ = vm.unmap(context, 0x281, 0x17f);
        vm.end();
    });
}

/// INV-21: of two that remove a large leaf, one gives its pages back.
#[test]
fn two_cpus_unmap_all_of_one_large_leaf() {
    explore(one_large, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x200, 512, 512, RW), (0, 512));
        let unmapped = AtomicU32::new(0);
        let all = |vm: &Vm<'_>| {
            let (status, pages) = vm.unmap(context, 0x200, 512);
            assert!([0, err(Errno::ENOENT)].contains(&status), "unmap {status}");
            unmapped.fetch_add(pages, Ordering::Relaxed);
        };
        race(vm, &[&all, &all, &|vm| strike(vm, DEVICE, &[0x280, 0x300])]);
        assert_eq!(unmapped.into_inner(), 512);
        vm.end();
    });
}

/// INV-21: a batch holds the lock of a leaf table over several of its elements.
#[test]
fn batches_and_single_calls_meet_in_one_table() {
    use crate::batch_kit::{ELEMENTS, HEADER, RUN_ALL, header, map, unmap};
    use pviommu_abi::Subop;
    use zerocopy::IntoBytes;
    explore(one_guest, |vm| {
        let context = vm.attached_context();
        let batch = |vm: &Vm<'_>| {
            let mut elements = [10, 12, 13].map(|bfn| map(bfn, bfn, 1)).to_vec();
            elements.extend([10, 12, 13].map(|bfn| unmap(bfn, 1)));
            elements[0].done = 0;
            let batch = header(context, RUN_ALL, elements.len());
            vm.bed.guest_write(vm.guest.domain(), HEADER, batch.as_bytes());
            vm.bed.guest_write(vm.guest.domain(), ELEMENTS, elements.as_bytes());
            assert_eq!(vm.guest.call(u64::from(Subop::BATCH.0), HEADER), 0);
        };
        let single: Act<'_> = &|vm| {
            for bfn in [12, 11] {
                let (status, _) = vm.map(context, bfn, 20, 1, RW);
                assert!([0, err(Errno::EADDRINUSE)].contains(&status), "map {status}");
            }
            let (status, _) = vm.unmap(context, 12, 1);
            assert!([0, err(Errno::ENOENT)].contains(&status), "unmap {status}");
        };
        race(vm, &[&batch, single, &|vm| strike(vm, DEVICE, &[12, 10, 12])]);
        clear(vm, context, 10..14);
        vm.end();
    });
}
