//! Maps that follow the P2M: in step with it, and nothing stays that has gone (INV-03, INV-27).

use pviommu_abi::{ContextId, Errno, Gfn};
use pviommu_hypervisor::{
    Backing, DefaultMap, Outcome, P2mChange,
    addr::{GfnRange, Mfn},
    platform::Access,
};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Config, FrameKind, Half, Reach, Step, When},
};

use crate::kit::{DEVICE, GUEST, RW, Vm, with};

const BAR: u64 = 0xf_0000;

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// 64 scattered pages, 2 MiB and 4 MiB in one piece, registers.
fn config(map: DefaultMap) -> Config {
    let mut config = Config::one_guest(64).with_default_map(map);
    let domain = &mut config.domains[0];
    domain.contiguous = vec![gfns(512, 512), gfns(1024, 1024)];
    domain.ram.extend(domain.contiguous.clone());
    domain.mmio = vec![gfns(BAR, 16)];
    config
}

const MAPS: [DefaultMap; 2] = [DefaultMap::IdentityGfn, DefaultMap::IdentityMfn];

/// The bus frame for a guest frame that `frame` is behind.
fn bfn(vm: &Vm<'_>, gfn: u64, frame: Mfn) -> u64 {
    if vm.bed.domain(GUEST).default_map() == DefaultMap::IdentityGfn { gfn } else { frame.0 }
}

fn frame(vm: &Vm<'_>, gfn: u64) -> Option<Mfn> {
    vm.bed.board().machine_frame(GUEST, Gfn(gfn))
}

/// What the device lands on at a bus frame.
fn lands(vm: &Vm<'_>, bfn: u64, way: Direction) -> Option<Mfn> {
    let hit = vm.bed.dma_probe(DEVICE, bfn << 12, way).ok();
    hit.filter(|hit| hit.reach != Reach::Scratch).map(|hit| hit.frame)
}

/// True if the device finds what is behind `gfn` where it must.
fn follows(vm: &Vm<'_>, gfn: u64) -> bool {
    let frame = frame(vm, gfn).unwrap();
    lands(vm, bfn(vm, gfn, frame), Direction::Write) == Some(frame)
}

fn is_free(vm: &Vm<'_>, frame: Mfn) -> bool {
    vm.bed.board().memory().frames.info(frame).unwrap().kind == FrameKind::Free
}

#[test]
fn every_change_is_carried_over_before_the_old_pages_go() {
    for map in MAPS {
        for every in [0, 1] {
            with(&config(map), |vm| {
                if every > 0 {
                    vm.bed.schedule().set(Step::Yield, When::Every(every));
                }
                let all =
                    |vm: &Vm<'_>| (0..64).chain(512..2048).step_by(5).all(|gfn| follows(vm, gfn));
                assert!(all(vm));
                // A page; a part of a large leaf; across two of them; all of one.
                for (first, pages) in [(5, 1), (700, 9), (1020, 10), (1536, 512)] {
                    let range = gfns(first, pages);
                    let old: Vec<Mfn> =
                        (first..first + pages).map(|gfn| frame(vm, gfn).unwrap()).collect();
                    let gone = vm.bed.balloon_out_range(GUEST, range).unwrap();
                    assert_eq!(gone, old);
                    for (gfn, old) in (first..).zip(&old) {
                        assert!(vm.hits_background(DEVICE, bfn(vm, gfn, *old)), "{gfn}");
                        assert!(is_free(vm, *old));
                    }
                    assert!(follows(vm, first - 1) && first == 1536 || follows(vm, first + pages));
                    let new = vm.bed.populate_range(GUEST, range).unwrap();
                    assert_eq!(new.len() as u64, pages);
                    assert!(all(vm));
                }
                let before = frame(vm, 6).unwrap();
                let after = vm.bed.exchange(GUEST, Gfn(6)).unwrap();
                assert_ne!(before, after);
                assert!(follows(vm, 6));
                if map == DefaultMap::IdentityMfn {
                    assert!(vm.hits_background(DEVICE, before.0));
                }
                assert!(vm.bed.exchange_range(GUEST, gfns(1100, 40)).is_ok());
                assert!(all(vm));
                assert_eq!(vm.bed.counters().references_live, 0, "nothing is held");
                vm.bed.schedule().clear();
                vm.end();
            });
        }
    }
}

/// INV-03, INV-26: less access is in force when the call returns.
#[test]
fn a_change_of_access_is_a_change() {
    for map in MAPS {
        with(&config(map), |vm| {
            for gfn in [7, 800] {
                let frame = frame(vm, gfn).unwrap();
                let at = bfn(vm, gfn, frame);
                assert!(follows(vm, gfn));
                assert_eq!(vm.bed.set_access(GUEST, Gfn(gfn), Access::READ), Ok(()));
                assert_eq!(lands(vm, at, Direction::Read), Some(frame));
                assert_eq!(lands(vm, at, Direction::Write), None);
                assert_eq!(vm.bed.set_access(GUEST, Gfn(gfn), Access::empty()), Ok(()));
                assert!(vm.hits_background(DEVICE, at));
                assert_eq!(vm.bed.set_access(GUEST, Gfn(gfn), Access::all()), Ok(()));
                assert!(follows(vm, gfn) && follows(vm, gfn + 1) && follows(vm, gfn - 1));
            }
            assert!((512..1024).all(|gfn| follows(vm, gfn)));
            vm.end();
        });
    }
}

/// Calls the service with a change, as often as it asks.
fn change(vm: &Vm<'_>, change: P2mChange) -> Outcome {
    let mut change = change;
    loop {
        let state = vm.bed.domain(GUEST);
        let told = vm.bed.board().under_p2m_lock(GUEST, || {
            vm.bed.iommu().p2m_changed(state, vm.bed.own_cpu(), &mut change)
        });
        if told != Outcome::Continue {
            return told;
        }
    }
}

fn backing(first: Mfn) -> Option<Backing> {
    Some(Backing { first, access: Access::all(), mmio: true })
}

/// Nobody's bus frames, and those beyond: the others are mapped, and the first error is told (INV-56).
#[test]
fn a_bus_frame_that_is_reserved_or_beyond_is_left_alone() {
    with(&config(DefaultMap::IdentityGfn), |vm| {
        let registers = frame(vm, BAR).unwrap();
        let told =
            |first, pages| change(vm, P2mChange::new(gfns(first, pages), None, backing(registers)));
        assert_eq!(told(0xfedfc, 16), Outcome::Done(Errno::EADDRNOTAVAIL.to_ret()));
        assert!((0..4).all(|i| vm.reads(DEVICE, 0xfedfc + i)));
        assert!(vm.bed.dma_read(DEVICE, 0xfee00 << 12, &mut [0]).is_err());
        let last = (1 << 36) - 1;
        assert_eq!(told(last - 3, 16), Outcome::Done(Errno::ERANGE.to_ret()));
        assert!((0..4).all(|i| vm.reads(DEVICE, last - i)));
        assert_eq!(told(last + 1, 3), Outcome::Done(Errno::ERANGE.to_ret()));
        assert_eq!(told(u64::MAX - 3, 3), Outcome::Done(Errno::ERANGE.to_ret()));
        // To take out is fine anywhere.
        for (first, pages) in [(0xfedfc, 16), (last - 3, 16), (last + 1, 3), (u64::MAX - 3, 3)] {
            let gone = change(vm, P2mChange::new(gfns(first, pages), Some(registers), None));
            assert_eq!(gone, Outcome::Done(0));
        }
        assert!(vm.hits_background(DEVICE, 0xfedfc) && vm.hits_background(DEVICE, last));
        assert!((0..64).all(|gfn| follows(vm, gfn)));
        vm.end();
    });
}

/// Frames that overlap those that were there, one further on: all that is new is there in the end.
#[test]
fn frames_that_move_along_among_themselves_are_all_there_in_the_end() {
    for every in [0, 1] {
        for step in [1, 3, 600] {
            for back in [false, true] {
                with(&config(DefaultMap::IdentityMfn), |vm| {
                    if every > 0 {
                        vm.bed.schedule().set(Step::Yield, When::Every(every));
                    }
                    let first = frame(vm, 1024).unwrap();
                    let (low, high) = (first, Mfn(first.0 + step));
                    let (old, new) = if back { (high, low) } else { (low, high) };
                    let range = gfns(1024, 400);
                    let new_backing = Backing { mmio: false, ..backing(new).unwrap() };
                    let told = change(vm, P2mChange::new(range, Some(old), Some(new_backing)));
                    assert_eq!(told, Outcome::Done(0));
                    for i in 0..1024 {
                        let at = first.0 + i;
                        let in_old = (old.0..old.0 + 400).contains(&at);
                        let in_new = (new.0..new.0 + 400).contains(&at);
                        let there = lands(vm, at, Direction::Write) == Some(Mfn(at));
                        assert_eq!(there, in_new || !in_old, "{step} {back} {i}");
                    }
                    vm.bed.schedule().clear();
                    vm.end();
                });
            }
        }
    }
}

/// A map that is not maintained is the guest's, or trusted: it is not touched.
#[test]
fn a_map_that_is_not_maintained_is_not_touched() {
    for map in [DefaultMap::Blocked, DefaultMap::Guest] {
        with(&config(map), |vm| {
            let context = vm.context();
            assert_eq!(vm.map(context, 5, 5, 1, RW), (0, 1));
            let before = vm.bed.counters();
            let registers = frame(vm, BAR).unwrap();
            let five = frame(vm, 5).unwrap();
            for (old, new) in
                [(Some(five), None), (Some(five), backing(registers)), (None, backing(registers))]
            {
                assert_eq!(change(vm, P2mChange::new(gfns(5, 1), old, new)), Outcome::Done(0));
            }
            assert_eq!(vm.bed.counters().references_live, before.references_live);
            assert_eq!(vm.lands_in(DEVICE, 5, 5), map == DefaultMap::Guest);
            assert_eq!(vm.attach(DEVICE, context), 0);
            assert!(vm.lands_in(DEVICE, 5, 5));
            vm.end();
        });
    }
}

/// Other contexts are the guest's, and hold what they map.
#[test]
fn a_page_that_leaves_stays_in_the_contexts_that_hold_it() {
    for map in MAPS {
        with(&config(map), |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 100, 5, 1, RW), (0, 1));
            assert!(vm.writes(DEVICE, 100));
            let gone = vm.bed.balloon_out(GUEST, Gfn(5)).unwrap();
            assert!(!is_free(vm, gone) && vm.writes(DEVICE, 100));
            assert_eq!(vm.unmap(context, 100, 1), (0, 1));
            assert!(is_free(vm, gone));
            assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
            assert!(vm.hits_background(DEVICE, bfn(vm, 5, gone)));
            assert!(follows(vm, 6));
            vm.end();
        });
    }
}

/// INV-15, INV-27: the old pages are never used again.
#[test]
fn a_unit_that_fails_is_told_and_the_page_is_not_freed() {
    for map in MAPS {
        for half in [Half::Nothing, Half::Done] {
            with(&config(map), |vm| {
                assert!(follows(vm, 5) && follows(vm, 6));
                let (five, six) = (frame(vm, 5).unwrap(), frame(vm, 6).unwrap());
                vm.bed.schedule().hardware_fails(half);
                vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
                assert_eq!(vm.bed.balloon_out(GUEST, Gfn(5)), Err(Errno::EIO));
                vm.bed.schedule().clear();
                assert_eq!(vm.bed.balloon_out(GUEST, Gfn(6)), Err(Errno::EIO));
                assert!(!is_free(vm, five) && !is_free(vm, six));
                assert_eq!(vm.bed.populate(GUEST, Gfn(0x4000)), Err(Errno::EIO));
                assert_eq!(vm.bed.violations(), []);
            });
        }
    }
}

/// A foreign page is in no maintained map; a dying domain has none.
#[test]
fn what_comes_after_the_end_of_a_domain_changes_nothing() {
    with(&config(DefaultMap::IdentityGfn), |vm| {
        assert!(follows(vm, 5));
        assert_eq!(vm.bed.teardown(GUEST, 0), 0);
        assert!(vm.bed.populate(GUEST, Gfn(0x4000)).is_ok());
        assert!(vm.bed.balloon_out(GUEST, Gfn(5)).is_ok());
        assert_eq!(vm.bed.counters().table_frames_live, 0);
        vm.end();
    });
}
