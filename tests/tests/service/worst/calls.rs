//! The subops of v7, and those of this project but batches.

use pviommu_abi::{
    AllocContextExt, Background, Bfn, ContextId, DeviceHandle, FlushPages, FreeFlags, GuestPtr,
    Lookup, OwnershipMode, QueryLimits, QueryReserved, QueryReservedFlags, ReadFaults, Subop,
    TakeOwnership,
};
use pviommu_hypervisor::DefaultMap;

use super::kit::{G1, M2, SCATTERED, config, map_sparsely, measure};
use crate::{
    deferred::unmap_later,
    kit::{DEVICE, RW, SECOND, Vm},
};

/// The first bus frame of the second half of what the root's first entry stands for, and a boundary of all
/// tables below the root.
const BOUNDARY: u64 = 1 << 27;

#[test]
fn map_pages() {
    let mut config = config();
    config.domains[0].table_frames = Some(2048);
    measure("map_pages", &config, |of| {
        let context = of.vm.attached_context();
        let map = |bfn, gfn, pages: u64| {
            let pages = u32::try_from(pages).unwrap();
            assert_eq!(of.vm.map(context, bfn, gfn, pages, RW), (0, pages));
        };
        of.by("scattered pages, over a boundary of all tables", || map(BOUNDARY - 300, 0, 2000));
        of.by("one large leaf", || map(4 * G1, G1, G1));
        of.by("large leaves, but for a page", || map(8 * G1, G1, G1 - 1));
        of.by("nothing aligned", || map(12 * G1 + 1, G1, G1 / 4));
        of.by("where something is", || {
            assert_ne!(of.vm.map(context, 4 * G1 - 256, 0, 600, RW).0, 0);
        });
        // Until there are no table frames, empty ones are searched for.
        of.by("without table frames", || {
            (0..2500).for_each(|table| {
                of.vm.map(context, 100 * G1 + table * M2, table % 64, 1, RW);
            });
        });
    });
}

#[test]
fn unmap_pages() {
    measure("unmap_pages", &config(), |of| {
        let context = of.vm.attached_context();
        let map = |bfn, gfn, pages: u64| {
            let pages = u32::try_from(pages).unwrap();
            assert_eq!(of.vm.map(context, bfn, gfn, pages, RW), (0, pages));
        };
        let unmap = |bfn, pages: u64| {
            let pages = u32::try_from(pages).unwrap();
            assert_eq!(of.vm.unmap(context, bfn, pages), (0, pages));
        };
        map(BOUNDARY - 10_000, 0, 20_000);
        of.by("scattered pages", || unmap(BOUNDARY - 10_000, 20_000));
        map(4 * G1, G1, G1);
        of.by("one page of a large leaf", || unmap(4 * G1 + 1000, 1));
        of.by("what is left of it", || {
            unmap(4 * G1, 1000);
            unmap(4 * G1 + 1001, G1 - 1001);
        });
        map(4 * G1, G1, G1);
        of.by("one large leaf", || unmap(4 * G1, G1));
        map(8 * G1 + M2, G1, G1 / 2);
        of.by("leaves of 2 MiB", || unmap(8 * G1 + M2, G1 / 2));
        map_sparsely(of.vm, context, 16 * G1, 64);
        of.by("a page of each table", || (0..64).for_each(|table| unmap(16 * G1 + table * M2, 1)));
    });
}

#[test]
fn flush_pages() {
    measure("flush_pages", &config(), |of| {
        let context = of.vm.attached_context();
        assert_eq!(of.vm.map(context, 0, 0, 4096, RW), (0, 4096));
        assert_eq!(unmap_later(of.vm, context, 0, 4000), (0, 4000));
        let mut flush = FlushPages {
            ctx_no: context,
            dfn: Bfn(0),
            nr_pages: 4096,
            pgsize: 4096,
            ..FlushPages::default()
        };
        of.by("as much as may wait", || assert_eq!(of.vm.op(Subop::FLUSH_PAGES, &mut flush), 0));
    });
}

#[test]
fn free_context() {
    measure("free_context", &config(), |of| {
        let free = |context| {
            assert_eq!(of.vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        };
        let context = of.vm.attached_context();
        assert_eq!(of.vm.attach(SECOND, context), 0);
        assert_eq!(of.vm.map(context, 0, 0, SCATTERED as u32, RW), (0, SCATTERED as u32));
        of.by("full of scattered pages, with devices", || free(context));
        let context = of.vm.attached_context();
        map_sparsely(of.vm, context, 16 * G1, 1500);
        of.by("a page in each table", || free(context));
        let context = of.vm.attached_context();
        assert_eq!(of.vm.map(context, 4 * G1, G1, G1 as u32, RW), (0, G1 as u32));
        assert_eq!(of.vm.map(context, 8 * G1 + M2, G1, (G1 / 2) as u32, RW), (0, (G1 / 2) as u32));
        of.by("large leaves", || free(context));
        let context = of.vm.attached_context();
        assert_eq!(of.vm.map(context, 0, 0, 4096, RW), (0, 4096));
        assert_eq!(unmap_later(of.vm, context, 0, 4000), (0, 4000));
        of.by("with removals that wait", || free(context));
    });
}

#[test]
fn reattach_device() {
    measure("reattach_device", &config(), |of| {
        let context = of.vm.attached_context();
        map_sparsely(of.vm, context, 16 * G1, 1000);
        of.by("with reserved ranges", || {
            for to in [context, ContextId::DEFAULT] {
                assert_eq!(of.vm.attach(SECOND, to), 0);
            }
        });
        assert_eq!(of.vm.map(context, 0, 0, 4096, RW), (0, 4096));
        assert_eq!(unmap_later(of.vm, context, 0, 4000), (0, 4000));
        of.by("where removals wait", || assert_eq!(of.vm.attach(SECOND, context), 0));
    });
}

fn alloc_over(vm: &Vm<'_>, background: Background) -> ContextId {
    let mut argument = AllocContextExt { background, ..AllocContextExt::default() };
    assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument), 0);
    ContextId(u16::try_from(argument.ctx_id).unwrap())
}

#[test]
fn alloc_context() {
    measure("alloc_context", &config(), |of| {
        of.vm.init(128, 12);
        of.by("over a scratch page", || {
            alloc_over(of.vm, Background::SCRATCH);
        });
        of.by("as the domain's are", || assert!(of.vm.alloc().is_ok()));
        for _ in 2..128 {
            alloc_over(of.vm, Background::FAULT);
        }
        of.by("when there are no more", || assert!(of.vm.alloc().is_err()));
    });
}

#[test]
fn take_ownership() {
    let mut config = config();
    config.domains[0].default_map = DefaultMap::Guest;
    config.domains[0].limits.default_map_frames = 2048;
    measure("take_ownership", &config, |of| {
        for mode in [
            OwnershipMode::CLEAR,
            OwnershipMode::GIVE_BACK,
            OwnershipMode::KEEP,
            OwnershipMode::GIVE_BACK,
        ] {
            let mut take = TakeOwnership { mode, ..TakeOwnership::default() };
            of.by(&format!("{mode:?}"), || {
                assert_eq!(of.vm.op(Subop::TAKE_OWNERSHIP, &mut take), 0);
            });
        }
    });
}

#[test]
fn questions() {
    measure("questions", &config(), |of| {
        let vm = of.vm;
        of.by("init", || assert_eq!(vm.init(128, 12), 0));
        let context = vm.attached_context();
        (1..128).for_each(|_| assert!(vm.alloc().is_ok()));
        assert_eq!(vm.map(context, BOUNDARY, 0, 1, RW), (0, 1));
        let ctx_id = u32::from(context.0);
        of.by("capabilities", || {
            let _ = vm.capabilities();
        });
        of.by("limits", || {
            let mut query = QueryLimits { ctx_id, ..QueryLimits::default() };
            assert_eq!(vm.op(Subop::QUERY_LIMITS, &mut query), 0);
        });
        of.by("a device", || {
            let _ = vm.describe(DEVICE);
        });
        of.by("a bus frame", || {
            let mut query = Lookup { ctx_id, bfn: Bfn(BOUNDARY), ..Lookup::default() };
            assert_eq!(vm.op(Subop::LOOKUP, &mut query), 0);
        });
        of.by("reserved ranges", || {
            let mut query = QueryReserved {
                flags: QueryReservedFlags::DEVICE,
                device: DeviceHandle::pci(SECOND),
                entries: GuestPtr(0x2_0000),
                nr_entries: 64,
                ..QueryReserved::default()
            };
            assert_eq!(vm.op(Subop::QUERY_RESERVED, &mut query), 0);
        });
        for page in 0..40 {
            let _ = vm.bed.dma_write(DEVICE, (0xfee00 + page) << 12, &[1]);
        }
        vm.bed.report_faults(0);
        of.by("faults", || {
            let mut read =
                ReadFaults { records: GuestPtr(0x2_0000), nr_records: 64, ..ReadFaults::default() };
            assert_eq!(vm.op(Subop::READ_FAULTS, &mut read), 0);
        });
    });
}
