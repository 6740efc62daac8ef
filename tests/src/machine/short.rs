//! A short life of a domain on each kind of unit: what Miri can run of the simulated machine, in some minutes.

use pviommu_abi::{
    AllocContext, Bfn, ContextId, DomId, FreeContext, Gfn, Init, MapFlags, MapPages, PciDevice,
    ReattachDevice, Subop, UnmapPages,
};
use pviommu_guest::Hypercall;
use zerocopy::{FromBytes, IntoBytes};

use super::{Config, Guest, Harshness, UnitKind, run};

const GUEST: DomId = DomId(1);
const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };

fn op<T: IntoBytes + FromBytes>(guest: &Guest<'_>, subop: Subop, argument: &mut T) {
    assert_eq!(guest.iommu_op(subop, argument.as_mut_bytes(), None), 0, "{subop:?}");
}

#[test]
fn a_domain_lives_and_dies_on_units_of_either_make() {
    for kind in UnitKind::ALL.into_iter().filter(|kind| kind.is_built()) {
        // What the machine does of its own accord is half of the work.
        let harshness = Harshness::NONE;
        let mut config = Config { table_frames: 64, harshness, ..Config::one_guest(8) };
        config.domains[0].limits.max_contexts = 2;
        run(&config.on(kind), |bed| {
            let guest = bed.guest(GUEST, 0);
            op(&guest, Subop::INIT, &mut Init { max_ctx_no: 2, arena_order: 5 });
            op(&guest, Subop::ALLOC_CONTEXT, &mut AllocContext::default());
            let ctx_no = ContextId(1);
            let mut attach = ReattachDevice { ctx_no, dev: DEVICE, ..ReattachDevice::default() };
            op(&guest, Subop::REATTACH_DEVICE, &mut attach);
            let map_flags = MapFlags::READABLE | MapFlags::WRITEABLE;
            let mut map = MapPages {
                ctx_no,
                gfn: Gfn(1),
                dfn: Bfn(10),
                map_flags,
                pgsize: 4096,
                nr_pages: 3,
                ..MapPages::default()
            };
            op(&guest, Subop::MAP_PAGES, &mut map);
            bed.dma_write(DEVICE, (11 << 12) + 5, b"device").unwrap();
            let mut seen = [0; 6];
            bed.guest_read(GUEST, (2 << 12) + 5, &mut seen);
            assert_eq!(&seen, b"device");
            let (dfn, pgsize) = (Bfn(10), 4096);
            let mut unmap =
                UnmapPages { ctx_no, dfn, pgsize, nr_pages: 2, ..UnmapPages::default() };
            op(&guest, Subop::UNMAP_PAGES, &mut unmap);
            let dev = DEVICE;
            let mut back =
                ReattachDevice { ctx_no: ContextId::DEFAULT, dev, ..ReattachDevice::default() };
            op(&guest, Subop::REATTACH_DEVICE, &mut back);
            op(&guest, Subop::FREE_CONTEXT, &mut FreeContext { ctx_no, ..FreeContext::default() });
            assert_eq!(bed.teardown(GUEST, 0), 0);
            bed.assert_clean();
        });
    }
}
