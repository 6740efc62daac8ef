//! Scratch pages: what devices do with them, and the checks that belong to them, each provoked.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::sync::atomic::Ordering;

use pviommu_abi::{Bfn, DomId, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, Mfn},
    platform::{
        Invalidation, IommuHw, Pool, SourceId, TABLE_ENTRIES, TableFrames, TableRoot, Tag, UnitId,
    },
};
use pviommu_testbed::{
    iommu::{
        Direction, FaultReason,
        handmade::{HandMade, RW},
    },
    machine::{
        Board, Config, DeviceConfig, DomainConfig, Platform, Reach, Step, Violation, When, run,
        tables::POISON,
    },
};

const DOMAIN: DomId = DomId(1);
const OTHER: DomId = DomId(2);
const UNIT: UnitId = UnitId(0);
const TAG: Tag = Tag(3);
/// A device of each domain.
const DEVICES: [PciDevice; 2] = [PciDevice::new(0, 0, 3, 0), PciDevice::new(0, 0, 4, 0)];

fn config() -> Config {
    let device = |function, owner| DeviceConfig { function, owner, ..DeviceConfig::default() };
    let domain = |id| DomainConfig { id, table_frames: Some(16), ..DomainConfig::default() };
    Config {
        devices: vec![device(DEVICES[0], DOMAIN), device(DEVICES[1], OTHER)],
        domains: vec![domain(DOMAIN), domain(OTHER)],
        ..Config::default()
    }
}

/// What a device that is attached to a table by hand sees and does.
struct Rig<'b> {
    board: &'b Board,
    platform: Platform<'b>,
    table: HandMade<'b>,
    scratch: Mfn,
}

/// A device of `DOMAIN`, whose bus frames 7 and 8 lead to a scratch page.
fn with_scratch(body: impl FnOnce(&Rig<'_>)) {
    run(&config(), |bed| {
        let board = bed.board();
        let platform = Platform::new(board, &[]);
        let scratch = platform.alloc_scratch(DOMAIN).unwrap();
        let table = HandMade::new(board.memory(), 4);
        table.map(7, 1, scratch);
        table.map(8, 1, scratch);
        let rig = Rig { board, platform, table, scratch };
        rig.attach(DEVICES[0], table.root(), TAG);
        body(&rig);
    });
}

impl Rig<'_> {
    fn attach(&self, device: PciDevice, root: TableRoot, tag: Tag) {
        self.platform.attach(UNIT, SourceId(device), root, tag).unwrap();
    }

    fn probe(&self, device: PciDevice, bfn: u64) -> Result<(Mfn, Reach), FaultReason> {
        let hit = self.board.dma_probe(device, bfn << 12, Direction::Write);
        hit.map(|hit| (hit.frame, hit.reach)).map_err(|fault| fault.reason)
    }

    fn invalidate(&self) {
        let what = Invalidation::Tables(BfnRange::of_pages(Bfn(7), 2).unwrap());
        self.platform.invalidate(UNIT, TAG, what).unwrap();
    }

    fn free(&self) {
        self.platform.free_scratch(DOMAIN, self.scratch);
    }

    fn seen(&self) -> Vec<Violation> {
        self.board.memory().violations.list()
    }
}

#[test]
fn what_a_device_writes_to_a_scratch_page_is_what_its_words_show() {
    run(&config(), |bed| {
        let platform = Platform::new(bed.board(), &[]);
        let scratch = platform.alloc_scratch(DOMAIN).unwrap();
        assert_eq!(platform.table(scratch).len(), TABLE_ENTRIES);
        assert!(platform.table(scratch).iter().all(|word| word.load(Ordering::Relaxed) == 0));
        let table = HandMade::new(bed.board().memory(), 4);
        table.map(7, 1, scratch);
        table.map(8, 1, scratch);
        platform.attach(UNIT, SourceId(DEVICES[0]), table.root(), TAG).unwrap();

        // Over the end of one bus page into the next: the same page, its end and its beginning.
        bed.dma_write(DEVICES[0], (8 << 12) - 3, &[1, 2, 3, 4, 5]).unwrap();
        let words = platform.table(scratch);
        assert_eq!(words[511].load(Ordering::Relaxed), 0x03_0201 << 40);
        assert_eq!(words[0].load(Ordering::Relaxed), 0x0504);
        words[1].store(u64::from_le_bytes(*b"scratchy"), Ordering::Relaxed);
        let mut bytes = [0; 10];
        bed.dma_read(DEVICES[0], (7 << 12) + 1, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\x05\0\0\0\0\0\0scr");
        let counters = bed.counters();
        assert_eq!((counters.scratch_writes, counters.scratch_reads), (2, 1));
        assert_eq!(bed.violations(), []);
    });
}

#[test]
fn a_scratch_page_is_charged_like_a_table_and_counted_apart() {
    run(&config(), |bed| {
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

#[test]
#[should_panic(expected = "scratch pages are left")]
fn a_scratch_page_that_is_left_is_told() {
    run(&config(), |bed| {
        Platform::new(bed.board(), &[]).alloc_scratch(DOMAIN).unwrap();
        bed.assert_clean();
    });
}

#[test]
fn a_probe_says_where_an_access_lands_and_fills_the_caches() {
    with_scratch(|rig| {
        assert_eq!(rig.probe(DEVICES[0], 7), Ok((rig.scratch, Reach::Scratch)));
        assert_eq!(rig.board.unit(UNIT).unwrap().cached(TAG), (1, 3));
        assert_eq!(rig.probe(DEVICES[0], 9), Err(FaultReason::NotPresent));
        let nobody = PciDevice::new(0, 9, 9, 0);
        assert_eq!(rig.probe(nobody, 7), Err(FaultReason::NoDevice));
        assert_eq!(rig.board.memory().tables.usage().scratch, 1);
        assert_eq!(rig.seen(), []);
    });
}

#[test]
fn another_domain_s_device_does_not_reach_a_scratch_page() {
    with_scratch(|rig| {
        rig.attach(DEVICES[1], rig.table.root(), TAG);
        assert_eq!(rig.probe(DEVICES[1], 7), Err(FaultReason::Stopped));
        let (unit, device, address) = (UNIT, DEVICES[1], 7 << 12);
        let (frame, owner) = (rig.scratch, DOMAIN);
        let expected = Violation::ScratchOfAnother { unit, device, address, frame, owner };
        assert_eq!(rig.seen(), [expected]);
    });
}

#[test]
fn two_tables_do_not_share_a_scratch_page() {
    with_scratch(|rig| {
        assert!(rig.probe(DEVICES[0], 7).is_ok());
        let second = HandMade::new(rig.board.memory(), 4);
        second.map(7, 1, rig.scratch);
        rig.attach(DEVICES[0], second.root(), Tag(4));
        assert_eq!(rig.probe(DEVICES[0], 7), Err(FaultReason::Stopped));
        let (first, second) = (rig.table.root().frame, second.root().frame);
        let (unit, frame) = (UNIT, rig.scratch);
        let expected = Violation::ScratchUnderTwoRoots { unit, frame, first, second };
        assert_eq!(rig.seen(), [expected]);
    });
}

#[test]
fn a_scratch_page_freed_while_it_is_cached_is_seen() {
    with_scratch(|rig| {
        assert!(rig.probe(DEVICES[0], 7).is_ok());
        rig.table.set(7, 2, 0);
        rig.free();
        let (unit, tag, frame) = (UNIT, TAG, rig.scratch);
        let cached = Violation::ScratchFreedWhileCached { unit, frame };
        assert_eq!(rig.seen(), [cached]);
        rig.invalidate();
        let late = Violation::ReleasedBeforeFlush { unit, tag, bfn: 7, frame };
        assert_eq!(rig.seen(), [cached, late]);
    });
}

#[test]
fn a_scratch_page_freed_while_a_table_leads_to_it_is_seen() {
    with_scratch(|rig| {
        rig.free();
        let (unit, frame) = (UNIT, rig.scratch);
        let reachable = Violation::ScratchFreedWhileReachable { unit, frame };
        assert_eq!(rig.seen(), [reachable]);
        assert_eq!(rig.probe(DEVICES[0], 7), Err(FaultReason::Stopped));
        let (device, address, reach) = (DEVICES[0], 7 << 12, Reach::Free);
        let access = Violation::Access { unit, device, address, frame, reach };
        assert_eq!(rig.seen(), [reachable, access]);
    });
}

#[test]
fn a_scratch_page_that_is_unlinked_flushed_and_freed_is_in_order() {
    with_scratch(|rig| {
        assert!(rig.probe(DEVICES[0], 7).is_ok());
        rig.table.set(7, 2, 0);
        rig.invalidate();
        rig.free();
        assert_eq!(rig.seen(), []);
    });
}

#[test]
fn a_scratch_page_is_no_table() {
    with_scratch(|rig| {
        rig.table.set(0x200, 2, rig.scratch.0 << 12 | RW);
        assert_eq!(rig.probe(DEVICES[0], 0x200), Err(FaultReason::BadTable));
        let (unit, tag, address, frame) = (UNIT, TAG, 0x200 << 12, rig.scratch);
        let walked = Violation::WalkedScratch { unit, tag, address, frame };
        assert_eq!(rig.seen(), [walked]);
        let root = TableRoot { frame, levels: 4 };
        rig.attach(DEVICES[0], root, Tag(4));
        assert_eq!(rig.seen(), [walked, Violation::BadRoot { unit, frame, levels: 4 }]);
    });
}
