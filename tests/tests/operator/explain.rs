//! Every reason there is, of tables: each is what then becomes of the access.

use pviommu_abi::{
    AllocContextExt, Background as Wire, Bfn, ContextId, MapFlags, PciDevice, Subop,
};
use pviommu_hypervisor::{
    DefaultMap, ReservedKind,
    addr::{BfnRange, Mfn},
    format::Origin,
    operator::{DeviceHome, Reason},
    platform::Access,
};
use pviommu_testbed::machine::{Config, reserved};

use crate::{
    kinds,
    kit::{DEVICE, GUEST, RW, Vm, over_scratch, with, with_guest},
    look::{ask, explain},
};

const READ: Access = Access::READ;
const WRITE: Access = Access::WRITE;
const ALIAS: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 0 };

/// Checks that nothing is mapped there, and that this is what the device finds.
fn is_background(vm: &Vm<'_>, bfn: u64) {
    let reason = explain(vm, DEVICE, bfn << 12, WRITE);
    match reason {
        Reason::Scratch(_) => assert!(over_scratch()),
        reason => assert_eq!((reason, over_scratch()), (Reason::NotMapped, false)),
    }
}

fn frame_of(vm: &Vm<'_>, gfn: u64) -> Mfn {
    let p2m = vm.bed.board().p2m(GUEST).unwrap();
    p2m.lookup(pviommu_abi::Gfn(gfn)).unwrap().frame
}

#[test]
fn what_is_mapped_is_let_through_and_nothing_else() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x100, 3, 2, RW), (0, 2));
        assert_eq!(vm.map(context, 0x102, 9, 1, MapFlags::READABLE), (0, 1));
        let (origin, rw) = (Origin::Guest, READ | WRITE);
        for (bfn, gfn) in [(0x100, 3), (0x101, 4)] {
            for access in [READ, WRITE] {
                let reason = explain(vm, DEVICE, (bfn << 12) + 0xabc, access);
                let Reason::Allowed { frame, allowed, origin: by, .. } = reason else {
                    unreachable!("{reason:?}")
                };
                assert_eq!((frame, allowed, by), (frame_of(vm, gfn), rw, origin));
            }
        }
        assert!(matches!(explain(vm, DEVICE, 0x10_2000, READ), Reason::Allowed { .. }));
        let denied = explain(vm, DEVICE, 0x10_2000, WRITE);
        let Reason::NotAllowed { frame, allowed, .. } = denied else { unreachable!("{denied:?}") };
        assert_eq!((frame, allowed), (frame_of(vm, 9), READ));
        is_background(vm, 0xff);
        is_background(vm, 0x103);
        is_background(vm, (1 << 36) - 1);
        assert_eq!(vm.unmap(context, 0x100, 1), (0, 1));
        is_background(vm, 0x100);
        vm.end();
    });
}

/// A frame of a large leaf is the one of the page, not the first.
#[test]
fn in_a_large_leaf_the_frame_is_that_of_the_page() {
    let mut config = Config::one_guest(2048);
    config.domains[0].contiguous =
        vec![pviommu_hypervisor::addr::GfnRange::of_pages(pviommu_abi::Gfn(512), 512).unwrap()];
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x400, 512, 512, RW), (0, 512));
        let told = ask(vm, DEVICE, 0x47b << 12, READ);
        assert_eq!(told.trail.entries().last().unwrap().0, 1, "{told}");
        let reason = explain(vm, DEVICE, 0x47b << 12, READ);
        assert!(
            matches!(reason, Reason::Allowed { frame, .. } if frame == frame_of(vm, 512 + 0x7b))
        );
        vm.end();
    });
}

#[test]
fn what_is_reserved_is_told_with_its_kind() {
    let range = BfnRange::of_pages(Bfn(0x9000), 4).unwrap();
    let mut config = Config::one_guest(64);
    config.reserved.push(reserved(range, ReservedKind::BridgeWindow));
    config.devices[0]
        .reserved
        .push(reserved(BfnRange::of_pages(Bfn(0xa000), 2).unwrap(), ReservedKind::Reserved));
    with(&config, |vm| {
        let _ = vm.attached_context();
        let kind = |bfn: u64| match explain(vm, DEVICE, bfn << 12, WRITE) {
            Reason::Reserved(reserved) => Some(reserved.kind),
            _ => None,
        };
        assert_eq!(kind(0x9003), Some(ReservedKind::BridgeWindow));
        assert_eq!(kind(0xa001), Some(ReservedKind::Reserved));
        assert_eq!(kind(0xfee00), Some(ReservedKind::Msi));
        assert_eq!(kind(0xfeeff), Some(ReservedKind::Msi));
        [0x8fff, 0x9004, 0xa002, 0xfedff, 0xfef00]
            .into_iter()
            .for_each(|bfn| is_background(vm, bfn));
        let hole = kind(0xfd0_0000);
        assert_eq!(hole.is_some(), kinds::has_hypertransport());
        vm.end();
    });
}

#[test]
fn what_is_beyond_the_aperture_of_the_context_or_the_units_is_told_so() {
    with_guest(64, |vm| {
        assert_eq!(vm.init(8, 10), 0);
        let mut argument = AllocContextExt {
            background: if over_scratch() { Wire::SCRATCH } else { Wire::FAULT },
            aperture_first: Bfn(0x1000),
            aperture_last: Bfn(0x1fff),
            ..AllocContextExt::default()
        };
        assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument), 0);
        let context = ContextId(u16::try_from(argument.ctx_id).unwrap());
        assert_eq!(vm.attach(DEVICE, context), 0);
        let aperture = BfnRange::new(Bfn(0x1000), Bfn(0x1fff)).unwrap();
        for bfn in [0, 0xfff, 0x2000, (1 << 36) - 1, 1 << 36, (1 << 52) - 1] {
            let reason = explain(vm, DEVICE, bfn << 12, READ);
            assert_eq!(reason, Reason::OutsideAperture(aperture), "{bfn:#x}");
        }
        [0x1000, 0x1fff].into_iter().for_each(|bfn| is_background(vm, bfn));
        vm.end();
    });
}

/// What its owner has mapped, and not any more when it was moved; by any of its ids.
#[test]
fn every_id_of_a_device_is_followed_to_where_the_device_is() {
    let mut config = Config::one_guest(64).with_default_map(DefaultMap::Guest);
    config.devices[0].aliases = vec![ALIAS];
    with(&config, |vm| {
        for source in [DEVICE, ALIAS] {
            let home = DeviceHome::Context(Some(ContextId::DEFAULT));
            assert_eq!(ask(vm, source, 0x5000, READ).device.unwrap().home, home);
            let reason = explain(vm, source, 0x5000, READ);
            let Reason::Allowed { origin, frame, .. } = reason else { unreachable!("{reason:?}") };
            assert_eq!((origin, frame), (Origin::Initial, frame_of(vm, 5)));
        }
        let context = vm.context();
        assert_eq!(vm.map(context, 5, 7, 1, RW), (0, 1));
        assert_eq!(vm.attach(DEVICE, context), 0);
        for source in [DEVICE, ALIAS] {
            let device = ask(vm, source, 0x5000, READ).device.unwrap();
            assert_eq!((device.function, device.owner), (DEVICE, Some(GUEST)));
            assert_eq!(device.home, DeviceHome::Context(Some(context)));
            let reason = explain(vm, source, 0x5000, WRITE);
            assert!(matches!(reason, Reason::Allowed { frame, .. } if frame == frame_of(vm, 7)));
            is_background(vm, 6);
        }
        vm.end();
    });
}

/// The entries are those of the walk, in the order of the walk.
#[test]
fn the_trail_is_the_walk_from_the_root_to_the_entry_that_decides() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x100, 3, 1, RW), (0, 1));
        let levels =
            |bfn: u64| ask(vm, DEVICE, bfn << 12, READ).trail.entries().map(|it| it.0).collect();
        let of_mapped: Vec<u8> = levels(0x100);
        assert_eq!(of_mapped, [3, 2, 1, 0]);
        let of_vacant: Vec<u8> = levels(1 << 35);
        assert_eq!(of_vacant, [3], "it is decided in the root");
        let trail = ask(vm, DEVICE, 0x100 << 12, READ).trail;
        let (_, leaf) = trail.entries().last().unwrap();
        assert_eq!((leaf >> 12) & 0xff_ffff, frame_of(vm, 3).0, "{leaf:#x}");
        assert_eq!(ask(vm, DEVICE, 1 << 60, READ).trail.entries().count(), 0);
        vm.end();
    });
}
