//! The platform on its own: what it gives out, refuses, and gets wrong when told to.

use std::sync::atomic::Ordering;

use pviommu_abi::{Bfn, DomId, Gfn, GuestPtr};
use pviommu_hypervisor::{
    addr::{BfnRange, GfnRange, Mfn},
    platform::{
        Access, AcquireError, GuestMemory, Invalidation, IommuHw, PageKind, PageOwnership, Pool,
        Preempt, Runs, SourceId, TableFrames, TableRoot, Tag, UnitId, Wanted,
    },
};
use pviommu_testbed::machine::{
    Board, Break, Config, Copied, FaultReason, FrameKind, Half, Harshness, Platform, Reach, Step,
    Violation, When, tables::POISON,
};

use crate::run;

const DOMAIN: DomId = DomId(1);
const UNIT: UnitId = UnitId(0);
const TAG: Tag = Tag(1);

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// 0x2000 pages of RAM with a contiguous block at 0x200, and registers above.
fn config() -> Config {
    let mut config = Config::one_guest(0x2000);
    config.domains[0].contiguous = vec![gfns(0x200, 0x200)];
    config.domains[0].mmio = vec![gfns(0xf_0000, 16)];
    config
}

fn acquire(
    platform: &Platform<'_>,
    gfns: GfnRange,
    access: Access,
) -> (Runs, Result<(), AcquireError>) {
    let mut runs = Runs::new();
    let result = platform.acquire(DOMAIN, Wanted::Guest { owner: DOMAIN, gfns }, access, &mut runs);
    (runs, result)
}

/// Gives the device a table that maps bus frame 0 and up to what `runs` hold.
fn attach(platform: &Platform<'_>, runs: &Runs) {
    let alloc = || platform.alloc(DOMAIN, Pool::Open).unwrap();
    let levels: Vec<Mfn> = (0..4).map(|_| alloc()).collect();
    let put = |table: Mfn, index: usize, frame: u64| {
        platform.table(table)[index].store(frame << 12 | 3, Ordering::Release);
    };
    for pair in levels.windows(2) {
        put(pair[0], 0, pair[1].0);
    }
    let frames = runs.iter().flat_map(|r| r.frames.first().0..=r.frames.last().0);
    for (i, frame) in frames.enumerate() {
        put(levels[3], i, frame);
    }
    let root = TableRoot { frame: levels[0], levels: 4 };
    platform.attach(UNIT, SourceId(function()), root, TAG).unwrap();
}

fn function() -> pviommu_abi::PciDevice {
    config().devices[0].function
}

#[test]
fn runs_are_as_long_as_machine_frames_follow_on() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    let (runs, result) = acquire(&platform, gfns(0x1fe, 0x204), Access::WRITE);
    assert_eq!(result, Ok(()));
    let lengths: Vec<u64> = runs.iter().map(|run| run.frames.pages()).collect();
    assert_eq!(lengths, [1, 1, 0x200, 1, 1]);
    assert_eq!(board.memory().frames.references_live(), 0x204);
    for run in runs.iter() {
        platform.release(DOMAIN, &run);
    }
    assert_eq!(board.memory().frames.references_live(), 0);

    let (runs, _) = acquire(&platform, gfns(0xf_0000, 16), Access::WRITE);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs.first().unwrap().kind, PageKind::Mmio);
    assert_eq!(board.memory().violations.list(), []);
}

#[test]
fn acquire_stops_when_the_list_is_full_and_where_a_page_is_refused() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    let (runs, result) = acquire(&platform, gfns(0x400, 1000), Access::READ);
    assert_eq!((runs.pages(), result), (256, Ok(())));

    board.set_page_kind(DOMAIN, Gfn(3), FrameKind::GuestTable).unwrap();
    let (runs, result) = acquire(&platform, gfns(0, 8), Access::READ | Access::WRITE);
    assert_eq!((runs.pages(), result), (3, Err(AcquireError::NotPermitted)));
    let (runs, result) = acquire(&platform, gfns(0x1ffe, 8), Access::READ);
    assert_eq!((runs.pages(), result), (2, Err(AcquireError::NotBacked)));
    let mut runs = Runs::new();
    let nobodys = Wanted::Guest { owner: DomId(9), gfns: gfns(0, 1) };
    let result = platform.acquire(DomId(9), nobodys, Access::READ, &mut runs);
    assert_eq!(result, Err(AcquireError::NotBacked));
}

#[test]
fn releasing_what_is_not_held_is_a_violation() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    let (runs, _) = acquire(&platform, gfns(0, 1), Access::READ);
    platform.release(DOMAIN, &runs.first().unwrap());
    platform.release(DOMAIN, &runs.first().unwrap());
    let frame = runs.first().unwrap().frames.first();
    let expected = Violation::ReleaseWithoutReference { domain: DOMAIN, frame };
    assert_eq!(board.memory().violations.list(), [expected]);
}

#[test]
#[should_panic(expected = "acquire was called with the platform's lock held")]
fn a_call_from_under_the_platform_s_lock_is_told() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    board.under_platform_lock(|| acquire(&platform, gfns(0, 1), Access::READ)).1.unwrap();
}

#[test]
fn calls_fail_as_scheduled() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    let schedule = board.schedule();

    schedule.set(Step::AcquirePage, When::Nth(3));
    schedule.acquire_fails_with(AcquireError::Retry);
    let (runs, result) = acquire(&platform, gfns(0x200, 8), Access::READ);
    assert_eq!((runs.pages(), result), (2, Err(AcquireError::Retry)));
    let (runs, result) = acquire(&platform, gfns(0x200, 8), Access::READ);
    assert_eq!((runs.pages(), result), (8, Ok(())));
    assert_eq!(schedule.calls(Step::AcquirePage), 11);
    assert_eq!(schedule.calls(Step::Acquire), 2);

    schedule.set(Step::Acquire, When::From(2));
    let calls = (0..3).map(|_| acquire(&platform, gfns(0, 1), Access::READ).1.is_ok());
    assert_eq!(calls.collect::<Vec<_>>(), [true, false, false]);
    schedule.set(Step::Yield, When::Every(2));
    let yields = (0..4).map(|_| platform.should_yield());
    assert_eq!(yields.collect::<Vec<_>>(), [false, true, false, true]);
    schedule.set(Step::Alloc, When::Nth(1));
    assert_eq!(platform.alloc(DOMAIN, Pool::Open), None);
    assert!(platform.alloc(DOMAIN, Pool::Open).is_some());
    schedule.set(Step::Reserve, When::Nth(1));
    assert!(!platform.reserve(DOMAIN, 1));
    schedule.set(Step::CopyOut, When::Nth(1));
    assert!(platform.copy_out(DOMAIN, GuestPtr(0), &[1]).is_err());
    schedule.clear();
    assert_eq!(acquire(&platform, gfns(0, 1), Access::READ).1, Ok(()));
}

#[test]
fn a_failed_invalidation_has_done_nothing_or_everything() {
    for half in [Half::Nothing, Half::Done] {
        let board = Board::new(&config());
        let platform = Platform::new(&board, &[]);
        let (runs, _) = acquire(&platform, gfns(0, 1), Access::WRITE);
        attach(&platform, &runs);
        let device = function();
        board.dma_write(device, 0, b"x").unwrap();
        board.schedule().set(Step::Invalidate, When::Nth(1));
        board.schedule().hardware_fails(half);
        assert!(platform.invalidate(UNIT, TAG, Invalidation::Everything).is_err());
        let left = usize::from(half == Half::Nothing);
        assert_eq!(board.unit(UNIT).unwrap().cached(TAG).0, left);
    }
}

#[test]
fn copies_are_recorded_on_request() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    platform.copy_out(DOMAIN, GuestPtr(0xffe), b"four").unwrap();
    board.record_copies(true);
    let mut bytes = [0; 4];
    platform.copy_in(DOMAIN, GuestPtr(0xffe), &mut bytes).unwrap();
    assert_eq!(&bytes, b"four");
    let copied = Copied { domain: DOMAIN, address: 0xffe, bytes: 4, out: false };
    assert_eq!(board.take_copies(), [copied]);
}

#[test]
fn dma_goes_page_by_page_and_stops_at_a_fault() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    let (runs, _) = acquire(&platform, gfns(0, 2), Access::WRITE);
    attach(&platform, &runs);
    let device = function();
    let text: Vec<u8> = (0..8000_u32).map(|i| (i * 3) as u8).collect();
    board.dma_write(device, 100, &text).unwrap();
    let mut seen = vec![0; 8000];
    board.guest_read(DOMAIN, 100, &mut seen).unwrap();
    assert_eq!(seen, text);
    let fault = board.dma_read(device, 4096, &mut seen).unwrap_err();
    assert_eq!((fault.done, fault.address), (4096, 8192));
    assert_eq!(fault.reason, FaultReason::NotPresent);
    assert_eq!(board.unit(UNIT).unwrap().take_faults().len(), 1);
    assert_eq!(board.memory().violations.list(), []);
}

#[test]
fn a_scratch_page_is_charged_like_a_table_and_counted_apart() {
    const OTHER: DomId = DomId(2);
    let mut config = config();
    config.domains[0].table_frames = Some(16);
    run(&config, |bed| {
        let platform = Platform::new(bed.board(), &[]);
        let tables = &bed.board().memory().tables;
        bed.schedule().set(Step::Alloc, When::Nth(2));
        let page = platform.alloc_scratch(DOMAIN).unwrap();
        assert_eq!(platform.alloc_scratch(DOMAIN), None, "by schedule");
        let counters = bed.counters();
        assert_eq!((counters.scratch_frames_live, counters.table_frames_live), (1, 0));
        assert_eq!(tables.charged(DOMAIN), (1, 0));
        let rest: Vec<Mfn> = (0..15).map(|_| platform.alloc(DOMAIN, Pool::Open).unwrap()).collect();
        assert_eq!(platform.alloc_scratch(DOMAIN), None, "the domain has its share");
        assert_eq!(platform.alloc(DOMAIN, Pool::Open), None);
        assert!(platform.alloc_scratch(OTHER).is_some());

        let words = platform.table(page);
        words[3].store(77, Ordering::Relaxed);
        platform.free_scratch(DOMAIN, page);
        assert_eq!(words[3].load(Ordering::Relaxed), POISON);
        assert_eq!(bed.counters().scratch_frames_live, 1);
        assert_eq!(bed.violations(), []);
        // Neither is freed as the other, nor by another domain, nor twice.
        let page = platform.alloc_scratch(DOMAIN).unwrap();
        platform.free(DOMAIN, page, Pool::Open);
        platform.free_scratch(OTHER, page);
        platform.free_scratch(DOMAIN, rest[0]);
        platform.free_scratch(DOMAIN, page);
        platform.free_scratch(DOMAIN, page);
        let bad = |domain, frame| Violation::BadTableFree { domain, frame };
        let expected =
            [bad(DOMAIN, page), bad(OTHER, page), bad(DOMAIN, rest[0]), bad(DOMAIN, page)];
        assert_eq!(bed.violations(), expected);
    });
}

/// Maps a page, lets the device use it, flushes, releases, and lets the device use it again.
fn map_use_and_unmap(sabotage: Break) -> Vec<Violation> {
    // As helpful as can be, so that it is the sabotage that shows.
    let harshness = Harshness::NONE;
    let board = Board::new(&Config { sabotage: Some(sabotage), harshness, ..config() });
    let platform = Platform::new(&board, &[]);
    let (runs, _) = acquire(&platform, gfns(0, 4), Access::WRITE);
    attach(&platform, &runs);
    let device = function();
    for page in 0..4 {
        // Refused where the machine has stopped it; the list of violations tells.
        let _ = board.dma_write(device, page << 12, b"data");
    }
    let all = BfnRange::of_pages(Bfn(0), 4).unwrap();
    platform.invalidate(UNIT, TAG, Invalidation::Leaves(all)).unwrap();
    for run in runs.iter() {
        platform.release(DOMAIN, &run);
    }
    assert_eq!(board.memory().frames.references_live(), 0);
    board.memory().violations.list()
}

#[test]
fn every_sabotage_is_noticed() {
    let seen = map_use_and_unmap(Break::SkipFlush);
    assert!(matches!(seen[..], [Violation::ReleasedWhileCached { .. }, ..]), "{seen:?}");
    let seen = map_use_and_unmap(Break::EarlyRelease);
    assert!(matches!(seen[..], [Violation::Access { reach: Reach::NotHeld, .. }, ..]), "{seen:?}");
    let seen = map_use_and_unmap(Break::FirstPageOnly);
    assert!(matches!(seen[..], [Violation::Access { .. }, ..]), "{seen:?}");
}
