//! Two guests: what one uses up is its own.

use pviommu_abi::{ContextId, Errno, PciDevice};
use pviommu_testbed::machine::Config;

use crate::{
    deferred::unmap_later,
    kit::{DEVICE, OTHER, RW, SECOND, Vm, err, two_guests, with},
};

fn config() -> Config {
    Config { cpus: 2, ..two_guests(512) }
}

/// Takes all that it can get: contexts, tables, removals that wait; how much that was.
fn take_everything(vm: &Vm<'_>, device: PciDevice) -> (u64, u64) {
    assert_eq!(vm.init(12, 8), 0);
    let contexts: Vec<ContextId> = std::iter::from_fn(|| vm.alloc().ok()).collect();
    assert_eq!(vm.attach(device, contexts[0]), 0);
    assert_eq!(vm.map(contexts[0], 0, 0, 256, RW), (0, 256));
    unmap_later(vm, contexts[0], 0, 200);
    // A table for each.
    let mut tables = 0;
    for context in &contexts {
        for bfn in 1.. {
            match vm.map(*context, bfn << 18, bfn % 512, 1, RW) {
                (0, 1) => tables += 1,
                (status, _) => {
                    let ends = [Errno::ENOMEM, Errno::EINVAL, Errno::EADDRNOTAVAIL, Errno::EBUSY];
                    assert!(ends.map(err).contains(&status), "{status}");
                    break;
                }
            }
        }
    }
    (contexts.len() as u64, tables)
}

/// INV-57: a guest that takes everything it can get takes nothing from another, which gets as much as
/// if it were alone.
#[test]
fn a_guest_that_uses_up_all_it_has_takes_nothing_from_another() {
    let alone = with(&config(), |vm| {
        let other = Vm::new(vm.bed, OTHER, 1);
        let got = take_everything(&other, SECOND);
        assert_eq!(vm.bed.teardown(OTHER, 1), 0);
        vm.end();
        got
    });
    assert!(alone.0 > 0 && alone.1 > 0, "{alone:?}");
    with(&config(), |vm| {
        take_everything(vm, DEVICE);
        assert_eq!(vm.map(ContextId(1), 1 << 34, 0, 1, RW), (err(Errno::ENOMEM), 0), "used up");
        let other = Vm::new(vm.bed, OTHER, 1);
        assert_eq!(take_everything(&other, SECOND), alone);
        // And what it has works.
        assert_eq!(other.bed.violations(), []);
        assert_eq!(vm.bed.teardown(OTHER, 1), 0);
        vm.end();
    });
}
