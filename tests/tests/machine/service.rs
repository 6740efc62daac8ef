//! The machine with the service on it: guests, devices and checks in one piece.

use std::sync::atomic::{AtomicBool, Ordering};

use pviommu_abi::{AllocFlags, Bfn, ContextId, DomId, Gfn, MapFlags, PciDevice};
use pviommu_guest::IommuClient;
use pviommu_hypervisor::{Background, addr::GfnRange, platform::UnitFeatures};
use pviommu_testbed::machine::{
    Bed, Break, Config, Direction, FaultReason, Guest, Reach, Step, Violation, When,
};

use crate::run;

const DOMAIN: DomId = DomId(1);
const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };
const RW: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);

const BACKGROUNDS: [Background; 2] = [Background::Fault, Background::Scratch];

/// True if `bfn` is not mapped: it faults or leads to a scratch page, as the guest has it.
fn is_background(bed: &Bed<'_>, background: Background, bfn: u64) -> bool {
    let hit = bed.dma_probe(DEVICE, bfn << 12, Direction::Write);
    match background {
        Background::Fault => hit.is_err_and(|fault| fault.reason == FaultReason::NotPresent),
        Background::Scratch => hit.is_ok_and(|hit| hit.reach == Reach::Scratch),
    }
}

/// A context of the guest's with the device in it.
fn context(client: &IommuClient<&Guest<'_>>) -> ContextId {
    client.probe().unwrap();
    let context = client.alloc_context(AllocFlags::empty()).unwrap();
    client.reattach_device(DEVICE, context).unwrap();
    context
}

/// Maps pages, lets the device write each, and unmaps them again.
fn cycle(bed: &Bed<'_>, client: &IommuClient<&Guest<'_>>, context: ContextId) {
    client.map(context, Bfn(0x1000), Gfn(16), 600, RW).unwrap();
    for page in 0..600_u64 {
        let written = bed.dma_write(DEVICE, (0x1000 + page) << 12, &page.to_le_bytes());
        let mut bytes = [0; 8];
        bed.guest_read(DOMAIN, (16 + page) << 12, &mut bytes);
        assert!(written.is_err() || u64::from_le_bytes(bytes) == page);
    }
    client.unmap(context, Bfn(0x1000), 600).unwrap();
}

#[test]
fn a_device_reaches_what_is_mapped_and_no_longer() {
    for background in BACKGROUNDS {
        let mut config = Config::one_guest(0x1000).with_background(background);
        for domain in &mut config.domains {
            domain.contiguous = vec![GfnRange::of_pages(Gfn(0x200), 0x200).unwrap()];
        }
        run(&config, |bed| {
            let guest = bed.guest(DOMAIN, 0);
            let client = IommuClient::new(&guest);
            let context = context(&client);
            bed.schedule().set(Step::Yield, When::Every(2));
            cycle(bed, &client, context);
            assert!(is_background(bed, background, 0x1000));
            assert_eq!(bed.counters().references_live, 0);
            assert!(guest.entries() > guest.hypercalls());
            assert_eq!(bed.teardown(DOMAIN, 0), 0);
            bed.assert_clean();
        });
    }
}

#[test]
fn units_that_cache_absence_or_do_not_snoop_are_told() {
    let units = [
        (UnitFeatures::CACHES_NOT_PRESENT, UnitFeatures::empty()),
        (UnitFeatures::WRITE_BUFFER, UnitFeatures::SNOOP_CONTROL),
        (UnitFeatures::LEVELS_3, UnitFeatures::COHERENT.union(UnitFeatures::LEVELS_4)),
        (UnitFeatures::LEVELS_5, UnitFeatures::LEAF_1G.union(UnitFeatures::LEAF_2M)),
    ];
    let cases = BACKGROUNDS.into_iter().flat_map(|b| units.map(|(add, remove)| (b, add, remove)));
    for (background, add, remove) in cases {
        let mut config = Config::one_guest(0x1000).with_background(background);
        for unit in &mut config.units {
            unit.features = unit.features.union(add).difference(remove);
        }
        run(&config, |bed| {
            let guest = bed.guest(DOMAIN, 0);
            let client = IommuClient::new(&guest);
            let context = context(&client);
            assert!(is_background(bed, background, 0x1000));
            client.map(context, Bfn(0x1000), Gfn(16), 1, RW).unwrap();
            let hit = bed.dma_probe(DEVICE, 0x1000 << 12, Direction::Write).unwrap();
            assert_eq!(hit.reach, Reach::Held);
            client.unmap(context, Bfn(0x1000), 1).unwrap();
            assert!(is_background(bed, background, 0x1000));
            cycle(bed, &client, context);
            assert_eq!(bed.teardown(DOMAIN, 0), 0);
            bed.assert_clean();
        });
    }
}

#[test]
fn every_sabotage_shows_as_a_violation() {
    for sabotage in [Break::SkipFlush, Break::EarlyRelease, Break::FirstPageOnly] {
        // With a scratch page behind it, a stale translation is a loss and no violation.
        let config = Config::one_guest(0x1000).with_background(Background::Fault);
        let config = Config { sabotage: Some(sabotage), ..config };
        let seen: Vec<Violation> = run(&config, |bed| {
            let guest = bed.guest(DOMAIN, 0);
            let client = IommuClient::new(&guest);
            let context = context(&client);
            cycle(bed, &client, context);
            bed.violations()
        });
        assert!(!seen.is_empty(), "{sabotage:?}");
    }
}

#[test]
fn cpus_and_devices_run_side_by_side() {
    let config = Config { cpus: 2, ..Config::one_guest(0x1000) };
    run(&config, |bed| {
        let (one, two) = (bed.guest(DOMAIN, 0), bed.guest(DOMAIN, 1));
        let context = context(&IommuClient::new(&one));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let maps = [(&one, 0x100_u64), (&two, 0x300)].map(|(guest, first)| {
                scope.spawn(move || {
                    let client = IommuClient::new(guest);
                    for round in 0..200 {
                        let pages = 1 + round % 40;
                        client.map(context, Bfn(first), Gfn(first), pages, RW).unwrap();
                        client.unmap(context, Bfn(first), pages).unwrap();
                    }
                })
            });
            let device = scope.spawn(|| {
                let mut arrived = 0;
                while !done.load(Ordering::Relaxed) {
                    for page in (0x100..0x128).chain(0x300..0x328) {
                        // Mapped or not just now; the checks say whether it was in order.
                        arrived += u32::from(bed.dma_write(DEVICE, page << 12, b"x").is_ok());
                    }
                }
                arrived
            });
            maps.into_iter().for_each(|map| map.join().unwrap());
            done.store(true, Ordering::Relaxed);
            device.join().unwrap();
        });
        assert_eq!(bed.teardown(DOMAIN, 0), 0);
        bed.assert_clean();
    });
}
