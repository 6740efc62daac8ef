//! The whole machine on AMD-Vi: the service writes, the units read, and the machine notices.

use pviommu_abi::{AllocFlags, Bfn, ContextId, DomId, Gfn, MapFlags, PciDevice};
use pviommu_guest::IommuClient;
use pviommu_hypervisor::{
    Background,
    platform::{UnitFacts, UnitFeatures, UnitId},
};
use pviommu_testbed::{
    iommu::DeviceEntry,
    machine::{Bed, Break, Config, Direction, FaultReason, Guest, Reach, UnitKind, run},
};

const DOMAIN: DomId = DomId(1);
/// One behind each unit of [`Config::unlike_pair`].
const DEVICES: [PciDevice; 2] = [PciDevice::new(0, 0, 3, 0), PciDevice::new(0, 0, 4, 0)];
const RW: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);
const BACKGROUNDS: [Background; 2] = [Background::Fault, Background::Scratch];

fn pair(background: Background) -> Config {
    Config::unlike_pair(0x1000).on(UnitKind::AmdVi).with_background(background)
}

fn context(client: &IommuClient<&Guest<'_>>) -> ContextId {
    client.probe().unwrap();
    let context = client.alloc_context(AllocFlags::empty()).unwrap();
    DEVICES.iter().for_each(|device| client.reattach_device(*device, context).unwrap());
    context
}

fn is_background(bed: &Bed<'_>, background: Background, device: PciDevice, bfn: u64) -> bool {
    let hit = bed.dma_probe(device, bfn << 12, Direction::Write);
    match background {
        Background::Fault => hit.is_err_and(|fault| fault.reason == FaultReason::NotPresent),
        Background::Scratch => hit.is_ok_and(|hit| hit.reach == Reach::Scratch),
    }
}

#[test]
fn every_depth_is_walked() {
    let depths = [
        (UnitFeatures::LEVELS_3, 39, 3),
        (UnitFeatures::LEVELS_4, 48, 4),
        (UnitFeatures::LEVELS_5, 57, 5),
    ];
    for (depth, bus_address_bits, levels) in depths {
        let mut config = Config::one_guest(64).on(UnitKind::AmdVi);
        let all = UnitFeatures::LEVELS_3 | UnitFeatures::LEVELS_4 | UnitFeatures::LEVELS_5;
        let unit = config.units[0];
        config.units[0] =
            UnitFacts { features: (unit.features - all) | depth, bus_address_bits, ..unit };
        run(&config, |bed| {
            let guest = bed.guest(DOMAIN, 0);
            let client = IommuClient::new(&guest);
            client.probe().unwrap();
            let context = client.alloc_context(AllocFlags::empty()).unwrap();
            client.reattach_device(DEVICES[0], context).unwrap();
            let entry = bed.board().unit(UnitId(0)).unwrap().device_entry(DEVICES[0]);
            assert_eq!(entry.table().unwrap().0.levels, levels);
            let last = (1 << (bus_address_bits - 12)) - 1;
            client.map(context, Bfn(last), Gfn(5), 1, RW).unwrap();
            bed.dma_write(DEVICES[0], last << 12, b"here").unwrap();
            let mut seen = [0; 4];
            bed.guest_read(DOMAIN, 5 << 12, &mut seen);
            assert_eq!(&seen, b"here");
            assert_eq!(bed.teardown(DOMAIN, 0), 0);
            assert_eq!(bed.board().device_entries(DEVICES[0]), [DeviceEntry::Blocked]);
            bed.assert_clean();
        });
    }
}

/// V = 0 passes, so the platform fills the device table before anybody is attached.
#[test]
fn a_device_that_was_never_given_a_table_is_blocked() {
    let mut config = Config::one_guest(16).on(UnitKind::AmdVi);
    config.devices[0].unowned = true;
    run(&config, |bed| {
        assert_eq!(bed.board().device_entries(DEVICES[0]), [DeviceEntry::Blocked]);
        let frame = bed.board().machine_frame(DOMAIN, Gfn(5)).unwrap();
        let fault = bed.dma_probe(DEVICES[0], frame.0 << 12, Direction::Read).unwrap_err();
        assert_eq!(fault.reason, FaultReason::Blocked);
        bed.assert_clean();
    });
}

/// INV-30: what no unit translates is nobody's to map, and not backed by scratch.
#[test]
fn nothing_is_mapped_in_the_hole_of_hypertransport() {
    for background in BACKGROUNDS {
        run(&Config::one_guest(64).on(UnitKind::AmdVi).with_background(background), |bed| {
            let guest = bed.guest(DOMAIN, 0);
            let client = IommuClient::new(&guest);
            client.probe().unwrap();
            let context = client.alloc_context(AllocFlags::empty()).unwrap();
            client.reattach_device(DEVICES[0], context).unwrap();
            for bfn in [0xfd0_0000, 0xfff_ffff] {
                assert!(client.map(context, Bfn(bfn), Gfn(5), 1, RW).is_err());
                let fault = bed.dma_probe(DEVICES[0], bfn << 12, Direction::Read).unwrap_err();
                assert_eq!(fault.reason, FaultReason::Hole);
            }
            for bfn in [0xfcf_ffff, 0x1000_0000] {
                assert!(is_background(bed, background, DEVICES[0], bfn));
                client.map(context, Bfn(bfn), Gfn(5), 1, RW).unwrap();
                client.unmap(context, Bfn(bfn), 1).unwrap();
            }
            assert_eq!(bed.teardown(DOMAIN, 0), 0);
            bed.assert_clean();
        });
    }
}

/// A check that cannot fail proves nothing.
#[test]
fn a_platform_that_is_wrong_on_purpose_is_noticed() {
    use Break::{EarlyRelease, FirstPageOnly, KeepStaleScratch, LeafOnlyOnScratch, SkipFlush};
    let (fault, scratch) = (Background::Fault, Background::Scratch);
    let breakages = [
        (SkipFlush, fault),
        (EarlyRelease, fault),
        (FirstPageOnly, fault),
        (KeepStaleScratch, scratch),
        (LeafOnlyOnScratch, scratch),
    ];
    for (sabotage, background) in breakages {
        let config = Config { sabotage: Some(sabotage), ..pair(background) };
        let noticed = run(&config, |bed| {
            let guest = bed.guest(DOMAIN, 0);
            let client = IommuClient::new(&guest);
            let context = context(&client);
            let mut wrong = false;
            for bfn in [0x1000, 0x20_0000, 0x4_0000] {
                wrong |= DEVICES.iter().any(|it| !is_background(bed, background, *it, bfn));
                client.map(context, Bfn(bfn), Gfn(16), 40, RW).unwrap();
                for device in DEVICES {
                    let hit = bed.dma_probe(device, (bfn + 7) << 12, Direction::Write);
                    let frame = bed.board().machine_frame(DOMAIN, Gfn(16 + 7));
                    wrong |= hit.ok().map(|hit| hit.frame) != frame;
                }
                client.unmap(context, Bfn(bfn), 40).unwrap();
                wrong |= DEVICES.iter().any(|it| !is_background(bed, background, *it, bfn + 7));
            }
            wrong || !bed.violations().is_empty()
        });
        assert!(noticed, "{sabotage:?}");
    }
}
