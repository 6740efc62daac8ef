//! By what right a device is where no reference holds the page: each right, and what it is not.

use pviommu_abi::{Bfn, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    Background, DefaultMap, ReservedKind,
    addr::{BfnRange, GfnRange, Mfn},
    format::FormatKind,
    platform::{Invalidation, IommuHw, Preempt, SourceId, TableFrames, Tag, UnitId},
};
use pviommu_testbed::{
    iommu::{
        Direction, FaultReason, Origin, Soft,
        handmade::{HandMade, RW},
    },
    machine::{Board, Config, DeviceConfig, DomainConfig, Platform, Reach, Violation, reserved},
};

const ONE: DomId = DomId(1);
const TWO: DomId = DomId(2);
const DEVICE: PciDevice = PciDevice::new(0, 0, 3, 0);
const ALIAS: PciDevice = PciDevice::new(0, 0, 3, 1);
const OTHER: PciDevice = PciDevice::new(0, 0, 4, 0);
const UNIT: UnitId = UnitId(0);
const TAG: Tag = Tag(3);
const DIRECT: u64 = 0x8000;

/// Two domains with a device each; that of the first has a direct range and an alias.
fn config() -> Config {
    let mut config = Config::one_guest(16).with_quarantine(Background::Scratch);
    let ram = vec![GfnRange::of_pages(Gfn(0), 16).unwrap()];
    config.domains.push(DomainConfig { id: TWO, ram, ..DomainConfig::default() });
    let range = BfnRange::of_pages(Bfn(DIRECT), 2).unwrap();
    config.devices[0].reserved = vec![reserved(range, ReservedKind::Direct)];
    config.devices[0].aliases = vec![ALIAS];
    config.devices.push(DeviceConfig { function: OTHER, owner: TWO, ..DeviceConfig::default() });
    config
}

struct Rig<'b> {
    board: &'b Board,
    platform: Platform<'b>,
    table: HandMade<'b>,
}

/// The first device, owned by the first domain and in a table made by hand.
fn with(body: impl FnOnce(&Rig<'_>)) {
    let board = Board::new(&config());
    let platform = Platform::new(&board, &[]);
    let table = HandMade::new(board.memory(), 4);
    platform.attach(UNIT, SourceId(DEVICE), table.root(), TAG).unwrap();
    board.set_device_owner(DEVICE, Some(ONE));
    board.set_device_owner(OTHER, Some(TWO));
    body(&Rig { board: &board, platform, table });
}

impl Rig<'_> {
    fn ram(&self, domain: DomId, gfn: u64) -> Mfn {
        self.board.machine_frame(domain, Gfn(gfn)).unwrap()
    }

    /// Maps bus frame 7 to `frame` by an entry of this origin, and reads there.
    fn reads(&self, frame: Mfn, origin: Origin) -> Result<(), FaultReason> {
        self.platform.invalidate(UNIT, TAG, Invalidation::Everything).unwrap();
        self.map(7, frame, origin);
        self.read()
    }

    fn map(&self, bfn: u64, frame: Mfn, origin: Origin) {
        let soft = Soft { origin, referenced: false };
        self.table.set(bfn, 1, frame.0 << 12 | RW | soft.bits(FormatKind::VtdSecondStage));
    }

    fn read(&self) -> Result<(), FaultReason> {
        let read = self.board.dma_probe(DEVICE, 7 << 12, Direction::Read);
        read.map(|_| ()).map_err(|fault| fault.reason)
    }

    fn violations(&self) -> Vec<Violation> {
        self.board.memory().violations.list()
    }
}

const STOPPED: Result<(), FaultReason> = Err(FaultReason::Stopped);

#[test]
fn a_maintained_map_reaches_its_domain_s_pages_and_no_others() {
    with(|rig| {
        let (own, other) = (rig.ram(ONE, 3), rig.ram(TWO, 3));
        assert_eq!(rig.reads(own, Origin::Maintained), STOPPED, "nobody maintains a blocked map");
        rig.board.assume_default_map(ONE, DefaultMap::IdentityGfn);
        assert_eq!(rig.reads(own, Origin::Maintained), Ok(()));
        assert_eq!(rig.reads(other, Origin::Maintained), STOPPED);
        rig.board.assume_default_map(TWO, DefaultMap::IdentityGfn);
        assert_eq!(rig.reads(other, Origin::Maintained), STOPPED);
        // A guest's entry, or an initial one, needs a reference all the same.
        assert_eq!(rig.reads(own, Origin::Guest), STOPPED);
        assert_eq!(rig.reads(own, Origin::Initial), STOPPED);
        let stopped = |seen: &&Violation| matches!(seen, Violation::Access { .. });
        assert_eq!(rig.violations().iter().filter(stopped).count(), 5);
    });
}

#[test]
fn a_maintained_translation_of_a_page_that_is_freed_is_seen() {
    with(|rig| {
        rig.board.assume_default_map(ONE, DefaultMap::IdentityGfn);
        let frame = rig.ram(ONE, 3);
        assert_eq!(rig.reads(frame, Origin::Maintained), Ok(()));
        rig.board.memory().frames.retire(frame, ONE).unwrap();
        assert_eq!(rig.read(), STOPPED);
        rig.platform.invalidate(UNIT, TAG, Invalidation::Everything).unwrap();
        let seen = rig.violations();
        let expected = [
            Violation::Access {
                unit: UNIT,
                device: DEVICE,
                address: 7 << 12,
                frame,
                reach: Reach::Free,
            },
            Violation::ReleasedBeforeFlush { unit: UNIT, tag: TAG, bfn: 7, frame },
        ];
        assert_eq!(seen, expected);
    });
}

/// A reference of another mapping keeps the page, and not the right to be there.
#[test]
fn a_maintained_map_does_not_reach_a_page_that_left_though_something_holds_it() {
    with(|rig| {
        rig.board.assume_default_map(ONE, DefaultMap::IdentityGfn);
        let frame = rig.ram(ONE, 3);
        rig.board.memory().frames.acquire(frame, ONE, true).unwrap();
        rig.board.memory().frames.retire(frame, ONE).unwrap();
        assert_eq!(rig.reads(frame, Origin::Maintained), STOPPED);
        assert_eq!(rig.reads(frame, Origin::Guest), Ok(()));
    });
}

#[test]
fn a_host_map_reaches_all_memory_but_what_is_free_or_the_hypervisor_s() {
    with(|rig| {
        rig.board.assume_default_map(ONE, DefaultMap::Host);
        let other = rig.ram(TWO, 3);
        assert_eq!(rig.reads(other, Origin::Initial), Ok(()));
        assert_eq!(rig.reads(other, Origin::Guest), STOPPED);
        assert_eq!(rig.reads(rig.table.root().frame, Origin::Initial), STOPPED);
        rig.board.free_page(TWO, Gfn(3)).unwrap();
        let before = rig.violations().len();
        rig.platform.invalidate(UNIT, TAG, Invalidation::Everything).unwrap();
        rig.map(7, other, Origin::Initial);
        // Loaded and not used it hurts nobody: nothing has told the service that it is free.
        assert!(rig.board.prefetch(DEVICE, 7 << 12));
        assert_eq!(rig.violations().len(), before);
        assert_eq!(rig.read(), STOPPED);
    });
}

/// INV-31.
#[test]
fn a_direct_range_is_reached_by_those_who_share_its_context() {
    with(|rig| {
        assert_eq!(rig.reads(Mfn(DIRECT), Origin::Reserved), Ok(()));
        assert_eq!(rig.reads(Mfn(DIRECT), Origin::Guest), STOPPED);
        assert_eq!(rig.reads(rig.ram(ONE, 3), Origin::Reserved), STOPPED);
        rig.platform.attach(UNIT, SourceId(OTHER), rig.table.root(), TAG).unwrap();
        rig.map(9, Mfn(DIRECT + 1), Origin::Reserved);
        let probe = || rig.board.dma_probe(OTHER, 9 << 12, Direction::Write);
        assert!(probe().is_err());
        rig.board.set_device_owner(OTHER, Some(ONE));
        assert!(probe().is_ok());
    });
}

/// INV-31: the machine looks by itself, at every step.
#[test]
fn a_direct_range_that_is_missing_is_seen_at_the_next_step() {
    with(|rig| {
        let missing = |address, device| {
            let direction = Direction::Read;
            Err(Violation::DirectRangeMissing { unit: UNIT, device, address, direction })
        };
        let (first, last) = (DIRECT << 12, (DIRECT + 1) << 12);
        assert_eq!(rig.board.check_direct(DEVICE), missing(first, DEVICE));
        rig.map(DIRECT, Mfn(DIRECT), Origin::Reserved);
        rig.map(DIRECT + 1, Mfn(DIRECT + 1), Origin::Reserved);
        assert_eq!(rig.board.check_direct(DEVICE), missing(first, ALIAS), "each source id");
        rig.platform.attach(UNIT, SourceId(ALIAS), rig.table.root(), TAG).unwrap();
        assert_eq!(rig.board.check_direct(DEVICE), Ok(()));
        assert_eq!(rig.board.device_entries(DEVICE).len(), 2);

        rig.board.guard(DEVICE);
        rig.table.set(DIRECT + 1, 1, 0);
        for _ in 0..2 {
            let _ = rig.platform.table(rig.table.root().frame);
        }
        assert_eq!(
            rig.violations().into_iter().map(Err).collect::<Vec<_>>(),
            [missing(last, DEVICE)]
        );
        assert_eq!(rig.board.unit(UNIT).unwrap().faults(), []);
        assert!(!rig.platform.should_yield());
    });
}

/// INV-44.
#[test]
fn a_scratch_page_of_quarantine_is_for_one_device_whoever_owns_it() {
    with(|rig| {
        let page = rig.platform.alloc_scratch(DomId::IO).unwrap();
        for owner in [Some(ONE), Some(TWO), None] {
            rig.board.set_device_owner(DEVICE, owner);
            assert_eq!(rig.reads(page, Origin::Initial), Ok(()));
        }
        rig.platform.attach(UNIT, SourceId(OTHER), rig.table.root(), TAG).unwrap();
        assert!(rig.board.dma_probe(OTHER, 7 << 12, Direction::Read).is_err());
        let seen = rig.violations();
        assert!(
            matches!(seen[..], [Violation::ScratchOfAnother { device: OTHER, .. }]),
            "{seen:?}"
        );
    });
}
