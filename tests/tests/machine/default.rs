//! The machine with the service on it, domains with default maps, and what changes under them.

use pviommu_abi::{Bfn, DomId, Gfn, PciDevice};
use pviommu_hypervisor::{
    Background, DefaultMap, ReservedKind, Role, SetupError,
    addr::{BfnRange, GfnRange, Mfn, MfnRange},
    platform::Access,
};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Bed, Config, DeviceConfig, DomainConfig, reserved, try_run},
};

use crate::run;

const ONE: DomId = DomId(1);
const DEVICE: PciDevice = PciDevice::new(0, 0, 3, 0);
const SECOND: PciDevice = PciDevice::new(0, 0, 4, 0);
const SPARE: Gfn = Gfn(0x1000);

fn gfns(first: u64, pages: u64) -> GfnRange {
    GfnRange::of_pages(Gfn(first), pages).unwrap()
}

/// 0x40 scattered pages and 0x200 contiguous ones, and a hardware domain beside the guest.
fn config(map: DefaultMap) -> Config {
    let mut config = Config::one_guest(0x40);
    config.domains[0].ram.push(gfns(0x200, 0x200));
    config.domains[0].contiguous = vec![gfns(0x200, 0x200)];
    config = config.with_default_map(map);
    if map == DefaultMap::Host {
        config.domains[0].role = Role::Hardware;
    }
    config
}

/// The bus frame at which the device finds what is behind `gfn`.
fn bfn(bed: &Bed<'_>, map: DefaultMap, gfn: Gfn) -> u64 {
    let frame = bed.board().machine_frame(ONE, gfn).map_or(0, |frame| frame.0);
    if matches!(map, DefaultMap::Host | DefaultMap::IdentityMfn) { frame } else { gfn.0 }
}

fn reach(bed: &Bed<'_>, bfn: u64, way: Direction) -> Option<Mfn> {
    let hit = bed.dma_probe(DEVICE, bfn << 12, way).ok()?;
    (hit.reach != pviommu_testbed::machine::Reach::Scratch).then_some(hit.frame)
}

fn end(bed: &Bed<'_>) {
    assert_eq!(bed.teardown(ONE, 0), 0);
    bed.assert_clean();
}

const MAINTAINED: [DefaultMap; 2] = [DefaultMap::IdentityGfn, DefaultMap::IdentityMfn];

#[test]
fn a_device_finds_its_domain_s_memory_in_every_default_map() {
    for map in [DefaultMap::Host, DefaultMap::Guest, MAINTAINED[0], MAINTAINED[1]] {
        run(&config(map), |bed| {
            for gfn in [0, 0x3f, 0x200, 0x3ff].map(Gfn) {
                let frame = bed.board().machine_frame(ONE, gfn);
                let at = bfn(bed, map, gfn);
                assert_eq!(reach(bed, at, Direction::Write), frame, "{map:?}: {gfn:?}");
            }
            end(bed);
        });
    }
}

#[test]
fn a_maintained_map_follows_the_p2m() {
    for map in MAINTAINED {
        run(&config(map), |bed| {
            for gfn in [3, 0x210].map(Gfn) {
                let at = bfn(bed, map, gfn);
                assert!(reach(bed, at, Direction::Write).is_some());
                bed.balloon_out(ONE, gfn).unwrap();
                assert_eq!(reach(bed, at, Direction::Read), None);
                let frame = bed.populate(ONE, gfn).unwrap();
                assert_eq!(reach(bed, bfn(bed, map, gfn), Direction::Write), Some(frame));
                let frame = bed.exchange(ONE, gfn).unwrap();
                let at = bfn(bed, map, gfn);
                assert_eq!(reach(bed, at, Direction::Write), Some(frame));
                bed.set_access(ONE, gfn, Access::READ).unwrap();
                assert_eq!(reach(bed, at, Direction::Write), None);
                assert_eq!(reach(bed, at, Direction::Read), Some(frame));
                bed.set_access(ONE, gfn, Access::empty()).unwrap();
                assert_eq!(reach(bed, at, Direction::Read), None);
            }
            let frames = bed.populate_range(ONE, GfnRange::of_pages(SPARE, 8).unwrap()).unwrap();
            let last = Gfn(SPARE.0 + 7);
            let found = reach(bed, bfn(bed, map, last), Direction::Write);
            assert_eq!(found, frames.last().copied());
            bed.balloon_out_range(ONE, gfns(0x220, 0x20)).unwrap();
            assert_eq!(bed.exchange_range(ONE, gfns(0x240, 4)).unwrap().len(), 4);
            bed.set_access_range(ONE, gfns(0x250, 8), Access::READ).unwrap();
            end(bed);
        });
    }
}

#[test]
fn a_map_that_nobody_maintains_does_not_follow_the_p2m() {
    run(&config(DefaultMap::Guest), |bed| {
        let frame = bed.board().machine_frame(ONE, Gfn(3)).unwrap();
        bed.balloon_out(ONE, Gfn(3)).unwrap();
        bed.populate(ONE, Gfn(3)).unwrap();
        assert_eq!(reach(bed, 3, Direction::Write), Some(frame), "it is pinned");
        bed.retarget(ONE, &[MfnRange::single(frame)]).unwrap();
        assert_eq!(reach(bed, 3, Direction::Read), None);
        end(bed);
    });
}

fn with_direct(background: Background) -> Config {
    let mut config = Config::one_guest(16).with_quarantine(background).with_direct_ranges();
    let range = BfnRange::of_pages(Bfn(0x8000), 3).unwrap();
    config.devices[0].reserved = vec![reserved(range, ReservedKind::Direct)];
    config.devices[0].aliases = vec![PciDevice::new(0, 0, 3, 1)];
    let device = DeviceConfig { function: SECOND, unowned: true, ..DeviceConfig::default() };
    config.devices.push(device);
    config.domains.push(DomainConfig { id: DomId(2), ..config.domains[0].clone() });
    config
}

/// INV-31: the machine looks at every step.
#[test]
fn a_direct_range_is_there_wherever_its_device_goes() {
    for background in [Background::Fault, Background::Scratch] {
        run(&with_direct(background), |bed| {
            bed.check_direct(DEVICE);
            bed.unassign(ONE, 0, DEVICE).unwrap();
            bed.check_direct(DEVICE);
            assert_eq!(bed.board().device_entries(DEVICE).len(), 2);
            bed.assign(DomId(2), DEVICE).unwrap();
            bed.assign(ONE, SECOND).unwrap();
            bed.check_direct(DEVICE);
            assert_eq!(bed.teardown(DomId(2), 0), 0);
            bed.check_direct(DEVICE);
            assert_eq!(bed.faults(), []);
            end(bed);
        });
    }
}

#[test]
fn a_direct_range_that_is_not_firmware_s_is_refused_at_the_start() {
    let mut config = with_direct(Background::Fault);
    let range = BfnRange::of_pages(Bfn(0x14_0000), 3).unwrap();
    config.devices[0].reserved = vec![reserved(range, ReservedKind::Direct)];
    let refused = try_run(&config, |_| ()).unwrap_err();
    assert_eq!(refused, SetupError::DirectIsMemory(DEVICE, range));
}
