//! Guest memory, its place in the machine, and page-table memory.

use std::{collections::HashSet, sync::atomic::Ordering};

use pviommu_abi::{DomId, Gfn};
use pviommu_hypervisor::{
    addr::{GfnRange, Mfn},
    platform::{AcquireError, Pool},
};
use pviommu_testbed::machine::{
    Board, Config, DomainConfig, FrameKind, Refused, Violation,
    frames::Frames,
    p2m::Scramble,
    tables::{POISON, Tables},
    violation::Violations,
};

const ONE: DomId = DomId(1);
const TWO: DomId = DomId(2);

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

fn two_guests() -> Config {
    let one = DomainConfig {
        id: ONE,
        ram: vec![gfns(0, 0xa0), gfns(0x100, 0x8_0000)],
        mmio: vec![gfns(0xf_0000, 0x200)],
        contiguous: vec![gfns(0x400, 0x200), gfns(0x4_0000, 0x4_0000)],
        ..DomainConfig::default()
    };
    let two = DomainConfig { id: TWO, ram: vec![gfns(0, 64)], ..DomainConfig::default() };
    Config { domains: vec![one, two], cpus: 2, ..Config::default() }
}

#[test]
fn a_scramble_is_a_permutation_and_depends_on_its_seed() {
    for size in [1, 2, 3, 7, 64, 1000, 4097] {
        let places: HashSet<u64> = (0..size).map(|i| Scramble::new(size, 9).apply(i)).collect();
        assert_eq!(places.len() as u64, size);
        assert!(places.iter().all(|place| *place < size));
        let scramble = Scramble::new(size, 9);
        assert!((0..size).all(|i| scramble.invert(scramble.apply(i)) == i));
    }
    let row = |seed| (0..100).map(|i| Scramble::new(1000, seed).apply(i)).collect::<Vec<_>>();
    assert_eq!(row(1), row(1));
    assert_ne!(row(1), row(2));
}

#[test]
fn neighbours_in_a_guest_are_strangers_in_the_machine() {
    let board = Board::new(&two_guests());
    let mut seen = HashSet::new();
    let pages = [(ONE, 0xa0), (ONE, 0x3_ff00), (TWO, 64)].into_iter().flat_map(|(domain, n)| {
        let first = if n == 0x3_ff00 { 0x600 } else { 0 };
        (first..first + n.min(3000)).map(move |gfn| (domain, Gfn(gfn)))
    });
    let mut before = Mfn(0);
    for (domain, gfn) in pages {
        let frame = board.machine_frame(domain, gfn).unwrap();
        assert!(seen.insert(frame), "{frame} is behind two pages");
        assert!(frame.0.abs_diff(before.0) > 1);
        before = frame;
    }
    assert_eq!(board.machine_frame(ONE, Gfn(0xa0)), None);
    assert_eq!(board.machine_frame(TWO, Gfn(64)), None);
    assert_eq!(board.machine_frame(DomId(3), Gfn(0)), None);
}

#[test]
fn contiguous_blocks_and_registers_keep_order_and_alignment() {
    let board = Board::new(&two_guests());
    let p2m = board.p2m(ONE).unwrap();
    for (first, pages, mmio) in
        [(0x400, 0x200, false), (0x4_0000, 0x4_0000, false), (0xf_0000, 0x200, true)]
    {
        let start = p2m.lookup(Gfn(first)).unwrap();
        assert_eq!((start.run, start.mmio), (pages, mmio));
        assert_eq!(start.frame.0 % pages, first % pages);
        let last = p2m.lookup(Gfn(first + pages - 1)).unwrap();
        assert_eq!((last.frame.0, last.run), (start.frame.0 + pages - 1, 1));
    }
}

#[test]
fn a_frame_is_found_back_in_its_guest_and_in_no_other() {
    let board = Board::new(&two_guests());
    let guest_frame = |domain, frame| board.p2m(domain).unwrap().gfn_of(frame);
    for gfn in [0, 0x9f, 0x100, 0x3ff, 0x400, 0x5ff, 0x600, 0x4_0000, 0x8_00ff, 0xf_0123].map(Gfn) {
        let frame = board.machine_frame(ONE, gfn).unwrap();
        assert_eq!((guest_frame(ONE, frame), guest_frame(TWO, frame)), (Some(gfn), None));
        let next = Mfn(frame.0 + 1);
        let expected =
            (board.machine_frame(ONE, Gfn(gfn.0 + 1)) == Some(next)).then_some(gfn.0 + 1);
        assert_eq!(guest_frame(ONE, next), expected.map(Gfn));
    }
    for frame in [0, 1 << 20, u64::MAX] {
        assert_eq!(guest_frame(ONE, Mfn(frame)), None);
    }

    // What was changed since: transferred, freed, populated.
    let [given, freed] = [6, 7].map(|gfn| board.machine_frame(ONE, Gfn(gfn)).unwrap());
    board.give_page(ONE, Gfn(6), TWO, Gfn(1000)).unwrap();
    board.free_page(ONE, Gfn(7)).unwrap();
    assert_eq!((guest_frame(ONE, given), guest_frame(TWO, given)), (None, Some(Gfn(1000))));
    assert_eq!(guest_frame(ONE, freed), None);
    board.populate_page(ONE, Gfn(7)).unwrap();
    let fresh = board.machine_frame(ONE, Gfn(7)).unwrap();
    assert_eq!(guest_frame(ONE, fresh), Some(Gfn(7)));
    board.give_page(TWO, Gfn(1000), ONE, Gfn(6)).unwrap();
    assert_eq!((guest_frame(ONE, given), guest_frame(TWO, given)), (Some(Gfn(6)), None));
    let last = board.machine_frame(ONE, Gfn(8)).unwrap();
    assert_eq!(guest_frame(ONE, last), Some(Gfn(8)));
}

#[test]
fn guest_memory_is_bytes_by_guest_address() {
    let board = Board::new(&two_guests());
    let text: Vec<u8> = (0..9000_u32).map(|i| (i * 7) as u8).collect();
    board.guest_write(ONE, 0x1ff0, &text).unwrap();
    let mut back = vec![1; 9000];
    board.guest_read(ONE, 0x1ff0, &mut back).unwrap();
    assert_eq!(back, text);
    // Fresh memory is zeros; nobody else's; and ends where it ends.
    board.guest_read(TWO, 0x1ff0, &mut back).unwrap();
    assert!(back.iter().all(|byte| *byte == 0));
    assert!(board.guest_read(TWO, 63 * 4096, &mut back).is_err());
    assert!(board.guest_read(ONE, u64::MAX - 4, &mut back).is_err());
    assert!(board.guest_write(ONE, 0xf_0000 << 12, &text).is_err());
}

#[test]
fn a_page_in_use_is_not_taken_and_a_freed_one_is_nobody_s() {
    let board = Board::new(&two_guests());
    let frames = &board.memory().frames;
    let frame = board.machine_frame(ONE, Gfn(5)).unwrap();
    frames.acquire(frame, ONE, true).unwrap();
    assert_eq!(board.references(ONE, Gfn(5)), 1);
    assert_eq!(board.free_page(ONE, Gfn(5)), Err(Refused));
    assert_eq!(board.give_page(ONE, Gfn(5), TWO, Gfn(5)), Err(Refused));
    assert_eq!(board.set_page_kind(ONE, Gfn(5), FrameKind::GuestTable), Err(Refused));
    assert_eq!(frames.release(frame, TWO, true), Err(Refused));
    assert_eq!(frames.release(frame, ONE, false), Err(Refused), "as one for reading only");
    frames.release(frame, ONE, true).unwrap();
    assert_eq!(frames.release(frame, ONE, true), Err(Refused));

    board.free_page(ONE, Gfn(5)).unwrap();
    assert_eq!(board.machine_frame(ONE, Gfn(5)), None);
    assert_eq!(frames.acquire(frame, ONE, false), Err(AcquireError::NotPermitted));
    board.populate_page(ONE, Gfn(5)).unwrap();
    assert_ne!(board.machine_frame(ONE, Gfn(5)), Some(frame));

    let given = board.machine_frame(ONE, Gfn(6)).unwrap();
    board.guest_write(ONE, 6 << 12, b"secret").unwrap();
    board.give_page(ONE, Gfn(6), TWO, Gfn(1000)).unwrap();
    assert_eq!(board.machine_frame(TWO, Gfn(1000)), Some(given));
    let mut bytes = [1; 6];
    board.guest_read(TWO, 1000 << 12, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 6]);
    assert_eq!(frames.acquire(given, ONE, false), Err(AcquireError::NotPermitted));
}

#[test]
fn inv_23_page_tables_of_a_guest_are_read_only_to_devices() {
    let board = Board::new(&two_guests());
    let frame = board.machine_frame(TWO, Gfn(1)).unwrap();
    board.set_page_kind(TWO, Gfn(1), FrameKind::GuestTable).unwrap();
    let frames = &board.memory().frames;
    assert_eq!(frames.acquire(frame, TWO, true), Err(AcquireError::NotPermitted));
    assert_eq!(frames.acquire(frame, TWO, false), Ok(()));
}

#[test]
fn inv_24_references_saturate() {
    let mut frames = Frames::new(2);
    frames.add_ram(Mfn(10), 1, 1);
    for expected in [Ok(()), Ok(()), Err(AcquireError::Saturated)] {
        assert_eq!(frames.acquire(Mfn(10), ONE, false), expected);
    }
    assert_eq!(frames.acquire(Mfn(11), ONE, false), Err(AcquireError::NotBacked));
}

#[test]
fn a_freed_table_is_poisoned_rests_and_comes_back_zeroed() {
    let tables = Tables::new(Mfn(100), 2, false);
    let violations = Violations::default();
    let alloc = || tables.alloc(ONE, Pool::Open, &violations);
    let (a, b) = (alloc().unwrap(), alloc().unwrap());
    assert_eq!(alloc(), None);
    let words = tables.words(a, &violations);
    words[3].store(77, Ordering::Relaxed);
    tables.free(ONE, a, Pool::Open, &violations);
    assert_eq!(words[3].load(Ordering::Relaxed), POISON);
    assert!(tables.words(a, &violations).is_empty());
    assert_eq!(violations.list(), [Violation::FreeTableLookup { frame: a }]);
    assert!(tables.words(Mfn(5), &violations).is_empty());
    assert_eq!(violations.count(), 1);
    assert_eq!(alloc(), Some(a));
    assert_eq!(words[3].load(Ordering::Relaxed), 0);
    assert_eq!(tables.usage().peak, 2);

    tables.free(TWO, b, Pool::Open, &violations);
    tables.free(ONE, b, Pool::Open, &violations);
    tables.free(ONE, b, Pool::Open, &violations);
    let bad = |domain| Violation::BadTableFree { domain, frame: b };
    assert_eq!(violations.list()[1..], [bad(TWO), bad(ONE)]);
}

#[test]
fn reserved_table_frames_are_kept_for_who_reserved_them() {
    let tables = Tables::new(Mfn(100), 8, false);
    let violations = Violations::default();
    tables.limit(ONE, 6);
    assert!(tables.reserve(ONE, 3));
    assert!(!tables.reserve(ONE, 4));
    assert!(!tables.reserve(TWO, 6));
    let mine: Vec<_> =
        (0..3).map(|_| tables.alloc(ONE, Pool::Open, &violations).unwrap()).collect();
    assert_eq!(tables.alloc(ONE, Pool::Open, &violations), None);
    for _ in 0..2 {
        assert!(tables.alloc(TWO, Pool::Open, &violations).is_some());
    }
    assert_eq!(tables.alloc(TWO, Pool::Open, &violations), None);
    // What was reserved cannot fail, and a frame can go back into the reserve.
    assert!(tables.alloc(ONE, Pool::Reserved, &violations).is_some());
    tables.free(ONE, mine[0], Pool::Reserved, &violations);
    assert_eq!(tables.charged(ONE), (3, 3));
    tables.unreserve(ONE, 3, &violations);
    assert_eq!(violations.count(), 0);
    assert_eq!(tables.alloc(ONE, Pool::Reserved, &violations), None);
    tables.unreserve(ONE, 1, &violations);
    let underflow = Violation::ReserveUnderflow { domain: ONE };
    assert_eq!(violations.list(), [underflow, underflow]);
}
