//! Flush first, then give back: each kind of thing, with a device that has it cached.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use pviommu_abi::{AllocFlags, Bfn, ContextId, DomId, Gfn, MapFlags, PciDevice};
use pviommu_guest::IommuClient;
use pviommu_testbed::machine::{Bed, Config, Guest, run};

const DOMAIN: DomId = DomId(1);
const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };
const RW: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);

/// Runs `body` with the device in a fresh context, and looks at what is left.
fn with_context(body: impl FnOnce(&Bed<'_>, &IommuClient<&Guest<'_>>, ContextId)) {
    run(&Config::one_guest(64), |bed| {
        let guest = bed.guest(DOMAIN, 0);
        let client = IommuClient::new(&guest);
        client.probe().unwrap();
        let context = client.alloc_context(AllocFlags::empty()).unwrap();
        client.reattach_device(DEVICE, context).unwrap();
        body(bed, &client, context);
        assert_eq!(bed.violations(), []);
        assert_eq!(bed.teardown(DOMAIN, 0), 0);
        bed.assert_clean();
    });
}

fn writes(bed: &Bed<'_>, bfn: u64) -> bool {
    bed.dma_write(DEVICE, bfn << 12, b"data").is_ok()
}

/// INV-20.
#[test]
fn a_page_is_given_back_after_the_flush_of_its_unmap() {
    with_context(|bed, client, context| {
        client.map(context, Bfn(5), Gfn(1), 8, RW).unwrap();
        assert!((5..13).all(|bfn| writes(bed, bfn)));
        client.unmap(context, Bfn(5), 8).unwrap();
        assert_eq!(bed.violations(), []);
        bed.board().free_page(DOMAIN, Gfn(1)).unwrap();
        assert!((5..13).all(|bfn| !writes(bed, bfn)));
    });
}

/// INV-07.
#[test]
fn a_table_is_freed_after_the_flush_of_what_led_to_it() {
    with_context(|bed, client, context| {
        // More leaf tables than are kept empty.
        for table in 0..12 {
            client.map(context, Bfn(table * 512), Gfn(table), 1, RW).unwrap();
            assert!(writes(bed, table * 512));
        }
        let before = bed.counters().table_frames_live;
        for table in 0..12 {
            client.unmap(context, Bfn(table * 512), 1).unwrap();
        }
        assert!(bed.counters().table_frames_live < before);
        assert!((0..12).all(|table| !writes(bed, table * 512)));
    });
}

/// INV-09, INV-10: the next context gets the tag of the one that the device has left.
#[test]
fn a_tag_is_flushed_before_another_context_gets_it() {
    with_context(|bed, client, context| {
        client.map(context, Bfn(5), Gfn(1), 1, RW).unwrap();
        assert!(writes(bed, 5));
        client.reattach_device(DEVICE, ContextId::DEFAULT).unwrap();
        let next = client.alloc_context(AllocFlags::empty()).unwrap();
        client.reattach_device(DEVICE, next).unwrap();
        assert_eq!(bed.violations(), []);
        assert!(!writes(bed, 5), "the former context's translation is in force");
    });
}
