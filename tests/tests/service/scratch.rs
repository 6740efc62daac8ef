//! The background: what a device finds where nobody mapped anything.

use pviommu_abi::{
    AllocContextExt, Background as Wire, Bfn, ContextId, Errno, FreeFlags, PciDevice, Subop,
};
use pviommu_hypervisor::{
    Reserved, ReservedKind,
    addr::BfnRange,
    platform::{UnitFeatures, UnitId},
};
use pviommu_testbed::{
    iommu::Direction,
    machine::{self, Config, DeviceConfig, Reach, Step, When, vtd_facts},
};

use crate::kit::{DEVICE, GUEST, RW, Vm, err, over_scratch, tables_of_holes, with, with_guest};

const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
const TOP: u64 = (1 << 36) - 1;

fn alloc(vm: &Vm<'_>, background: Wire, aperture: (u64, u64)) -> Result<ContextId, i64> {
    let mut argument = AllocContextExt {
        background,
        aperture_first: Bfn(aperture.0),
        aperture_last: Bfn(aperture.1),
        ..AllocContextExt::default()
    };
    match vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument) {
        0 => Ok(ContextId(u16::try_from(argument.ctx_id).unwrap())),
        status => Err(status),
    }
}

fn is_blocked(vm: &Vm<'_>, device: PciDevice, bfn: u64) -> bool {
    vm.hits(device, bfn, Direction::Read).is_none()
        && vm.hits(device, bfn, Direction::Write).is_none()
}

fn reserved(first: u64, pages: u64, kind: ReservedKind) -> Reserved {
    machine::reserved(BfnRange::of_pages(Bfn(first), pages).unwrap(), kind)
}

/// Two devices behind two units, the first with a reserved range.
fn two_devices(range: Reserved) -> Config {
    let mut config = Config::one_guest(64);
    config.units.push(vtd_facts());
    config.devices[0].reserved.push(range);
    config.devices.push(DeviceConfig {
        function: SECOND,
        unit: UnitId(1),
        ..DeviceConfig::default()
    });
    config
}

/// INV-72.
#[test]
fn every_bus_frame_that_is_not_mapped_hits_the_background() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        for bfn in (0..36).map(|bit| 1 << bit).chain([0, 511, 512, 0xfedff, 0xfef00, TOP]) {
            assert!(vm.hits_background(DEVICE, bfn), "{bfn:#x}");
        }
        // Across the end of a leaf table.
        assert_eq!(vm.map(context, 500, 3, 24, RW), (0, 24));
        assert!((0..24).all(|i| vm.lands_in(DEVICE, 500 + i, 3 + i)));
        assert!([499, 524, 0, 1023, 1024].iter().all(|bfn| vm.hits_background(DEVICE, *bfn)));
        assert_eq!(vm.unmap(context, 500, 24), (0, 24));
        assert!((500..524).all(|bfn| vm.hits_background(DEVICE, bfn)));
        assert_eq!(vm.bed.take_faults().is_empty(), over_scratch());
        vm.end();
    });
}

/// A map over scratch changes what is present: the device would go on writing into nowhere.
#[test]
fn a_map_over_a_translation_that_is_cached_is_flushed_before_it_returns() {
    with_guest(1024, |vm| {
        let context = vm.attached_context();
        // Each of these has other tables to replace: all of them, one, none.
        for (bfn, gfn) in [(5, 1), (6, 2), (512 + 5, 3), (1 << 18, 4), (1 << 27, 5), (TOP, 6)] {
            assert!(vm.hits_background(DEVICE, bfn));
            assert!(vm.hits_background(DEVICE, bfn ^ 1));
            assert_eq!(vm.map(context, bfn, gfn, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, bfn, gfn), "{bfn:#x}");
            assert!(vm.lands_in(DEVICE, bfn, gfn), "{bfn:#x}");
        }
        vm.end();
    });
}

#[test]
fn large_leaves_and_runs_take_the_place_of_scratch_and_give_it_back() {
    let mut config = Config::one_guest(2048);
    config.domains[0].contiguous =
        vec![pviommu_hypervisor::addr::GfnRange::of_pages(pviommu_abi::Gfn(512), 512).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert!(vm.hits_background(DEVICE, 1024) && vm.hits_background(DEVICE, 1535));
        assert_eq!(vm.map(context, 1024, 512, 512, RW), (0, 512));
        assert_eq!(vm.bed.counters().table_frames_reserved, 1);
        assert!(vm.lands_in(DEVICE, 1024, 512) && vm.lands_in(DEVICE, 1535, 1023));
        assert_eq!(vm.unmap(context, 1024, 512), (0, 512));
        assert!(vm.hits_background(DEVICE, 1024) && vm.hits_background(DEVICE, 1535));
        assert_eq!(vm.map(context, 1024, 512, 512, RW), (0, 512));
        assert_eq!(vm.unmap(context, 1030, 1), (0, 1));
        assert!(vm.hits_background(DEVICE, 1030) && vm.lands_in(DEVICE, 1031, 519));
        // A run of small leaves goes several at a time.
        assert_eq!(vm.map(context, 3001, 520, 24, RW), (0, 24));
        assert!(vm.lands_in(DEVICE, 3001, 520) && vm.lands_in(DEVICE, 3024, 543));
        assert_eq!(vm.unmap(context, 3001, 24), (0, 24));
        assert!((3001..3025).all(|bfn| vm.hits_background(DEVICE, bfn)));
        vm.end();
    });
}

/// INV-44.
#[test]
fn a_scratch_page_belongs_to_one_context_and_begins_as_zeros() {
    with(&two_devices(reserved(0x9_0000, 1, ReservedKind::Reserved)), |vm| {
        let first = alloc_scratch(vm);
        let second = alloc_scratch(vm);
        assert_eq!((vm.attach(DEVICE, first), vm.attach(SECOND, second)), (0, 0));
        vm.bed.dma_write(DEVICE, 0x1234_5000, &[0x77; 16]).unwrap();
        let mut seen = [1; 16];
        vm.bed.dma_read(DEVICE, 0x6000, &mut seen).unwrap();
        assert_eq!(seen, [0x77; 16], "one page for all bus frames");
        vm.bed.dma_read(SECOND, 0x6000, &mut seen).unwrap();
        assert_eq!(seen, [0; 16]);
        for _ in 0..100 {
            assert_eq!(vm.free(first, FreeFlags::REATTACH_DEFAULT), 0);
            assert_eq!(alloc_scratch(vm), first);
            assert_eq!(vm.attach(DEVICE, first), 0);
            vm.bed.dma_read(DEVICE, 0x6000, &mut seen).unwrap();
            assert_eq!(seen, [0; 16]);
            vm.bed.dma_write(DEVICE, 0x6000, &[0x77; 16]).unwrap();
        }
        vm.end();
    });
}

fn alloc_scratch(vm: &Vm<'_>) -> ContextId {
    if vm.capabilities().max_ctx_no == 0 {
        assert_eq!(vm.init(128, 12), 0);
    }
    alloc(vm, Wire::SCRATCH, (0, 0)).unwrap()
}

/// INV-30, INV-31: what is reserved is left out of the background, whoever attaches when.
#[test]
fn reserved_ranges_are_not_backed_by_scratch() {
    // Across the end of a leaf table, so that both ends take tables of their own.
    let mut config = two_devices(reserved(0x8_01f0, 0x220, ReservedKind::Reserved));
    config.reserved.push(reserved(0x40_0000, 0x400, ReservedKind::Reserved));
    config.reserved.push(reserved(0x50_0000, 4, ReservedKind::DirectRelaxable));
    with(&config, |vm| {
        let context = alloc_scratch(vm);
        assert_eq!(vm.attach(SECOND, context), 0);
        let scratch = |bfn| vm.hits(SECOND, bfn, Direction::Write) == Some(Reach::Scratch);
        assert!(scratch(0x8_01f0) && scratch(0x8_040f), "nobody has reserved it yet");
        assert!(scratch(0x3f_ffff) && scratch(0x40_0400) && scratch(0x50_0001));
        for bfn in [0x40_0000, 0x40_01ff, 0x40_0200, 0x40_03ff, 0xfee00, 0xfeeff] {
            assert!(is_blocked(vm, SECOND, bfn), "{bfn:#x}");
        }
        for _ in 0..2 {
            assert_eq!(vm.attach(DEVICE, context), 0);
            for bfn in [0x8_01f0, 0x8_01ff, 0x8_0200, 0x8_03ff, 0x8_0400, 0x8_040f] {
                assert!(is_blocked(vm, DEVICE, bfn) && is_blocked(vm, SECOND, bfn), "{bfn:#x}");
                assert_eq!(vm.map(context, bfn, 1, 1, RW), (err(Errno::EADDRNOTAVAIL), 0));
            }
            assert!(scratch(0x8_01ef) && scratch(0x8_0410));
            assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
            for bfn in [0x8_01f0, 0x8_0200, 0x8_03ff, 0x8_040f] {
                assert!(scratch(bfn), "{bfn:#x} is nobody's any more");
            }
        }
        assert_eq!(vm.map(context, 0x8_0200, 1, 1, RW), (0, 1));
        assert!(vm.lands_in(SECOND, 0x8_0200, 1));
        assert_eq!(vm.attach(DEVICE, context), err(Errno::EADDRINUSE));
        assert!(scratch(0x8_0201) && vm.lands_in(SECOND, 0x8_0200, 1));
        vm.end();
    });
}

#[test]
fn a_range_that_several_reserve_is_restored_when_the_last_has_left() {
    let mut config = two_devices(reserved(0x1000, 0x20, ReservedKind::Reserved));
    config.devices[1].reserved.push(reserved(0x1010, 0x20, ReservedKind::Reserved));
    config.devices.push(DeviceConfig {
        function: PciDevice { seg: 0, bus: 0, devfn: 5 << 3 },
        ..DeviceConfig::default()
    });
    let third = config.devices[2].function;
    with(&config, |vm| {
        let context = alloc_scratch(vm);
        assert!([DEVICE, SECOND, third].iter().all(|device| vm.attach(*device, context) == 0));
        let blocked =
            |bfns: std::ops::Range<u64>| bfns.clone().all(|bfn| is_blocked(vm, third, bfn));
        let scratch = |bfn| vm.hits(third, bfn, Direction::Read) == Some(Reach::Scratch);
        assert!(scratch(0xfff) && blocked(0x1000..0x1030) && scratch(0x1030));
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        assert!((0x1000..0x1010).all(scratch) && blocked(0x1010..0x1030));
        assert_eq!(vm.attach(SECOND, ContextId::DEFAULT), 0);
        assert!((0xfff..0x1031).all(scratch));
        vm.end();
    });
}

/// INV-57: the background is paid for by its domain, and what cannot be paid for is not half built.
#[test]
fn the_background_costs_the_same_whatever_the_aperture() {
    let mut config = Config::one_guest(16);
    // The root, three shared tables, the page, and what leads to the interrupts and other holes.
    let frames = 8 + tables_of_holes();
    config.domains[0].table_frames = Some(frames);
    with(&config, |vm| {
        assert_eq!(vm.init(4, 8), 0);
        let used = || vm.bed.domain(GUEST).stats().table_frames;
        let context = alloc(vm, Wire::SCRATCH, (0, 0)).unwrap();
        assert_eq!(used(), frames);
        assert_eq!(alloc(vm, Wire::SCRATCH, (0, 0)), Err(err(Errno::ENOMEM)));
        assert_eq!((used(), vm.bed.counters().scratch_frames_live), (frames, 1));
        assert_eq!(vm.free(context, FreeFlags::empty()), 0);
        assert_eq!((used(), vm.bed.counters().scratch_frames_live), (0, 0));
        assert!(alloc(vm, Wire::FAULT, (0, 0)).is_ok());
        assert_eq!(used(), 1);
        vm.end();
    });
}

#[test]
fn a_device_that_cannot_be_made_room_for_leaves_the_background_as_it_was() {
    with(&two_devices(reserved(0x9_01f0, 0x20, ReservedKind::Reserved)), |vm| {
        let context = alloc_scratch(vm);
        assert_eq!(vm.attach(SECOND, context), 0);
        for nth in 1..=3 {
            vm.bed.schedule().set(Step::Alloc, When::From(nth));
            assert_eq!(vm.attach(DEVICE, context), err(Errno::ENOMEM));
            vm.bed.schedule().clear();
            assert!(
                (0x9_01ef..0x9_0211)
                    .all(|bfn| { vm.hits(SECOND, bfn, Direction::Read) == Some(Reach::Scratch) })
            );
            assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        }
        assert_eq!(vm.attach(DEVICE, context), 0);
        assert!(is_blocked(vm, SECOND, 0x9_0200));
        vm.end();
    });
}

#[test]
fn beyond_a_chosen_aperture_there_is_no_background() {
    with_guest(16, |vm| {
        assert_eq!(vm.init(4, 12), 0);
        let context = alloc(vm, Wire::SCRATCH, (0x1_2345, 0x3_4567)).unwrap();
        assert_eq!(vm.attach(DEVICE, context), 0);
        for (bfn, scratch) in [
            (0, false),
            (0x1_2344, false),
            (0x1_2345, true),
            (0x2_0000, true),
            (0x3_4567, true),
            (0x3_4568, false),
            (TOP, false),
        ] {
            let hit = vm.hits(DEVICE, bfn, Direction::Read);
            assert_eq!(hit, scratch.then_some(Reach::Scratch), "{bfn:#x}");
            assert_eq!(vm.map(context, bfn, 1, 1, RW).0 == 0, scratch);
        }
        vm.end();
    });
}

#[test]
fn tables_of_every_depth_have_a_background() {
    for (feature, bits) in
        [(UnitFeatures::LEVELS_3, 39), (UnitFeatures::LEVELS_4, 46), (UnitFeatures::LEVELS_5, 57)]
    {
        let mut config = Config::one_guest(16);
        let unit = &mut config.units[0];
        unit.features.remove(UnitFeatures::LEVELS_4);
        unit.features.insert(feature);
        unit.bus_address_bits = bits;
        with(&config, |vm| {
            let context = alloc_scratch(vm);
            assert_eq!(vm.attach(DEVICE, context), 0);
            let top = (1u64 << (bits - 12)) - 1;
            for bfn in [0, 1 << 20, top / 2, top - 1, top] {
                assert_eq!(vm.hits(DEVICE, bfn, Direction::Write), Some(Reach::Scratch));
            }
            assert_eq!(vm.map(context, top, 5, 1, RW), (0, 1));
            assert!(vm.lands_in(DEVICE, top, 5) && is_blocked(vm, DEVICE, 0xfee80));
            vm.end();
        });
    }
}

#[test]
fn that_scratch_was_written_is_told_once() {
    with_guest(16, |vm| {
        let context = alloc_scratch(vm);
        assert_eq!(vm.attach(DEVICE, context), 0);
        let told = || vm.bed.iommu().scratch_written(vm.bed.domain(GUEST), 0);
        vm.bed.dma_read(DEVICE, 0x6000, &mut [0; 8]).unwrap();
        assert_eq!(told(), None);
        vm.bed.dma_write(DEVICE, 0x6ff8, &[0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        assert_eq!(told(), Some(context));
        assert_eq!(told(), None);
        vm.end();
    });
}
