//! Unlike units behind one context, and devices that never rest, with the service in between.

use pviommu_abi::{AllocFlags, Bfn, ContextId, DomId, Gfn, MapFlags, PciDevice};
use pviommu_guest::IommuClient;
use pviommu_hypervisor::Background;
use pviommu_testbed::machine::{
    Bed, Break, Busy, Config, Direction, FaultReason, Guest, Reach, Violation,
};

use crate::run;

const DOMAIN: DomId = DomId(1);
/// One behind each unit of [`Config::unlike_pair`].
const DEVICES: [PciDevice; 2] = [PciDevice::new(0, 0, 3, 0), PciDevice::new(0, 0, 4, 0)];
const RW: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);

const BACKGROUNDS: [Background; 2] = [Background::Fault, Background::Scratch];

/// True if `bfn` is not mapped: it faults or leads to a scratch page, as the guest has it.
fn is_background(bed: &Bed<'_>, background: Background, device: PciDevice, bfn: u64) -> bool {
    let hit = bed.dma_probe(device, bfn << 12, Direction::Write);
    match background {
        Background::Fault => hit.is_err_and(|fault| fault.reason == FaultReason::NotPresent),
        Background::Scratch => hit.is_ok_and(|hit| hit.reach == Reach::Scratch),
    }
}

/// A context with both devices in it.
fn context(client: &IommuClient<&Guest<'_>>) -> ContextId {
    client.probe().unwrap();
    let context = client.alloc_context(AllocFlags::empty()).unwrap();
    DEVICES.iter().for_each(|device| client.reattach_device(*device, context).unwrap());
    context
}

/// Maps and unmaps pages around bus frame `first`, each at several places of the table.
fn churn(bed: &Bed<'_>, cpu: usize, context: ContextId, first: u64) {
    let guest = bed.guest(DOMAIN, cpu);
    let client = IommuClient::new(&guest);
    for round in 0..60 {
        let (bfn, pages) = (first + u64::from(round % 3) * 512, 1 + round % 40);
        client.map(context, Bfn(bfn), Gfn(first), pages, RW).unwrap();
        client.unmap(context, Bfn(bfn), pages).unwrap();
    }
}

fn busy_around(firsts: &[u64]) -> Vec<(PciDevice, Vec<u64>)> {
    let bfns = firsts.iter().flat_map(|first| (0..3).map(move |table| first + table * 512));
    let bfns: Vec<u64> = bfns.collect();
    DEVICES.map(|device| (device, bfns.clone())).into()
}

#[test]
fn both_devices_of_an_unlike_pair_reach_what_is_mapped_and_no_longer() {
    for background in BACKGROUNDS {
        run(&Config::unlike_pair(0x1000).with_background(background), |bed| {
            let guest = bed.guest(DOMAIN, 0);
            let client = IommuClient::new(&guest);
            let context = context(&client);
            for round in 0..4_u64 {
                // Small and large, known absent before.
                for (bfn, pages) in [(0x1000, 3), (0x20_0000, 600), (0x4_0000, 1)] {
                    let bfn = bfn + round;
                    for device in DEVICES {
                        assert!(is_background(bed, background, device, bfn));
                    }
                    client.map(context, Bfn(bfn), Gfn(16), pages, RW).unwrap();
                    for (device, mark) in DEVICES.into_iter().zip([round, !round]) {
                        for page in [0, pages / 2, pages - 1].map(u64::from) {
                            bed.dma_write(device, (bfn + page) << 12, &mark.to_le_bytes()).unwrap();
                            let mut bytes = [0; 8];
                            bed.guest_read(DOMAIN, (16 + page) << 12, &mut bytes);
                            assert_eq!(u64::from_le_bytes(bytes), mark);
                        }
                    }
                    client.unmap(context, Bfn(bfn), pages).unwrap();
                    for device in DEVICES {
                        assert!(is_background(bed, background, device, bfn));
                    }
                }
            }
            assert_eq!(bed.teardown(DOMAIN, 0), 0);
            bed.assert_clean();
        });
    }
}

#[test]
fn devices_that_never_rest_find_nothing_they_must_not() {
    for background in BACKGROUNDS {
        let config = Config::unlike_pair(0x1000).with_background(background);
        let config = Config { cpus: 2, ..config };
        run(&config, |bed| {
            let context = context(&IommuClient::new(&bed.guest(DOMAIN, 0)));
            let ((), busy) = bed.with_busy_devices(&busy_around(&[0x100, 0x800]), || {
                std::thread::scope(|scope| {
                    scope.spawn(|| churn(bed, 0, context, 0x100));
                    scope.spawn(|| churn(bed, 1, context, 0x800));
                });
            });
            assert_eq!(bed.violations(), []);
            assert_eq!(busy.len(), 2);
            for Busy { accesses, hits, faults } in busy {
                assert!(accesses > 0 && accesses == hits + faults);
            }
            assert_eq!(bed.teardown(DOMAIN, 0), 0);
            bed.assert_clean();
        });
    }
}

#[test]
fn devices_that_never_rest_find_what_they_must_not() {
    for sabotage in [Break::SkipFlush, Break::EarlyRelease] {
        // With a scratch page behind it, a stale translation is a loss and no violation.
        let config = Config::unlike_pair(0x1000).with_background(Background::Fault);
        let config = Config { sabotage: Some(sabotage), ..config };
        let seen: Vec<Violation> = run(&config, |bed| {
            let context = context(&IommuClient::new(&bed.guest(DOMAIN, 0)));
            bed.with_busy_devices(&busy_around(&[0x100]), || churn(bed, 0, context, 0x100));
            bed.violations()
        });
        assert!(!seen.is_empty(), "{sabotage:?}");
    }
}

#[test]
#[should_panic(expected = "the body gives up")]
fn a_body_that_panics_ends_its_devices() {
    run(&Config::unlike_pair(16), |bed| {
        bed.with_busy_devices(&busy_around(&[0x100]), || {
            assert!(bed.violations().len() > 1, "the body gives up");
        });
    });
}
