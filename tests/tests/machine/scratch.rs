//! Scratch pages: what devices do with them, and the checks that belong to them, each provoked.

use std::sync::atomic::Ordering;

use pviommu_abi::{Bfn, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    addr::{BfnRange, GfnRange, Mfn},
    platform::{
        Invalidation, IommuHw, SourceId, TABLE_ENTRIES, TableFrames, TableRoot, Tag, UnitId,
    },
};
use pviommu_testbed::{
    iommu::{Direction, FaultReason, Rights, handmade::HandMade},
    machine::{
        Board, Break, Config, DeviceConfig, DomainConfig, Harshness, Platform, Reach, Violation,
    },
};

use crate::{hand_made, run};

const DOMAIN: DomId = DomId(1);
const OTHER: DomId = DomId(2);
const UNIT: UnitId = UnitId(0);
const TAG: Tag = Tag(3);
/// A device of each domain.
const DEVICES: [PciDevice; 2] = [PciDevice::new(0, 0, 3, 0), PciDevice::new(0, 0, 4, 0)];

fn config() -> Config {
    let device = |function, owner| DeviceConfig { function, owner, ..DeviceConfig::default() };
    let mmio = vec![GfnRange::of_pages(Gfn(0xf_0000), 1).unwrap()];
    let domain = |id| DomainConfig { id, mmio: mmio.clone(), ..DomainConfig::default() };
    Config {
        devices: vec![device(DEVICES[0], DOMAIN), device(DEVICES[1], OTHER)],
        domains: vec![domain(DOMAIN), domain(OTHER)],
        // Nothing happens but what a test does.
        harshness: Harshness::NONE,
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
    with_broken(None, body);
}

fn with_broken(sabotage: Option<Break>, body: impl FnOnce(&Rig<'_>)) {
    run(&Config { sabotage, ..config() }, |bed| {
        let board = bed.board();
        let platform = Platform::new(board, &[]);
        let scratch = platform.alloc_scratch(DOMAIN).unwrap();
        let table = hand_made(board.memory(), 4);
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

    /// A frame that is not scratch and needs no reference.
    fn registers(&self) -> Mfn {
        self.board.machine_frame(DOMAIN, Gfn(0xf_0000)).unwrap()
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
        let table = hand_made(bed.board().memory(), 4);
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
        let second = hand_made(rig.board.memory(), 4);
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
        rig.table.set(0x200, 2, rig.table.link(2, rig.scratch, Rights::ALL));
        assert_eq!(rig.probe(DEVICES[0], 0x200), Err(FaultReason::BadTable));
        let (unit, tag, address, frame) = (UNIT, TAG, 0x200 << 12, rig.scratch);
        let walked = Violation::WalkedScratch { unit, tag, address, frame };
        assert_eq!(rig.seen(), [walked]);
        let root = TableRoot { frame, levels: 4 };
        rig.attach(DEVICES[0], root, Tag(4));
        assert_eq!(rig.seen(), [walked, Violation::BadRoot { unit, frame, levels: 4 }]);
    });
}

/// One leaf table of nothing but scratch, linked twice, makes room for a private one.
fn replace_shared_table(rig: &Rig<'_>) -> Result<(Mfn, Reach), FaultReason> {
    let memory = rig.board.memory();
    let shared = rig.table.table(0x200, 1);
    (0x200..0x400).for_each(|bfn| rig.table.map(bfn, 1, rig.scratch));
    rig.table.set(0x400, 2, rig.table.link(2, shared, Rights::ALL));
    assert_eq!(rig.probe(DEVICES[0], 0x405), Ok((rig.scratch, Reach::Scratch)));
    let other = hand_made(memory, 4);
    other.map(0x405, 1, rig.registers());
    let below = other.table(0x405, 1);
    rig.table.set(0x400, 2, rig.table.link(2, below, Rights::ALL));
    let what = Invalidation::Tables(BfnRange::of_pages(Bfn(0x400), 0x200).unwrap());
    rig.platform.invalidate(UNIT, TAG, what).unwrap();
    rig.probe(DEVICES[0], 0x405)
}

#[test]
fn a_private_table_replaces_a_shared_one_once_it_is_flushed() {
    with_scratch(|rig| {
        let registers = rig.registers();
        assert_eq!(replace_shared_table(rig), Ok((registers, Reach::Mmio)));
        assert_eq!(rig.seen(), []);
    });
}

#[test]
fn a_machine_that_flushes_leaves_only_goes_on_with_the_shared_table() {
    with_broken(Some(Break::LeafOnlyOnScratch), |rig| {
        assert_eq!(replace_shared_table(rig), Ok((rig.scratch, Reach::Scratch)));
        // Leaves that changed are flushed as ever.
        rig.table.map(7, 1, rig.registers());
        rig.invalidate();
        assert_eq!(rig.probe(DEVICES[0], 7), Ok((rig.registers(), Reach::Mmio)));
    });
}

#[test]
fn a_machine_that_keeps_stale_scratch_keeps_nothing_else() {
    with_broken(Some(Break::KeepStaleScratch), |rig| {
        assert!(rig.probe(DEVICES[0], 7).is_ok());
        rig.table.map(7, 1, rig.registers());
        rig.table.map(8, 1, rig.registers());
        assert_eq!(rig.probe(DEVICES[0], 8), Ok((rig.registers(), Reach::Mmio)));
        rig.table.set(8, 1, 0);
        rig.invalidate();
        assert_eq!(rig.probe(DEVICES[0], 7), Ok((rig.scratch, Reach::Scratch)));
        assert_eq!(rig.probe(DEVICES[0], 8), Err(FaultReason::NotPresent));
        assert_eq!(replace_shared_table(rig), Ok((rig.scratch, Reach::Scratch)));
    });
}
