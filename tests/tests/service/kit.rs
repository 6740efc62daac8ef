//! A guest at the level of its hypercalls, for the tests of the service.

use pviommu_abi::{
    AllocContext, Bfn, Capabilities, ContextId, DeviceHandle, DomId, Errno, FreeContext, FreeFlags,
    Gfn, Init, MapFlags, MapPages, PciDevice, QueryDevice, ReattachDevice, Subop, UnmapPages,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Background, Role, addr::GfnRange, platform::AcquireError};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Bed, Config, DeviceConfig, DomainConfig, Guest, Reach, run},
};
use zerocopy::{FromBytes, IntoBytes};

use crate::kinds;

pub(crate) const GUEST: DomId = DomId(1);
pub(crate) const DOM0: DomId = DomId(0);
/// The second guest of [`two_guests`], and its device.
pub(crate) const OTHER: DomId = DomId(2);
pub(crate) const SECOND: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 4 << 3 };
/// 00:03.0, the device of [`Config::one_guest`].
pub(crate) const DEVICE: PciDevice = PciDevice { seg: 0, bus: 0, devfn: 3 << 3 };
pub(crate) const RW: MapFlags = MapFlags::READABLE.union(MapFlags::WRITEABLE);

/// Tables that the background adds to those of a map below 512 GiB: with a scratch page, three that
/// are shared, and those on the way to what is not memory.
pub(crate) fn background_tables() -> u32 {
    if over_scratch() { 5 + tables_of_holes() } else { 0 }
}

/// Tables on the way to what is not memory, besides the two on the way to the interrupt range.
pub(crate) fn tables_of_holes() -> u32 {
    u32::from(kinds::has_hypertransport())
}

/// True if a scratch page is behind every bus frame that nobody mapped.
pub(crate) fn over_scratch() -> bool {
    kinds::background() == Background::Scratch
}

/// Domain 1 on a CPU, making calls.
pub(crate) struct Vm<'b> {
    pub(crate) bed: &'b Bed<'b>,
    pub(crate) guest: Guest<'b>,
}

/// Runs `body` on a machine with one guest of `pages` pages and one device.
pub(crate) fn with_guest<R>(pages: u64, body: impl FnOnce(&Vm<'_>) -> R) -> R {
    with(&Config::one_guest(pages), body)
}

/// The machine of [`Config::one_guest`] with 64 pages, and the hardware domain beside the guest.
pub(crate) fn with_hardware_domain() -> Config {
    let mut config = Config::one_guest(64);
    config.domains.push(DomainConfig {
        id: DOM0,
        role: Role::Hardware,
        ram: vec![GfnRange::of_pages(Gfn(0), 64).unwrap()],
        ..DomainConfig::default()
    });
    config
}

/// The machine of [`Config::one_guest`] with `pages` pages, and domain 2, a guest like the first that has
/// the device 00:04.0.
pub(crate) fn two_guests(pages: u64) -> Config {
    let mut config = Config::one_guest(pages);
    let ram = config.domains[0].ram.clone();
    config.domains.push(DomainConfig { id: OTHER, ram, ..DomainConfig::default() });
    let second = DeviceConfig { function: SECOND, owner: OTHER, ..DeviceConfig::default() };
    config.devices.push(second);
    config
}

/// Why a page may be refused, and what the guest is told.
pub(crate) const REASONS: [(AcquireError, Errno); 4] = [
    (AcquireError::NotBacked, Errno::ENOENT),
    (AcquireError::NotPermitted, Errno::EPERM),
    (AcquireError::Retry, Errno::EAGAIN),
    (AcquireError::Saturated, Errno::EBUSY),
];

/// Runs `body` on the machine of `config`, as domain 1 on CPU 0.
pub(crate) fn with<R>(config: &Config, body: impl FnOnce(&Vm<'_>) -> R) -> R {
    run(&kinds::of_this_kind(config), |bed| body(&Vm::new(bed, GUEST, 0)))
}

/// A negative status.
pub(crate) fn err(errno: Errno) -> i64 {
    errno.to_ret()
}

impl<'b> Vm<'b> {
    pub(crate) fn new(bed: &'b Bed<'b>, domain: DomId, cpu: usize) -> Self {
        Self { bed, guest: bed.guest(domain, cpu) }
    }

    /// One call, with the argument as it lies in guest memory.
    pub(crate) fn op<T: IntoBytes + FromBytes>(&self, subop: Subop, argument: &mut T) -> i64 {
        self.guest.iommu_op(subop, argument.as_mut_bytes(), None)
    }

    pub(crate) fn init(&self, max_ctx_no: u32, arena_order: u32) -> i64 {
        self.op(Subop::INIT, &mut Init { max_ctx_no, arena_order })
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        let mut argument = Capabilities::default();
        assert_eq!(self.op(Subop::QUERY_CAPABILITIES, &mut argument), 0);
        argument
    }

    pub(crate) fn alloc(&self) -> Result<ContextId, i64> {
        let mut argument = AllocContext::default();
        match self.op(Subop::ALLOC_CONTEXT, &mut argument) {
            0 => Ok(argument.ctx_no),
            status => Err(status),
        }
    }

    /// Asks for the usual limits and opens a context.
    pub(crate) fn context(&self) -> ContextId {
        if self.capabilities().max_ctx_no == 0 {
            assert_eq!(self.init(128, 12), 0);
        }
        self.alloc().unwrap()
    }

    /// A context with the device in it.
    pub(crate) fn attached_context(&self) -> ContextId {
        let context = self.context();
        assert_eq!(self.attach(DEVICE, context), 0);
        context
    }

    pub(crate) fn free(&self, ctx_no: ContextId, free_flags: FreeFlags) -> i64 {
        let mut argument = FreeContext { ctx_no, free_flags, ..FreeContext::default() };
        self.op(Subop::FREE_CONTEXT, &mut argument)
    }

    pub(crate) fn attach(&self, dev: PciDevice, ctx_no: ContextId) -> i64 {
        let mut argument = ReattachDevice { ctx_no, dev, ..ReattachDevice::default() };
        self.op(Subop::REATTACH_DEVICE, &mut argument)
    }

    /// Maps, and returns the status and the count.
    pub(crate) fn map(
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
    pub(crate) fn unmap(&self, ctx: ContextId, bfn: u64, pages: u32) -> (i64, u32) {
        let mut argument = unmap_argument(ctx, bfn, pages);
        let status = self.op(Subop::UNMAP_PAGES, &mut argument);
        (status, argument.unmapped)
    }

    /// Has the device write a byte at a bus frame, and says where in guest memory it landed.
    pub(crate) fn lands_in(&self, device: PciDevice, bfn: u64, gfn: u64) -> bool {
        let mark = [0xa5, (bfn & 0xff) as u8, (gfn & 0xff) as u8];
        let at = (gfn << 12) + 0x123;
        let domain = self.guest.domain();
        self.bed.guest_write(domain, at, &[0; 3]);
        if self.bed.dma_write(device, (bfn << 12) + 0x123, &mark).is_err() {
            return false;
        }
        let mut seen = [0; 3];
        self.bed.guest_read(domain, at, &mut seen);
        seen == mark
    }

    /// True if the device can read a page that is mapped at `bfn`, and not just the background.
    pub(crate) fn reads(&self, device: PciDevice, bfn: u64) -> bool {
        self.hits(device, bfn, Direction::Read).is_some_and(|reach| reach != Reach::Scratch)
    }

    /// True if the device can write a page that is mapped at `bfn`, and not just the background.
    pub(crate) fn writes(&self, device: PciDevice, bfn: u64) -> bool {
        self.hits(device, bfn, Direction::Write).is_some_and(|reach| reach != Reach::Scratch)
    }

    /// True if the device finds the background at `bfn`: a fault, or the scratch page.
    pub(crate) fn hits_background(&self, device: PciDevice, bfn: u64) -> bool {
        let expected = over_scratch().then_some(Reach::Scratch);
        let [read, write] = [Direction::Read, Direction::Write];
        self.hits(device, bfn, read) == expected && self.hits(device, bfn, write) == expected
    }

    /// What the device finds at `bfn`; nothing if it is refused.
    pub(crate) fn hits(&self, device: PciDevice, bfn: u64, way: Direction) -> Option<Reach> {
        self.bed.dma_probe(device, bfn << 12, way).ok().map(|hit| hit.reach)
    }

    /// What the guest is told of one of its devices.
    pub(crate) fn describe(&self, device: PciDevice) -> QueryDevice {
        let mut query = QueryDevice { device: DeviceHandle::pci(device), ..QueryDevice::default() };
        assert_eq!(self.op(Subop::QUERY_DEVICE, &mut query), 0);
        query
    }

    /// Ends the domain, and checks that nothing went wrong and nothing is left.
    pub(crate) fn end(&self) {
        assert_eq!(self.bed.teardown(GUEST, 0), 0);
        assert_eq!(self.bed.teardown(GUEST, 0), 0, "a second teardown does nothing");
        self.bed.assert_clean();
        let left = self.bed.domain(GUEST).stats();
        assert_eq!((left.table_frames, left.pinned_pages, left.foreign_pages), (0, 0, 0));
    }
}

pub(crate) fn map_argument(
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

pub(crate) fn unmap_argument(ctx_no: ContextId, bfn: u64, nr_pages: u32) -> UnmapPages {
    UnmapPages { ctx_no, dfn: Bfn(bfn), pgsize: 4096, nr_pages, ..UnmapPages::default() }
}
