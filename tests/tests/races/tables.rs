//! Passes over whole tables, and looks at them, while others edit.

use pviommu_abi::{Bfn, Errno, FreeFlags, Lookup, Subop};
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

/// INV-07: who has found the way into a table that an unmap has emptied is awaited before it is freed.
#[test]
fn tables_that_an_unmap_gives_back_are_looked_into_meanwhile() {
    explore(one_guest, |vm| {
        let context = vm.context();
        let at = |table: u64| table << 9;
        for table in 0..10 {
            assert_eq!(vm.map(context, at(table), 1, 1, RW), (0, 1));
        }
        // As many as stay without entries, so that the others go at once.
        for table in 0..8 {
            assert_eq!(vm.unmap(context, at(table), 1), (0, 1));
        }
        let edit = |vm: &Vm<'_>| {
            for table in [8, 9] {
                assert_eq!(vm.unmap(context, at(table), 1), (0, 1));
            }
        };
        let look = |vm: &Vm<'_>| {
            for table in [8, 9, 8, 9] {
                let (ctx_id, bfn) = (u32::from(context.0), Bfn(at(table)));
                let mut argument = Lookup { ctx_id, bfn, ..Lookup::default() };
                let status = vm.op(Subop::LOOKUP, &mut argument);
                assert!([0, err(Errno::ENOENT)].contains(&status), "{status}");
            }
        };
        race(vm, &[&edit, &look]);
        assert_eq!(vm.bed.violations(), []);
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
