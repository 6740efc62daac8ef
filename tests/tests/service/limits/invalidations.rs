//! Invalidations that a domain may cause, in a period that the embedder's timer ends.

use pviommu_abi::{ContextId, Subop};
use pviommu_hypervisor::Outcome;
use pviommu_testbed::machine::Config;
use zerocopy::{FromBytes, IntoBytes};

use crate::kit::{DEVICE, GUEST, OTHER, RW, SECOND, Vm, two_guests, with};
use pviommu_testbed::vm::{map_argument, unmap_argument};

/// Where an argument lies in guest memory.
const AT: u64 = 0x4000;

fn config(most: u32) -> Config {
    let mut config = two_guests(2048);
    config.domains.iter_mut().for_each(|domain| domain.limits.max_invalidations = most);
    config
}

/// One entry into the service.
fn enter<T: IntoBytes + FromBytes>(vm: &Vm<'_>, subop: Subop, argument: &mut T) -> Outcome {
    vm.bed.guest_write(GUEST, AT, argument.as_mut_bytes());
    let outcome = vm.bed.hypercall(GUEST, 0, u64::from(subop.0), AT);
    vm.bed.guest_read(GUEST, AT, argument.as_mut_bytes());
    outcome
}

fn spent(vm: &Vm<'_>) -> u64 {
    vm.bed.domain(GUEST).stats().invalidations
}

/// Unmaps page by page until the domain has to wait.
fn use_up(vm: &Vm<'_>, context: ContextId) {
    for bfn in 0..400 {
        let mut argument = unmap_argument(context, bfn, 1);
        if enter(vm, Subop::UNMAP_PAGES, &mut argument) == Outcome::Continue {
            assert_eq!((argument.unmapped, argument.nr_pages), (0, 1), "nothing has happened");
            assert!(vm.writes(DEVICE, bfn));
            return;
        }
    }
    unreachable!("it never has to wait");
}

/// INV-57: and nobody else is held up.
#[test]
fn a_domain_that_has_used_up_its_invalidations_is_told_to_come_again() {
    with(&config(40), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0, 0, 500, RW), (0, 500));
        use_up(vm, context);
        assert_eq!(spent(vm), 40);
        assert!(vm.bed.domain(GUEST).stats().calls_put_off > 0);
        let mut map = map_argument(context, 5000, 0, 1, RW);
        assert_eq!(enter(vm, Subop::MAP_PAGES, &mut map), Outcome::Continue);
        assert_eq!(spent(vm), 40);
        // A question costs nothing.
        assert_eq!(super::told(vm).contexts_used, 1);

        let other = Vm::new(vm.bed, OTHER, 0);
        let theirs = other.context();
        assert_eq!(other.attach(SECOND, theirs), 0);
        assert_eq!(other.map(theirs, 0, 0, 5, RW), (0, 5));
        assert_eq!(other.unmap(theirs, 0, 5), (0, 5));

        vm.bed.domain(GUEST).renew_invalidations();
        assert_eq!(vm.map(context, 5000, 0, 1, RW), (0, 1));
        use_up(vm, context);
        assert!(spent(vm) >= 80);
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

/// A call that needs many gives way when they are used up, and exceeds them by what a piece takes.
#[test]
fn a_long_call_stops_soon_after_they_are_used_up() {
    const MOST: u32 = 8;
    with(&config(MOST), |vm| {
        let context = vm.attached_context();
        vm.bed.domain(GUEST).renew_invalidations();
        let before = spent(vm);
        let mut rest = map_argument(context, 0, 0, 2000, RW);
        while enter(vm, Subop::MAP_PAGES, &mut rest) == Outcome::Continue {
            vm.bed.domain(GUEST).renew_invalidations();
        }
        assert_eq!(rest.mapped, 2000);
        vm.bed.domain(GUEST).renew_invalidations();
        let mut unmap = unmap_argument(context, 0, 2000);
        let mut last = spent(vm);
        while enter(vm, Subop::UNMAP_PAGES, &mut unmap) == Outcome::Continue {
            let now = spent(vm);
            assert!(now - last <= u64::from(MOST) + 2, "{} at once", now - last);
            last = now;
            vm.bed.domain(GUEST).renew_invalidations();
        }
        assert_eq!(unmap.unmapped, 2000);
        assert!(spent(vm) > before);
        vm.end();
    });
}
