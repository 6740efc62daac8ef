//! Calls that give way: the same result as without, progress each time, nothing trusted.

use pviommu_abi::{Errno, FreeFlags, Gfn, OwnershipMode, Subop, TakeOwnership};
use pviommu_hypervisor::{
    Backing, DefaultMap, Outcome, P2mChange, Role,
    addr::GfnRange,
    platform::{Access, UnitFeatures},
};
use pviommu_testbed::machine::{Config, Step, When, Work};
use zerocopy::{FromBytes, IntoBytes};

use crate::deferred::{flush_all, unmap_later};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest};
use pviommu_testbed::vm::map_argument;

const PAGES: u32 = 2000;

fn yielding_every(vm: &Vm<'_>, n: u64) {
    vm.bed.schedule().set(Step::Yield, When::Every(n));
}

/// INV-54: every call makes progress, however often it gives way.
#[test]
fn a_long_call_gives_way_and_ends_as_if_it_had_not() {
    for every in [1, 2, 3] {
        with_guest(u64::from(PAGES), |vm| {
            let context = vm.attached_context();
            yielding_every(vm, every);
            let before = vm.guest.entries();
            assert_eq!(vm.map(context, 77, 0, PAGES, RW), (0, PAGES));
            assert!(vm.guest.entries() - before > 2, "it gave way");
            assert!((0..u64::from(PAGES)).step_by(97).all(|i| vm.lands_in(DEVICE, 77 + i, i)));
            assert_eq!(vm.unmap(context, 77, PAGES), (0, PAGES));
            assert!((0..u64::from(PAGES)).all(|i| !vm.reads(DEVICE, 77 + i)));
            assert_eq!(vm.map(context, 0, 0, PAGES, RW), (0, PAGES));
            let before = vm.guest.entries();
            assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
            assert!(vm.guest.entries() - before > 2, "freeing gives way, too");
            vm.end();
        });
    }
}

/// INV-54, D10: and not at nearly every page.
#[test]
fn it_is_asked_at_least_every_256_pages_whether_to_give_way() {
    with_guest(u64::from(PAGES), |vm| {
        let context = vm.attached_context();
        let asked = |vm: &Vm<'_>| vm.bed.schedule().calls(Step::Yield);
        let start = asked(vm);
        assert_eq!(vm.map(context, 5, 0, PAGES, RW), (0, PAGES));
        let mapped = asked(vm);
        assert_eq!(vm.unmap(context, 5, PAGES), (0, PAGES));
        let least = u64::from(PAGES) / 256;
        let looks = [mapped - start, asked(vm) - mapped];
        assert!(looks.iter().all(|looks| (least..least * 4).contains(looks)), "{looks:?}");
        vm.end();
    });
}

/// INV-54: what a flush gives back, too.
#[test]
fn single_pages_that_waited_are_given_back_256_at_a_time() {
    with_guest(u64::from(PAGES), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 0, PAGES, RW), (0, PAGES));
        let tables = || vm.bed.domain(GUEST).stats().table_frames;
        let before = tables();
        assert_eq!(unmap_later(vm, context, 5, PAGES), (0, PAGES));
        let board = vm.bed.board();
        let most = board.pieces_of(|| assert_eq!(flush_all(vm, context).0, 0));
        assert_eq!(most[Work::Released as usize], 256);
        assert!(
            tables() <= before + 1,
            "what it was written down in is given back, but for a frame"
        );
        vm.end();
    });
}

/// And of what is in a row, at most a run more than that.
#[test]
fn runs_that_waited_are_given_back_256_pages_at_a_time() {
    let mut config = Config::one_guest(64);
    let block = GfnRange::of_pages(Gfn(0x1000), 2048).unwrap();
    config.domains[0].contiguous = vec![block];
    config.domains[0].ram.push(block);
    with(&config, |vm| {
        let context = vm.attached_context();
        for run in 0..8 {
            // No large leaf, and nowhere two runs that follow each other.
            let (bfn, gfn) = (run * 1024 + 1, 0x1000 + (7 - run) * 256);
            assert_eq!(vm.map(context, bfn, gfn, 256, RW), (0, 256));
            assert_eq!(unmap_later(vm, context, bfn, 256), (0, 256));
        }
        let board = vm.bed.board();
        let most = board.pieces_of(|| assert_eq!(flush_all(vm, context).0, 0));
        assert_eq!(most[Work::Released as usize], 256);
        vm.end();
    });
}

/// The hardware domain with so many pages in a row, before it has a map; its unit has small leaves only.
fn host(pages: u64) -> Config {
    let mut config = Config::one_guest(64).with_default_map(DefaultMap::Host);
    let domain = &mut config.domains[0];
    domain.contiguous = vec![GfnRange::of_pages(Gfn(1 << 18), pages).unwrap()];
    domain.ram.extend(domain.contiguous.clone());
    (domain.role, domain.default_map) = (Role::Hardware, DefaultMap::Blocked);
    config.units[0].features.remove(UnitFeatures::LEAF_1G | UnitFeatures::LEAF_2M);
    config
}

/// INV-54: also in the middle of a run of memory that is mapped as one.
#[test]
fn a_host_map_gives_way_each_time_that_it_is_asked_to() {
    let pages = 1 << 16;
    with(&host(pages), |vm| {
        yielding_every(vm, 1);
        let (domain, mut given) = (vm.bed.domain(GUEST), 0);
        while vm.bed.iommu().set_default(domain, 0, DefaultMap::Host) == Outcome::Continue {
            given += 1;
        }
        assert!((pages / 256..pages / 256 + 8).contains(&given), "{given} times");
        vm.end();
    });
}

/// A call is continued only if it was asked to give way.
#[test]
fn a_switch_that_nobody_hurries_is_one_entry() {
    with(&Config::one_guest(2000).with_default_map(DefaultMap::Guest), |vm| {
        for mode in [OwnershipMode::CLEAR, OwnershipMode::GIVE_BACK, OwnershipMode::KEEP] {
            let before = vm.guest.entries();
            let mut take = TakeOwnership { mode, ..TakeOwnership::default() };
            assert_eq!(vm.op(Subop::TAKE_OWNERSHIP, &mut take), 0);
            assert_eq!(vm.guest.entries() - before, 1, "{mode:?}");
        }
        vm.end();
    });
}

#[test]
fn what_nobody_hurries_is_one_call() {
    with(&host(20_000), |vm| {
        let (domain, iommu) = (vm.bed.domain(GUEST), vm.bed.iommu());
        assert_eq!(iommu.set_default(domain, 0, DefaultMap::Host), Outcome::Done(0));
        vm.end();
    });
    let config = Config::one_guest(2000).with_default_map(DefaultMap::IdentityGfn);
    with(&config, |vm| {
        let at = GfnRange::of_pages(Gfn(0x1_0000), 1000).unwrap();
        let frames = vm.bed.board().machine_frame(GUEST, Gfn(0)).unwrap();
        let new = Backing { first: frames, access: Access::READ, mmio: true };
        let mut change = P2mChange::new(at, None, Some(new));
        let done = vm.bed.board().under_p2m_lock(GUEST, || {
            vm.bed.iommu().p2m_changed(vm.bed.domain(GUEST), 0, &mut change)
        });
        assert_eq!(done, Outcome::Done(0));
        let mut change = P2mChange::new(at, Some(frames), None);
        vm.bed.board().under_p2m_lock(GUEST, || {
            let gone = vm.bed.iommu().p2m_changed(vm.bed.domain(GUEST), 0, &mut change);
            assert_eq!(gone, Outcome::Done(0));
        });
    });
}

/// INV-54: an embedder that counts references page by page is not kept long by one call of `release`.
#[test]
fn a_long_unmap_gives_back_what_it_has_as_it_goes() {
    let pages = 20_000;
    with_guest(u64::from(pages), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 0, pages, RW), (0, pages));
        let before = vm.bed.counters().iotlb_flushes;
        assert_eq!(vm.unmap(context, 5, pages), (0, pages));
        assert!(vm.bed.counters().iotlb_flushes - before >= u64::from(pages) / 4608);
        vm.end();
    });
}

#[test]
fn a_1_gib_map_that_gives_way_is_mapped_all_the_same() {
    let pages = 512 * 512;
    let mut config = Config::one_guest(u64::from(pages));
    config.domains[0].contiguous = vec![GfnRange::of_pages(Gfn(0), u64::from(pages)).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        yielding_every(vm, 700);
        assert_eq!(vm.map(context, 0, 0, pages, RW), (0, pages));
        assert!((0..u64::from(pages)).step_by(9973).all(|i| vm.lands_in(DEVICE, i, i)));
        assert_eq!(vm.unmap(context, 0, pages), (0, pages));
        assert_eq!(vm.bed.counters().references_live, 0);
        vm.end();
    });
}

/// INV-50: what a continuation finds in guest memory is checked like a first call.
#[test]
fn a_guest_that_changes_the_argument_between_continuations_hurts_only_itself() {
    with_guest(u64::from(PAGES), |vm| {
        let context = vm.attached_context();
        yielding_every(vm, 1);
        let at = vm.guest.argument_address();
        let mut map = map_argument(context, 100, 0, PAGES, RW);
        vm.bed.guest_write(GUEST, at, map.as_bytes());
        let call = || vm.bed.hypercall(GUEST, 0, u64::from(Subop::MAP_PAGES.0), at);
        assert_eq!(call(), Outcome::Continue);
        vm.bed.guest_read(GUEST, at, map.as_mut_bytes());
        assert!(map.mapped > 0 && map.dfn.0 == 100 + u64::from(map.mapped));
        assert_eq!(map.nr_pages, PAGES - map.mapped);
        let done = map.mapped;
        // Into the interrupt range; around the end; back over what is mapped.
        for (bfn, pages, errno) in [
            (0xfedf0, 0x20, Errno::EADDRNOTAVAIL),
            (u64::MAX - 1, 3, Errno::EINVAL),
            (100, 1, Errno::EADDRINUSE),
        ] {
            (map.dfn.0, map.nr_pages) = (bfn, pages);
            vm.bed.guest_write(GUEST, at, map.as_bytes());
            assert_eq!(call(), Outcome::Done(err(errno)));
        }
        let mut bytes = [0; 40];
        vm.bed.guest_read(GUEST, at, &mut bytes);
        let seen = pviommu_abi::MapPages::read_from_bytes(&bytes).unwrap();
        assert_eq!(seen.mapped, done);
        assert_eq!(vm.bed.counters().references_live, u64::from(done));
        vm.bed.schedule().clear();
        vm.end();
    });
}

#[test]
fn a_teardown_that_gives_way_can_be_called_until_it_is_done() {
    with_guest(u64::from(PAGES), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 5, 0, PAGES, RW), (0, PAGES));
        let second = vm.context();
        assert_eq!(vm.map(second, 5, 0, PAGES, RW), (0, PAGES));
        yielding_every(vm, 1);
        vm.end();
    });
}
