//! What the machine does of its own accord: it loads translations nobody asked for, has writes
//! arrive late, and does so the same way every time.

use std::sync::atomic::Ordering;

use pviommu_abi::{Bfn, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, GfnRange, Mfn},
    platform::{
        Access, Invalidation, IommuHw, PageOwnership, Run, Runs, SourceId, TableFrames, Tag,
        UnitFeatures, UnitId, Wanted,
    },
};
use pviommu_testbed::{
    iommu::{Direction, handmade::HandMade},
    machine::{self, Bed, Config, Harshness, Platform, Reach, Violation},
};

use crate::{hand_made, run};

const DOMAIN: DomId = DomId(1);
const DEVICE: PciDevice = PciDevice::new(0, 0, 3, 0);
const UNIT: UnitId = UnitId(0);
const TAG: Tag = Tag(3);

/// A device whose bus frames 0 to 7 lead to guest frames 0 to 7, by a table made by hand.
struct Rig<'b> {
    bed: &'b Bed<'b>,
    platform: Platform<'b>,
    table: HandMade<'b>,
    runs: Runs,
}

fn with_pages(harshness: Harshness, body: impl FnOnce(&Rig<'_>)) {
    run(&Config { harshness, ..Config::one_guest(16) }, |bed| {
        let platform = Platform::new(bed.board(), &[]);
        let table = hand_made(bed.board().memory(), 4);
        let mut runs = Runs::new();
        let gfns = GfnRange::of_pages(Gfn(0), 8).unwrap();
        let pages = Wanted::Guest { owner: DOMAIN, gfns };
        platform.acquire(DOMAIN, pages, Access::all(), &mut runs).unwrap();
        (0..8).for_each(|page| table.map(page, 1, frame(bed, page)));
        platform.attach(UNIT, SourceId(DEVICE), table.root(), TAG).unwrap();
        body(&Rig { bed, platform, table, runs });
    });
}

fn frame(bed: &Bed<'_>, page: u64) -> Mfn {
    bed.board().machine_frame(DOMAIN, Gfn(page)).unwrap()
}

impl Rig<'_> {
    /// Lets the hardware do what it likes, as it may between two stores of the service.
    fn pass(&self, instants: u32) {
        for _ in 0..instants {
            let _ = self.platform.table(self.table.root().frame);
        }
    }

    fn cached(&self) -> (usize, usize) {
        self.bed.board().unit(UNIT).unwrap().cached(TAG)
    }

    fn invalidate(&self, first: u64, pages: u64) {
        let what = Invalidation::Leaves(BfnRange::of_pages(Bfn(first), pages).unwrap());
        self.platform.invalidate(UNIT, TAG, what).unwrap();
    }

    fn run_of(&self, page: usize) -> Run {
        self.runs.iter().nth(page).unwrap()
    }
}

#[test]
fn what_is_near_a_used_page_is_loaded_without_being_asked_for() {
    with_pages(Harshness { late_writes: 0, ..Harshness::ALL }, |rig| {
        rig.bed.dma_read(DEVICE, 4 << 12, &mut [0; 8]).unwrap();
        assert_eq!(rig.cached().0, 1);
        rig.pass(100);
        assert!(rig.cached().0 >= 3, "{:?}", rig.cached());
        // And again, as soon as it was forgotten.
        rig.invalidate(0, 8);
        assert_eq!(rig.cached().0, 0);
        rig.pass(100);
        assert!(rig.cached().0 >= 3, "{:?}", rig.cached());
        assert_eq!(rig.bed.faults(), []);
        assert_eq!(rig.bed.violations(), []);
    });
}

#[test]
fn nothing_is_loaded_where_the_machine_is_told_so_and_less_where_it_is_told_so() {
    let loaded = |prefetch| {
        let mut loaded = 0;
        with_pages(Harshness { prefetch, ..Harshness::ALL }, |rig| {
            rig.bed.dma_read(DEVICE, 4 << 12, &mut [0; 8]).unwrap();
            rig.pass(20);
            loaded = rig.cached().0;
        });
        loaded
    };
    assert_eq!(loaded(0), 1);
    assert!(loaded(20) <= 2);
}

/// A device never comes, and yet the translation is there when its page is given back.
#[test]
fn a_forgotten_flush_shows_also_where_no_device_asks() {
    with_pages(Harshness::ALL, |rig| {
        rig.bed.dma_read(DEVICE, 4 << 12, &mut [0; 8]).unwrap();
        rig.invalidate(0, 8);
        rig.pass(100);
        rig.table.set(4, 1, 0);
        rig.platform.release(DOMAIN, &rig.run_of(4));
        let expected = Violation::ReleasedWhileCached { unit: UNIT, frame: frame(rig.bed, 4) };
        assert!(rig.bed.violations().contains(&expected), "{:?}", rig.bed.violations());
    });
}

#[test]
fn a_write_that_a_device_has_completed_can_be_read() {
    with_pages(Harshness::ALL, |rig| {
        for round in 0..50_u8 {
            let page = u64::from(round) % 8;
            rig.bed.dma_write(DEVICE, page << 12, &[round; 4]).unwrap();
            rig.bed.dma_write(DEVICE, (page << 12) + 2, &[round + 1; 4]).unwrap();
            let mut seen = [0; 6];
            if round % 2 == 0 {
                rig.bed.guest_read(DOMAIN, page << 12, &mut seen);
            } else {
                rig.bed.dma_read(DEVICE, page << 12, &mut seen).unwrap();
            }
            let (first, second) = (round, round + 1);
            assert_eq!(seen, [first, first, second, second, second, second]);
            // And what a CPU writes after that stays.
            rig.bed.dma_write(DEVICE, page << 12, &[0xee]).unwrap();
            rig.bed.guest_write(DOMAIN, page << 12, &[0x11]);
            rig.pass(10);
            rig.bed.guest_read(DOMAIN, page << 12, &mut seen);
            assert_eq!(seen.first(), Some(&0x11));
        }
        assert_eq!(rig.bed.violations(), []);
    });
}

/// Writes wait and nothing else happens.
const LATE: Harshness = Harshness { late_writes: 32, ..Harshness::NONE };

fn late(rig: &Rig<'_>, page: u64, reach: Reach) -> Violation {
    let (device, address, frame) = (DEVICE, page << 12, frame(rig.bed, page));
    Violation::LateWrite { unit: UNIT, device, address, frame, reach }
}

#[test]
fn inv_20_a_write_that_was_not_drained_is_seen_when_its_page_is_given_back() {
    with_pages(LATE, |rig| {
        for page in 2..5 {
            rig.bed.dma_write(DEVICE, page << 12, b"late").unwrap();
        }
        // Flushed and so drained; looked at and so arrived; neither.
        rig.invalidate(2, 1);
        rig.bed.guest_read(DOMAIN, 3 << 12, &mut [0; 4]);
        for page in 2..5 {
            rig.platform.release(DOMAIN, &rig.run_of(page));
        }
        let lost = rig.bed.violations().into_iter();
        let lost: Vec<_> =
            lost.filter(|seen| matches!(seen, Violation::LateWrite { .. })).collect();
        assert_eq!(lost, [late(rig, 4, Reach::NotHeld)]);
    });
}

#[test]
fn a_device_that_is_moved_or_blocked_has_drained() {
    with_pages(LATE, |rig| {
        let other = hand_made(rig.bed.board().memory(), 4);
        rig.bed.dma_write(DEVICE, 2 << 12, b"late").unwrap();
        rig.platform.attach(UNIT, SourceId(DEVICE), other.root(), Tag(4)).unwrap();
        rig.platform.release(DOMAIN, &rig.run_of(2));
        rig.platform.attach(UNIT, SourceId(DEVICE), rig.table.root(), TAG).unwrap();
        rig.bed.dma_write(DEVICE, 3 << 12, b"late").unwrap();
        rig.platform.block(UNIT, SourceId(DEVICE)).unwrap();
        rig.platform.release(DOMAIN, &rig.run_of(3));
        let violations = rig.bed.violations();
        assert!(!violations.iter().any(|seen| matches!(seen, Violation::LateWrite { .. })));
    });
}

#[test]
fn a_late_write_to_a_scratch_page_shows_in_its_words_and_is_lost_with_it() {
    with_pages(LATE, |rig| {
        let scratch = rig.platform.alloc_scratch(DOMAIN).unwrap();
        rig.table.map(9, 1, scratch);
        rig.bed.dma_write(DEVICE, 9 << 12, &[7; 8]).unwrap();
        let words = rig.platform.table(scratch);
        assert_eq!(words.first().unwrap().load(Ordering::Relaxed), 0x0707_0707_0707_0707);
        rig.bed.dma_write(DEVICE, 9 << 12, &[8; 8]).unwrap();
        rig.platform.free_scratch(DOMAIN, scratch);
        let (unit, device, address, frame) = (UNIT, DEVICE, 9 << 12, scratch);
        let lost = Violation::LateWrite { unit, device, address, frame, reach: Reach::Free };
        assert!(rig.bed.violations().contains(&lost), "{:?}", rig.bed.violations());
    });
}

#[test]
fn at_some_instant_a_late_write_arrives_by_itself() {
    with_pages(Harshness::ALL, |rig| {
        for page in 0..8 {
            rig.bed.dma_write(DEVICE, page << 12, b"late").unwrap();
        }
        rig.pass(1000);
        // Nothing waits any more, so nothing is lost.
        for run in rig.runs.iter() {
            rig.platform.release(DOMAIN, &run);
        }
        let violations = rig.bed.violations();
        assert!(!violations.iter().any(|seen| matches!(seen, Violation::LateWrite { .. })));
    });
}

#[test]
fn at_some_instant_a_write_buffer_drains_by_itself() {
    let mut config = Config::one_guest(16);
    config.units.iter_mut().for_each(|unit| unit.features |= UnitFeatures::WRITE_BUFFER);
    // No unit of AMD's has one.
    machine::run(&config, |bed| {
        let platform = Platform::new(bed.board(), &[]);
        let table = HandMade::new(bed.board().memory(), 4);
        let scratch = platform.alloc_scratch(DOMAIN).unwrap();
        platform.attach(UNIT, SourceId(DEVICE), table.root(), TAG).unwrap();
        table.map(7, 1, scratch);
        let reached = || bed.dma_probe(DEVICE, 7 << 12, Direction::Write).is_ok();
        assert!(!reached());
        for _ in 0..1000 {
            let _ = platform.table(table.root().frame);
        }
        assert!(reached());
        assert_eq!(bed.violations(), []);
    });
}

#[test]
fn the_machine_does_the_same_every_time_and_something_else_with_another_seed() {
    let caches = |seed| {
        let config = Config { seed, ..Config::one_guest(600) };
        run(&config, |bed| {
            let platform = Platform::new(bed.board(), &[]);
            let table = hand_made(bed.board().memory(), 4);
            let scratch = platform.alloc_scratch(DOMAIN).unwrap();
            (0..2048).for_each(|bfn| table.map(bfn, 1, scratch));
            platform.attach(UNIT, SourceId(DEVICE), table.root(), TAG).unwrap();
            bed.dma_probe(DEVICE, 700 << 12, Direction::Read).unwrap();
            let unit = bed.board().unit(UNIT).unwrap();
            let mut row = Vec::new();
            for _ in 0..200 {
                let _ = platform.table(table.root().frame);
                row.push(unit.cached(TAG));
            }
            row
        })
    };
    assert_eq!(caches(1), caches(1));
    assert_ne!(caches(1), caches(2));
}
