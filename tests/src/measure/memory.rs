//! What the service keeps in memory, counted on the simulated machine: the frames that it has, and those that the unit of
//! a device finds in its table.
//!
//! Frames are all that there is to count. The crate has no allocator, and what else it works with is lent to it when a
//! machine, a domain or a context is made, whatever is mapped then.

use pviommu_abi::{
    AllocContext, Bfn, ContextId, DomId, Gfn, Init, MapFlags, MapPages, PciDevice, ReattachDevice,
    Subop, UnmapPages,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Background, platform::UnitId};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    iommu::DeviceEntry,
    machine::{Bed, Config, UnitKind, run},
    show,
};

/// A count, and what it may be at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// What is counted.
    pub what: String,
    /// How much of it there is.
    pub counted: u64,
    /// The bound.
    pub most: u64,
}

impl Count {
    fn new(what: &str, counted: u64, most: u64) -> Self {
        Self { what: what.to_owned(), counted, most }
    }

    /// True if it is within the bound.
    #[must_use]
    pub const fn is_met(&self) -> bool {
        self.counted <= self.most
    }
}

const GUEST: DomId = DomId(1);

/// Pages of the guest. Their frames are scattered, so that each has an entry of its own.
const PAGES: u64 = 16384;

/// Bus frames from one page to the next where all are far apart: one in each GiB.
const FAR: u64 = 1 << 18;

/// Pages that are mapped so.
const FEW: u64 = 64;

/// Table frames that a context may keep beside those of an empty one.
const KEPT: u64 = 8;

const PAGE: u64 = 4096;

struct Guest<'b> {
    bed: &'b Bed<'b>,
    device: PciDevice,
    context: ContextId,
}

impl Guest<'_> {
    fn call<T: IntoBytes + FromBytes>(&self, subop: Subop, argument: &mut T) {
        let status = self.bed.guest(GUEST, 0).iommu_op(subop, argument.as_mut_bytes(), None);
        assert_eq!(status, 0, "{subop:?}");
    }

    fn map(&self, bfn: u64, gfn: u64, pages: u64) {
        self.call(
            Subop::MAP_PAGES,
            &mut MapPages {
                ctx_no: self.context,
                gfn: Gfn(gfn),
                dfn: Bfn(bfn),
                map_flags: MapFlags::READABLE | MapFlags::WRITEABLE,
                pgsize: 4096,
                nr_pages: pages as u32,
                ..MapPages::default()
            },
        );
    }

    fn unmap(&self, bfn: u64, pages: u64) {
        let dfn = Bfn(bfn);
        let (ctx_no, nr_pages) = (self.context, pages as u32);
        let mut unmap = UnmapPages { ctx_no, dfn, pgsize: 4096, nr_pages, ..UnmapPages::default() };
        self.call(Subop::UNMAP_PAGES, &mut unmap);
    }

    /// All that the machine has of table frames and scratch pages.
    fn frames(&self) -> u64 {
        let counters = self.bed.counters();
        u64::from(counters.table_frames_live + counters.scratch_frames_live)
    }

    /// The tables and the pages behind the background that the unit of the device finds.
    fn found(&self) -> u64 {
        let board = self.bed.board();
        let entries = board.device_entries(self.device);
        let [DeviceEntry::Translated { root, .. }] = entries[..] else {
            unreachable!("{entries:?}")
        };
        let facts = board.unit(UnitId(0)).expect("its unit").facts();
        let survey = show::survey(board.memory(), facts, root);
        let tables: u64 = survey.tables.iter().map(|level| level.own + level.shared).sum();
        let scratch = survey.ranges.iter().any(|range| range.what == show::What::Scratch);
        tables + u64::from(scratch)
    }
}

/// Counts on a machine whose unit is of `kind`, over `background`.
///
/// # Panics
/// If the service refuses a call.
#[must_use]
pub fn memory_counts(kind: UnitKind, background: Background) -> Vec<Count> {
    let config = Config::one_guest(PAGES).on(kind).with_background(background);
    run(&config, |bed| {
        let device = config.devices[0].function;
        let mut guest = Guest { bed, device, context: ContextId(0) };
        guest.call(Subop::INIT, &mut Init { max_ctx_no: 16, arena_order: 12 });
        let before = guest.frames();
        let mut alloc = AllocContext::default();
        guest.call(Subop::ALLOC_CONTEXT, &mut alloc);
        guest.context = alloc.ctx_no;
        let ctx_no = alloc.ctx_no;
        let mut attach = ReattachDevice { ctx_no, dev: device, ..ReattachDevice::default() };
        guest.call(Subop::REATTACH_DEVICE, &mut attach);
        let empty = guest.frames();

        guest.map(0, 0, PAGES);
        let beyond = (guest.frames() - before).abs_diff(guest.found()) * PAGE;
        let mut counts = vec![Count::new(
            "bytes beside the unit's own tables, 16 384 pages of RAM mapped",
            beyond,
            0,
        )];
        guest.unmap(0, PAGES);
        let left = guest.frames() - empty;
        counts.push(Count::new(
            "table frames left of 64 MiB that were mapped and unmapped",
            left,
            KEPT,
        ));
        assert_eq!(bed.trim(GUEST, 0), Ok(()));
        let left = guest.frames().abs_diff(empty);
        counts.push(Count::new("the same after a trim", left, 0));

        (0..FEW).for_each(|n| guest.map(n * FAR, n, 1));
        (0..FEW).for_each(|n| guest.unmap(n * FAR, 1));
        let left = guest.frames() - empty;
        counts.push(Count::new(
            "table frames left of 64 pages, each in a GiB of its own",
            left,
            KEPT,
        ));
        assert_eq!(bed.trim(GUEST, 0), Ok(()));
        let left = guest.frames().abs_diff(empty);
        counts.push(Count::new("the same after a trim, too", left, 0));
        counts
    })
}
