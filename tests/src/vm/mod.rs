//! A guest at the level of its hypercalls: one method a call, one function a question.

mod calls;

use pviommu_abi::{
    AllocContext, Bfn, Capabilities, ContextId, DeviceHandle, DomId, Errno, FreeContext, FreeFlags,
    Gfn, Init, MapFlags, MapPages, PciDevice, QueryDevice, ReattachDevice, Subop, UnmapPages,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::platform::AcquireError;
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    iommu::Direction,
    machine::{Bed, Guest, Reach},
};
pub use calls::{
    Found, batch_one, both, element, find, flush, limits, lookup, moves, switch, take,
};

/// A domain on a CPU, making calls.
#[derive(Debug)]
pub struct Vm<'b> {
    /// The machine.
    pub bed: &'b Bed<'b>,
    /// The guest.
    pub guest: Guest<'b>,
}

/// Why a page may be refused, and what the guest is told.
pub const REASONS: [(AcquireError, Errno); 4] = [
    (AcquireError::NotBacked, Errno::ENOENT),
    (AcquireError::NotPermitted, Errno::EPERM),
    (AcquireError::Retry, Errno::EAGAIN),
    (AcquireError::Saturated, Errno::EBUSY),
];

/// A negative status.
#[must_use]
pub fn err(errno: Errno) -> i64 {
    errno.to_ret()
}

impl<'b> Vm<'b> {
    /// `domain` on `cpu`.
    #[must_use]
    pub fn new(bed: &'b Bed<'b>, domain: DomId, cpu: usize) -> Self {
        Self { bed, guest: bed.guest(domain, cpu) }
    }

    /// One call, with the argument as it lies in guest memory.
    pub fn op<T: IntoBytes + FromBytes>(&self, subop: Subop, argument: &mut T) -> i64 {
        self.guest.iommu_op(subop, argument.as_mut_bytes(), None)
    }

    /// Asks for limits.
    pub fn init(&self, max_ctx_no: u32, arena_order: u32) -> i64 {
        self.op(Subop::INIT, &mut Init { max_ctx_no, arena_order })
    }

    /// What the service can do.
    ///
    /// # Panics
    /// If the call fails.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let mut argument = Capabilities::default();
        assert_eq!(self.op(Subop::QUERY_CAPABILITIES, &mut argument), 0);
        argument
    }

    /// Opens a context by v7's own call.
    ///
    /// # Errors
    /// The status.
    pub fn alloc(&self) -> Result<ContextId, i64> {
        let mut argument = AllocContext::default();
        match self.op(Subop::ALLOC_CONTEXT, &mut argument) {
            0 => Ok(argument.ctx_no),
            status => Err(status),
        }
    }

    /// Frees a context; the status.
    pub fn free(&self, ctx_no: ContextId, free_flags: FreeFlags) -> i64 {
        let mut argument = FreeContext { ctx_no, free_flags, ..FreeContext::default() };
        self.op(Subop::FREE_CONTEXT, &mut argument)
    }

    /// Moves a device; the status.
    pub fn attach(&self, dev: PciDevice, ctx_no: ContextId) -> i64 {
        let mut argument = ReattachDevice { ctx_no, dev, ..ReattachDevice::default() };
        self.op(Subop::REATTACH_DEVICE, &mut argument)
    }

    /// Maps, and returns the status and the count.
    pub fn map(
        &self,
        ctx: ContextId,
        bfn: u64,
        gfn: u64,
        pages: u32,
        flags: MapFlags,
    ) -> (i64, u32) {
        let mut argument = map_argument(ctx, bfn, gfn, pages, flags);
        let status = self.op(Subop::MAP_PAGES, &mut argument);
        (status, argument.mapped)
    }

    /// Unmaps, and returns the status and the count.
    pub fn unmap(&self, ctx: ContextId, bfn: u64, pages: u32) -> (i64, u32) {
        let mut argument = unmap_argument(ctx, bfn, pages);
        let status = self.op(Subop::UNMAP_PAGES, &mut argument);
        (status, argument.unmapped)
    }

    /// What the guest is told of one of its devices.
    ///
    /// # Panics
    /// If the call fails.
    #[must_use]
    pub fn describe(&self, device: PciDevice) -> QueryDevice {
        let mut query = QueryDevice { device: DeviceHandle::pci(device), ..QueryDevice::default() };
        assert_eq!(self.op(Subop::QUERY_DEVICE, &mut query), 0);
        query
    }

    /// What the device finds at `bfn`; nothing if it is refused.
    #[must_use]
    pub fn hits(&self, device: PciDevice, bfn: u64, way: Direction) -> Option<Reach> {
        self.bed.dma_probe(device, bfn << 12, way).ok().map(|hit| hit.reach)
    }
}

/// The argument of a map.
#[must_use]
pub fn map_argument(
    ctx_no: ContextId,
    bfn: u64,
    gfn: u64,
    nr_pages: u32,
    map_flags: MapFlags,
) -> MapPages {
    MapPages {
        ctx_no,
        gfn: Gfn(gfn),
        dfn: Bfn(bfn),
        map_flags,
        pgsize: 4096,
        nr_pages,
        ..MapPages::default()
    }
}

/// The argument of an unmap.
#[must_use]
pub fn unmap_argument(ctx_no: ContextId, bfn: u64, nr_pages: u32) -> UnmapPages {
    UnmapPages { ctx_no, dfn: Bfn(bfn), pgsize: 4096, nr_pages, ..UnmapPages::default() }
}
