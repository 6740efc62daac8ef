//! The P2M of a domain: what changes, who may look meanwhile, and what the platform tells of it.

use pviommu_abi::{Bfn, DomId, Errno, Gfn};
use pviommu_hypervisor::{
    DefaultMap,
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::{
        Access, AcquireError, InitialRun, PageKind, PageOwnership, Pool, Runs, TableFrames, Wanted,
    },
};
use pviommu_testbed::machine::{Bed, Board, Config, FrameKind, Platform};

use crate::run;

const DOMAIN: DomId = DomId(1);

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// 0x40 scattered pages, 0x200 contiguous ones from 0x200 on, and registers, two of them read-only.
fn config() -> Config {
    let mut config = Config::one_guest(0x40);
    let domain = &mut config.domains[0];
    domain.ram.push(gfns(0x200, 0x200));
    domain.contiguous = vec![gfns(0x200, 0x200)];
    domain.mmio = vec![gfns(0xf_0000, 16)];
    domain.mmio_read_only = vec![gfns(0xf_0004, 2)];
    config
}

fn with(body: impl FnOnce(&Bed<'_>, Platform<'_>)) {
    run(&config(), |bed| body(bed, Platform::new(bed.board(), &[])));
}

fn acquire(
    platform: Platform<'_>,
    gfns: GfnRange,
    access: Access,
) -> (Runs, Result<(), AcquireError>) {
    let mut runs = Runs::new();
    let wanted = Wanted::Guest { owner: DOMAIN, gfns };
    let result = platform.acquire(DOMAIN, wanted, access, &mut runs);
    (runs, result)
}

fn is_free(bed: &Bed<'_>, frame: Mfn) -> bool {
    bed.board().memory().frames.info(frame).unwrap().kind == FrameKind::Free
}

#[test]
#[should_panic(expected = "acquire was called with the P2M lock held")]
fn pages_cannot_be_acquired_by_who_changes_the_p2m() {
    with(|bed, platform| {
        bed.board()
            .under_p2m_lock(DOMAIN, || acquire(platform, gfns(0, 1), Access::READ).1)
            .unwrap();
    });
}

#[test]
#[should_panic(expected = "initial_map was called with the P2M lock held")]
fn the_initial_map_cannot_be_asked_for_by_who_changes_the_p2m() {
    with(|bed, platform| {
        bed.board().under_p2m_lock(DOMAIN, || platform.initial_map(DOMAIN, Bfn(0))).unwrap();
    });
}

#[test]
fn tables_can_be_allocated_by_who_changes_the_p2m() {
    with(|bed, platform| {
        let frame = bed.board().under_p2m_lock(DOMAIN, || platform.alloc(DOMAIN, Pool::Open));
        platform.free(DOMAIN, frame.unwrap(), Pool::Open);
        bed.assert_clean();
    });
}

#[test]
fn registers_come_with_the_access_they_may_be_mapped_with() {
    with(|bed, platform| {
        let (runs, result) = acquire(platform, gfns(0xf_0000, 8), Access::all());
        assert_eq!(result, Ok(()));
        let seen: Vec<_> = runs.iter().map(|r| (r.frames.pages(), r.access)).collect();
        assert_eq!(seen, [(4, Access::all()), (2, Access::READ), (2, Access::all())]);
        let frames = runs.iter().map(|run| run.frames.first().0);
        let first = bed.board().machine_frame(DOMAIN, Gfn(0xf_0000)).unwrap().0;
        assert_eq!(frames.collect::<Vec<_>>(), [first, first + 4, first + 6]);
        let (runs, result) = acquire(platform, gfns(0xf_0003, 2), Access::WRITE);
        assert_eq!((runs.pages(), result), (1, Err(AcquireError::NotPermitted)));

        bed.set_access(DOMAIN, Gfn(0xf_0001), Access::empty()).unwrap();
        let (runs, result) = acquire(platform, gfns(0xf_0000, 3), Access::READ);
        assert_eq!((runs.pages(), result), (1, Err(AcquireError::NotPermitted)));
        assert_eq!(runs.first().unwrap().kind, PageKind::Mmio);
    });
}

#[test]
fn a_page_is_acquired_with_no_more_than_its_access() {
    with(|bed, platform| {
        bed.set_access(DOMAIN, Gfn(5), Access::READ).unwrap();
        bed.set_access_range(DOMAIN, gfns(0x210, 4), Access::empty()).unwrap();
        assert_eq!(acquire(platform, gfns(5, 1), Access::all()).1, Err(AcquireError::NotPermitted));
        let (runs, result) = acquire(platform, gfns(5, 1), Access::READ);
        assert_eq!((runs.pages(), result), (1, Ok(())));
        platform.release(DOMAIN, &runs.first().unwrap());
        let refused = Err(AcquireError::NotPermitted);
        assert_eq!(acquire(platform, gfns(0x212, 1), Access::READ).1, refused);
        bed.set_access(DOMAIN, Gfn(5), Access::all()).unwrap();
        let (runs, result) = acquire(platform, gfns(5, 1), Access::all());
        assert_eq!(result, Ok(()));
        platform.release(DOMAIN, &runs.first().unwrap());
        bed.assert_clean();
    });
}

/// INV-27.
#[test]
fn a_page_that_leaves_is_freed_by_the_last_that_holds_it() {
    with(|bed, platform| {
        let (runs, _) = acquire(platform, gfns(3, 1), Access::all());
        let held = bed.balloon_out(DOMAIN, Gfn(3)).unwrap();
        let free = bed.balloon_out(DOMAIN, Gfn(4)).unwrap();
        assert_eq!((is_free(bed, held), is_free(bed, free)), (false, true));
        assert_eq!(acquire(platform, gfns(3, 1), Access::READ).1, Err(AcquireError::NotBacked));
        assert_eq!(bed.balloon_out(DOMAIN, Gfn(3)), Err(Errno::ENOENT));
        platform.release(DOMAIN, &runs.first().unwrap());
        assert!(is_free(bed, held));

        let fresh = bed.populate(DOMAIN, Gfn(3)).unwrap();
        assert_eq!(bed.populate(DOMAIN, Gfn(3)), Err(Errno::EEXIST));
        let other = bed.exchange(DOMAIN, Gfn(3)).unwrap();
        assert_ne!(other, fresh);
        assert!(is_free(bed, fresh));
        assert_eq!(bed.board().machine_frame(DOMAIN, Gfn(3)), Some(other));
        assert_eq!(platform.gfn_of(DOMAIN, other), Some(Gfn(3)));
        assert_eq!(platform.gfn_of(DOMAIN, fresh), None);
        bed.assert_clean();
    });
}

fn initial(platform: Platform<'_>) -> Vec<(u64, u64, Access)> {
    let mut runs = Vec::new();
    let mut from = Bfn(0);
    while let Some(InitialRun { bfns, access }) = platform.initial_map(DOMAIN, from) {
        assert!(bfns.last() >= from);
        runs.push((bfns.first().0, bfns.last().0, access));
        from = Bfn(bfns.last().0 + 1);
    }
    runs
}

#[test]
fn a_guest_map_begins_with_the_guest_frames_that_are_memory() {
    with(|bed, platform| {
        let all = Access::all();
        assert_eq!(initial(platform), [(0, 0x3f, all), (0x200, 0x3ff, all)]);
        bed.balloon_out(DOMAIN, Gfn(7)).unwrap();
        bed.populate(DOMAIN, Gfn(0x80)).unwrap();
        bed.set_access(DOMAIN, Gfn(0x30), Access::READ).unwrap();
        bed.set_access(DOMAIN, Gfn(0x3ff), Access::empty()).unwrap();
        let expected = [
            (0, 6, all),
            (8, 0x2f, all),
            (0x30, 0x30, Access::READ),
            (0x31, 0x3f, all),
            (0x80, 0x80, all),
            (0x200, 0x3fe, all),
        ];
        assert_eq!(initial(platform), expected);
    });
}

#[test]
fn a_host_map_is_all_memory_of_the_machine_and_none_of_the_hypervisor_s() {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    board.assume_default_map(DOMAIN, DefaultMap::Host);
    let runs = initial(platform);
    let has = |frame: Mfn| runs.iter().any(|(first, last, _)| (*first..=*last).contains(&frame.0));
    for gfn in [0, 0x3f, 0x200, 0x3ff] {
        assert!(has(board.machine_frame(DOMAIN, Gfn(gfn)).unwrap()));
    }
    let tables = board.memory().tables.frames().unwrap();
    assert!(!has(tables.first()) && !has(tables.last()));
    assert!(!has(board.machine_frame(DOMAIN, Gfn(0xf_0000)).unwrap()), "registers");
}

#[test]
fn tables_are_found_among_frames_and_nothing_else_is_told() {
    with(|bed, platform| {
        let tables = bed.board().memory().tables.frames().unwrap();
        assert_eq!(platform.first_table(MfnRange::of_pages(tables.first(), 100).unwrap()), None);
        let table = platform.alloc(DOMAIN, Pool::Open).unwrap();
        let around = MfnRange::new(Mfn(table.0 - 3), Mfn(table.0 + 3)).unwrap();
        assert_eq!(platform.first_table(around), Some(table));
        platform.free(DOMAIN, table, Pool::Open);
        assert_eq!(platform.first_table(around), None);
        bed.assert_clean();
    });
}

#[test]
fn only_what_firmware_has_may_be_direct() {
    let mut config = config();
    let direct = BfnRange::of_pages(Bfn(0x8000), 4).unwrap();
    let kind = pviommu_hypervisor::ReservedKind::Direct;
    config.devices[0].reserved = vec![pviommu_testbed::machine::reserved(direct, kind)];
    let board = Board::new(&config);
    let platform = Platform::new(&board, &[]);
    let asks =
        |first, pages| platform.may_be_direct(MfnRange::of_pages(Mfn(first), pages).unwrap());
    assert!(asks(0x8000, 4) && asks(0x8003, 1));
    assert!(!asks(0x8000, 5) && !asks(0x7fff, 2) && !asks(0x9000, 1));
    assert!(!asks(board.machine_frame(DOMAIN, Gfn(0)).unwrap().0, 1));
}
