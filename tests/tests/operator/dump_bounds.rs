//! How much one call for a dump does.

use pviommu_abi::{Bfn, MapFlags};
use pviommu_hypervisor::platform::{UnitFacts, UnitFeatures};
use pviommu_testbed::machine::Config;

use crate::{
    kinds,
    kit::{RW, Vm, over_scratch, with},
    look::{dump, dump_all},
};

/// Entries that a call looks at, at most.
const LOOKS: u64 = 4096;

/// Every other page with another access, so that no two entries are alike.
fn fill(vm: &Vm<'_>, context: pviommu_abi::ContextId, pages: u64) {
    for bfn in (0..pages).step_by(2) {
        assert_eq!(vm.map(context, bfn, bfn % 60, 1, RW), (0, 1));
        assert_eq!(vm.map(context, bfn + 1, bfn % 60, 1, MapFlags::READABLE), (0, 1));
    }
}

/// However much room there is.
#[test]
fn a_call_looks_at_so_many_small_leaves_and_no_more() {
    with(&Config::one_guest(64), |vm| {
        let context = vm.attached_context();
        fill(vm, context, 3 * LOOKS);
        let (dumped, lines) = dump(vm, context, Bfn(0), 4 * LOOKS as usize);
        assert_eq!((lines.len() as u64, dumped.next), (LOOKS, Some(Bfn(LOOKS))));
        let (dumped, lines) = dump(vm, context, Bfn(5), 7);
        assert_eq!((lines.len(), dumped.next), (7, Some(Bfn(12))));
        vm.end();
    });
}

/// Where a run is longer than a call looks, it goes on in the next.
#[test]
fn a_run_that_is_longer_than_a_call_goes_on_in_the_next() {
    with(&Config::one_guest(3 * LOOKS), |vm| {
        let context = vm.attached_context();
        for first in (0..2 * LOOKS).step_by(512) {
            assert_eq!(vm.map(context, first + 1, first, 512, RW), (0, 512));
        }
        let (dumped, _) = dump(vm, context, Bfn(1), 4 * LOOKS as usize);
        assert_eq!(dumped.next, Some(Bfn(LOOKS + 1)));
        let pages: u64 = dump_all(vm, context, 1000)
            .iter()
            .filter(|line| line.bfns.last().0 <= 2 * LOOKS)
            .map(|line| line.bfns.pages())
            .sum();
        assert_eq!(pages, 2 * LOOKS);
        vm.end();
    });
}

/// 2^45 bus frames, and next to nothing in them.
#[test]
fn an_empty_table_of_57_bits_is_told_in_a_call_or_two() {
    let facts = kinds::unit().facts();
    let features = facts.features | UnitFeatures::LEVELS_5;
    let wide = UnitFacts { features, bus_address_bits: 57, host_address_bits: 52, ..facts };
    let mut config = Config::one_guest(64);
    config.units = vec![wide];
    with(&config, |vm| {
        let context = vm.attached_context();
        for far in [None, Some((1u64 << 45) - 1)] {
            if let Some(bfn) = far {
                assert_eq!(vm.map(context, bfn, 1, 1, RW), (0, 1));
            }
            let (mut calls, mut from, mut told) = (0, Some(Bfn(0)), Vec::new());
            while let Some(at) = from {
                let (dumped, lines) = dump(vm, context, at, 16);
                told.extend(lines);
                from = dumped.next;
                calls += 1;
            }
            assert!(calls <= 2, "{calls}");
            let holes = 1 + usize::from(kinds::has_hypertransport());
            let blocked = if over_scratch() { holes } else { 0 };
            assert_eq!(told.len(), blocked + usize::from(far.is_some()), "{told:?}");
        }
        vm.end();
    });
}
