//! Maps that follow the P2M when there is no memory: what has gone must not stay.

use pviommu_abi::{Errno, Gfn};
use pviommu_hypervisor::{
    Backing, DefaultMap, Outcome, P2mChange,
    addr::{GfnRange, Mfn},
    platform::Access,
};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Config, Reach, Step, When},
};

use crate::kit::{DEVICE, GUEST, Vm, with};

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

const GIB: u64 = 1 << 18;

/// 1 GiB in one piece, and a share of table frames that pays for the split of nothing large.
fn config(map: DefaultMap, share: u32) -> Config {
    let mut config = Config::one_guest(8).with_default_map(map);
    let domain = &mut config.domains[0];
    domain.contiguous = vec![gfns(GIB, GIB)];
    domain.ram.extend(domain.contiguous.clone());
    domain.limits.default_map_frames = share;
    config
}

const MAPS: [DefaultMap; 2] = [DefaultMap::IdentityGfn, DefaultMap::IdentityMfn];

fn frame(vm: &Vm<'_>, gfn: u64) -> Mfn {
    vm.bed.board().machine_frame(GUEST, Gfn(gfn)).unwrap()
}

fn at(vm: &Vm<'_>, gfn: u64, frame: Mfn) -> u64 {
    if vm.bed.domain(GUEST).default_map() == DefaultMap::IdentityGfn { gfn } else { frame.0 }
}

fn lands(vm: &Vm<'_>, bfn: u64) -> Option<Mfn> {
    let hit = vm.bed.dma_probe(DEVICE, bfn << 12, Direction::Write).ok();
    hit.filter(|hit| hit.reach != Reach::Scratch).map(|hit| hit.frame)
}

/// The domain's share and the machine's pool are both empty, one by one: a removal takes place.
#[test]
fn a_removal_never_fails_for_memory() {
    for map in MAPS {
        for pool in [false, true] {
            for (gfn, pages) in [(GIB + 777, 1), (GIB, 1), (2 * GIB - 1, 1), (GIB + 500, 2000)] {
                with(&config(map, if pool { 4096 } else { 40 }), |vm| {
                    let old = frame(vm, gfn);
                    assert_eq!(lands(vm, at(vm, gfn, old)), Some(old));
                    if pool {
                        vm.bed.schedule().set(Step::Alloc, When::From(1));
                        vm.bed.schedule().set(Step::Reserve, When::From(1));
                    } else {
                        // The guest's own contexts have used up the share.
                        assert_eq!(vm.init(64, 0), 0);
                        while vm.alloc().is_ok() {}
                    }
                    let gone = vm.bed.balloon_out_range(GUEST, gfns(gfn, pages)).unwrap();
                    assert_eq!(gone.len() as u64, pages);
                    for (i, gone) in (0..).zip(gone) {
                        assert!(vm.hits_background(DEVICE, at(vm, gfn + i, gone)));
                    }
                    vm.bed.schedule().clear();
                    vm.end();
                });
            }
        }
    }
}

/// Additions may fail; then the old frames are not reached, whichever allocation it was.
#[test]
fn an_exchange_that_finds_no_memory_leaves_nothing_of_the_old_page() {
    for map in MAPS {
        let calls = with(&config(map, 64), |vm| {
            vm.bed.schedule().set(Step::Alloc, When::Never);
            assert!(vm.bed.exchange_range(GUEST, gfns(GIB + 1000, 600)).is_ok());
            vm.bed.schedule().calls(Step::Alloc)
        });
        assert!(calls > 1, "{calls}");
        for n in 1..=calls {
            for when in [When::Nth(n), When::From(n)] {
                with(&config(map, 64), |vm| {
                    let old: Vec<Mfn> = (1000..1600).map(|i| frame(vm, GIB + i)).collect();
                    assert_eq!(lands(vm, at(vm, GIB + 1000, old[0])), Some(old[0]));
                    vm.bed.schedule().set(Step::Alloc, when);
                    let told = vm.bed.exchange_range(GUEST, gfns(GIB + 1000, 600));
                    vm.bed.schedule().clear();
                    assert!(told.is_ok() || told == Err(Errno::ENOMEM), "{told:?}");
                    for (gfn, old) in (GIB + 1000..).zip(&old) {
                        let new = frame(vm, gfn);
                        assert_ne!(new, *old);
                        let found = lands(vm, at(vm, gfn, new));
                        assert!(found.is_none() || found == Some(new), "{n}: an old frame");
                        if map == DefaultMap::IdentityMfn {
                            assert!(vm.hits_background(DEVICE, old.0), "{n}");
                        }
                    }
                    assert_eq!(vm.bed.violations(), []);
                    vm.end();
                });
            }
        }
    }
}

/// A page that cannot be mapped does not keep the others from it.
#[test]
fn a_populate_that_finds_no_memory_can_be_made_good_later() {
    for map in MAPS {
        with(&config(map, 64), |vm| {
            vm.bed.schedule().set(Step::Alloc, When::From(1));
            let far = 1 << 30;
            let told = vm.bed.populate_range(GUEST, gfns(far, 4));
            vm.bed.schedule().clear();
            assert_eq!(told, Err(Errno::ENOMEM));
            for i in 0..4 {
                // There may be a table for some of them.
                let now = frame(vm, far + i);
                assert!(lands(vm, at(vm, far + i, now)).is_none_or(|found| found == now));
            }
            // The guest has the pages: taking them back and putting them in again mends it.
            assert!(vm.bed.balloon_out_range(GUEST, gfns(far, 4)).is_ok());
            assert!(vm.bed.populate_range(GUEST, gfns(far, 4)).is_ok());
            for i in 0..4 {
                let now = frame(vm, far + i);
                assert_eq!(lands(vm, at(vm, far + i, now)), Some(now));
            }
            vm.end();
        });
    }
}

/// And that there is none is found out once for all of them.
#[test]
fn a_range_that_there_is_no_memory_for_is_not_tried_page_by_page() {
    with(&config(DefaultMap::IdentityGfn, 4096), |vm| {
        let (first, at) = (frame(vm, GIB), gfns(4 * GIB + 1, 2000));
        let new = Backing { first, access: Access::all(), mmio: true };
        let mut change = P2mChange::new(at, None, Some(new));
        vm.bed.schedule().set(Step::Alloc, When::From(1));
        let done = vm.bed.board().under_p2m_lock(GUEST, || {
            vm.bed.iommu().p2m_changed(vm.bed.domain(GUEST), 0, &mut change)
        });
        assert_eq!(done, Outcome::Done(Errno::ENOMEM.to_ret()));
        assert!(vm.bed.schedule().calls(Step::Alloc) < 20);
        assert!([1, 777, 2000].iter().all(|page| lands(vm, 4 * GIB + page).is_none()));
    });
}
