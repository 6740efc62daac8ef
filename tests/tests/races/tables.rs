//! Passes over whole tables, and looks at them, while others edit.

use pviommu_abi::{Bfn, Errno, FreeFlags};
use pviommu_hypervisor::DumpLine;
use pviommu_testbed::machine::Config;

use crate::{
    explore::{explore, race, strike},
    kit::{DEVICE, GUEST, RW, Vm, err},
};

fn one_guest() -> Config {
    Config::one_guest(64)
}

/// INV-07: what a trim takes is not what a map is about to use.
#[test]
fn a_trim_meets_maps_and_unmaps() {
    explore(one_guest, |vm| {
        let context = vm.attached_context();
        let edit = |vm: &Vm<'_>| {
            for bfn in [10, 0x40_0000] {
                assert_eq!(vm.map(context, bfn, 1, 2, RW), (0, 2));
                assert_eq!(vm.unmap(context, bfn, 2), (0, 2));
            }
        };
        let trim = |vm: &Vm<'_>| {
            for _ in 0..2 {
                assert_eq!(vm.bed.trim(GUEST, 2), Ok(()));
            }
        };
        race(vm, &[&edit, &trim, &|vm| strike(vm, DEVICE, &[10, 0x40_0000])]);
        vm.end();
    });
}

/// INV-07: who found the way to an empty table before it went is awaited.
#[test]
fn a_trim_meets_maps_into_tables_that_have_emptied() {
    explore(one_guest, |vm| {
        let context = vm.context();
        let edit = |vm: &Vm<'_>| {
            for _ in 0..4 {
                assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
                assert_eq!(vm.unmap(context, 10, 1), (0, 1));
            }
        };
        let trim = |vm: &Vm<'_>| {
            for _ in 0..4 {
                assert_eq!(vm.bed.trim(GUEST, 2), Ok(()));
            }
        };
        race(vm, &[&edit, &trim]);
        vm.end();
    });
}

/// INV-45: a context that goes is gone for who maps into it, and takes everything along.
#[test]
fn a_context_is_freed_while_it_is_mapped_into() {
    explore(one_guest, |vm| {
        let context = vm.context();
        let map = |vm: &Vm<'_>| {
            for bfn in [10, 11, 0x1000] {
                let (status, _) = vm.map(context, bfn, 1, 2, RW);
                let _ = vm.unmap(context, bfn, 2);
                assert!([0, err(Errno::EINVAL)].contains(&status), "map {status}");
            }
        };
        race(vm, &[&map, &|vm| assert_eq!(vm.free(context, FreeFlags::empty()), 0)]);
        assert_eq!(vm.bed.counters().references_live, 0);
        vm.end();
    });
}

/// INV-07: no table goes under the eyes of who looks at it.
#[test]
fn a_context_is_looked_at_while_it_goes() {
    explore(one_guest, |vm| {
        let context = vm.context();
        for bfn in [10, 0x1000, 0x40_0000] {
            assert_eq!(vm.map(context, bfn, 1, 2, RW), (0, 2));
        }
        let look = |vm: &Vm<'_>| {
            for from in [10, 0x1000] {
                // One line is some entries, and a whole table is hundreds of steps.
                let mut lines = [DumpLine::EMPTY; 1];
                let domain = vm.bed.domain(GUEST);
                let _ = vm.bed.iommu().dump(domain, 2, context, Bfn(from), &mut lines);
            }
        };
        race(vm, &[&|vm| assert_eq!(vm.free(context, FreeFlags::empty()), 0), &look]);
        vm.end();
    });
}
