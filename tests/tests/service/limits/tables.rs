//! Table frames: what is charged is what there is, and the search for empty ones.

use pviommu_abi::{Errno, Gfn};
use pviommu_hypervisor::{DefaultMap, Role, addr::GfnRange};
use pviommu_testbed::machine::{Config, DomainConfig, Step, When};

use crate::kit::{DEVICE, GUEST, RW, Vm, err, with};

/// Frames that are charged to the guest, and that it has; a scratch page is one.
fn charged(vm: &Vm<'_>) -> (u32, u32) {
    let now = vm.bed.counters();
    let has = now.table_frames_live + now.table_frames_reserved + now.scratch_frames_live;
    (vm.bed.domain(GUEST).stats().table_frames, has)
}

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// INV-57, also where frames are asked for several at a time, and there are fewer.
#[test]
fn a_frame_that_the_embedder_does_not_have_is_not_charged() {
    let mut config = Config::one_guest(2000).with_default_map(DefaultMap::Host);
    config.domains[0].default_map = DefaultMap::Blocked;
    config.domains[0].role = Role::Hardware;
    for nth in 1..24 {
        with(&config, |vm| {
            vm.bed.schedule().set(Step::Alloc, When::Nth(nth));
            let set = vm.bed.set_default(GUEST, DefaultMap::Host);
            vm.bed.schedule().clear();
            let (charged, has) = charged(vm);
            assert_eq!(charged, has, "{nth}: {set:?}");
            vm.end();
        });
    }
}

/// Large leaves of a map that the guest did not make take frames for their split up to a point: what is left is for
/// tables.
#[test]
fn a_quarter_of_the_share_is_not_put_aside_for_splits() {
    let pages = 200 * 512;
    for allowed in [60, 100] {
        let mut config = Config::one_guest(64);
        let domain: &mut DomainConfig = &mut config.domains[0];
        // Of 2 MiB each, so that none is larger.
        let blocks = (0..200).map(|i| gfns((1 << 20) + i * 1024, 512));
        domain.contiguous = blocks.collect();
        domain.ram.extend(domain.contiguous.clone());
        domain.limits.default_map_frames = allowed;
        domain.limits.max_pinned_pages = 2 * pages;
        with(&config, |vm| {
            assert_eq!(vm.bed.set_default(GUEST, DefaultMap::Guest), Ok(()));
            let stats = vm.bed.domain(GUEST).stats();
            let (used, allowed) = (stats.table_frames, stats.table_frames_allowed);
            let put_aside = vm.bed.counters().table_frames_reserved;
            assert!(put_aside > allowed / 2, "{put_aside} of {allowed}");
            assert_eq!(allowed - used, allowed / 4 + 1, "{put_aside} are put aside");
            assert!((0..200).all(|i| vm.writes(DEVICE, (1 << 20) + i * 1024 + 7)));
            vm.end();
        });
    }
}

/// Fills the guest's share with leaf tables that each have an entry.
fn fill(vm: &Vm<'_>) -> pviommu_abi::ContextId {
    let context = vm.attached_context();
    let table = (0..).find(|table| vm.map(context, table << 9, 5, 1, RW).0 != 0).unwrap();
    assert!(table > 40);
    context
}

fn scarce() -> Config {
    let mut config = Config::one_guest(64);
    config.domains[0].table_frames = Some(80);
    config
}

/// INV-54.
#[test]
fn a_search_for_empty_tables_gives_way_if_it_is_time_and_not_otherwise() {
    with(&scarce(), |vm| {
        let context = fill(vm);
        let entries_of = |bfn| {
            let before = vm.guest.entries();
            assert_eq!(vm.map(context, bfn, 5, 1, RW), (err(Errno::ENOMEM), 0));
            vm.guest.entries() - before
        };
        assert_eq!(entries_of(1 << 30), 1, "nobody is in a hurry");
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        assert!(entries_of(1 << 30) > 1);
        vm.bed.schedule().clear();
        vm.end();
    });
}
